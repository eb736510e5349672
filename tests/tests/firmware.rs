//! The firmware, on emulated boards that share a serial bus.

use graft_election_tests::boards::Boards;

/// How many leaders lose their power.
const ROUNDS: usize = 20;

/// V1, I1, I2, I3: whoever leads loses its power, 20 times.
#[tokio::test(flavor = "multi_thread")]
async fn boards_that_lose_power_are_replaced_and_come_back_with_their_votes() {
    let mut boards = Boards::start(3);
    let (mut term, mut leader) = boards.leader_after(0).await;
    for round in 1..=ROUNDS {
        boards.cut_power(&leader);
        let (next_term, next) = boards.leader_after(term).await;
        assert_ne!(next, leader, "round {round}: who has no power does not lead");

        boards.switch_on(&leader);
        let vote = format!("{leader} starts in term {term}, its vote is {leader}'s");
        boards.logged(&leader, &vote).await;
        boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
        (term, leader) = (next_term, next);
    }
    boards.check_that_all_run();
}

/// T3: a leader whose wire is cut goes on to lead, in its old term, until it hears of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_wire_is_cut_follows_once_it_is_mended() {
    let mut boards = Boards::start(3);
    let (term, leader) = boards.leader_after(0).await;
    boards.member(&leader).cut();
    let (next_term, next) = boards.leader_after(term).await;
    assert_ne!(next, leader);

    boards.member(&leader).mend();
    boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
    boards.check_that_all_run();
}
