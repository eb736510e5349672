//! What a node's user may do as the leader, and until when, in virtual time.

use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use graft_election::core::Message;
use graft_election::{
    Config, Leadership, MemoryNetwork, MemoryVotes, Mode, Node, Reason, RunError, State,
};
use graft_election_tests::cluster::{MemoryCluster, builder, graft_builder, id, wait_until};
use graft_election_tests::peer::Peer;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const H: Duration = Config::HEARTBEAT_INTERVAL;

async fn start_alone() -> Node {
    builder("a", 1).start(MemoryNetwork::new().transport(), MemoryVotes::new()).await.unwrap()
}

/// Three nodes, each of which can be given a job of its own.
async fn start_three(network: &MemoryNetwork) -> Vec<Arc<Node>> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let node = builder(name, 3).start(network.transport(), MemoryVotes::new()).await.unwrap();
        nodes.push(Arc::new(node));
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn l3_a_leadership_is_valid_while_its_lease_lasts_and_not_a_moment_longer() {
    let cluster = MemoryCluster::start(3).await;
    let leader = &cluster.nodes[cluster.wait_for_leader().await];
    let leadership = leader.wait_for_leadership().await.unwrap();
    assert_eq!(leadership.token(), leader.current_term());
    let lease_max = Config::ELECTION_TIMEOUT_MIN * 9 / 10;
    assert!((lease_max - 2 * H..=lease_max).contains(&leadership.remaining()));
    // It is renewed: the same one is valid long after.
    tokio::time::sleep(10 * lease_max).await;
    assert!(leadership.is_valid() && leader.leadership().is_some());

    cluster.network.silence(&leader.id(), true);
    let left = leadership.remaining();
    tokio::time::sleep(left - Duration::from_millis(2)).await;
    assert!(leadership.is_valid());
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert!(!leadership.is_valid() && leader.leadership().is_none());
    assert_eq!(leadership.remaining(), Duration::ZERO);
    leadership.ended().await;
    assert_eq!(leader.counts().step_downs[&Reason::LostQuorum], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_under_its_token_and_its_end_hands_the_leadership_over() {
    let node = start_alone().await;
    let done = node.run_while_leader(|leadership: Leadership| async move {
        assert!(leadership.is_valid());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(leadership.is_valid());
        leadership.token()
    });
    assert_eq!(done.await, Ok(1));
    assert_eq!((node.state(), node.status().reason), (State::Follower, Reason::HandedOver));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_can_be_spawned_and_ends_with_its_node() {
    let node = Arc::new(start_alone().await);
    let running = Arc::clone(&node);
    let job = tokio::spawn(async move {
        running.run_while_leader(async |_| pending::<Infallible>().await).await
    });
    node.wait_for_leadership().await.unwrap();
    node.close().await;
    assert_eq!(job.await.unwrap(), Err(RunError::Closed));
    assert_eq!(node.run_while_leader(async |_| ()).await, Err(RunError::Closed));
    assert!(!node.hand_over(None).await);
}

/// What a job saw of its leadership when it was dropped.
struct Witness(Leadership, mpsc::UnboundedSender<Duration>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.remaining());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_told_one_heartbeat_before_its_lease_ends_and_dropped_half_a_one_before() {
    let cluster = MemoryCluster::start(3).await;
    let leader = &cluster.nodes[cluster.wait_for_leader().await];
    let (told, mut when_told) = mpsc::unbounded_channel();
    let (dropped, mut when_dropped) = mpsc::unbounded_channel();
    let job = leader.run_while_leader(async |leadership: Leadership| {
        let witness = Witness(leadership.clone(), dropped.clone());
        leadership.ending().await;
        told.send(leadership.remaining()).unwrap();
        pending::<()>().await;
        drop(witness);
    });
    let scene = async {
        leader.wait_for_leadership().await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        // As long as all is well nobody is told anything.
        assert!(when_told.try_recv().is_err());
        cluster.network.silence(&leader.id(), true);
        let (told, dropped) = (when_told.recv().await.unwrap(), when_dropped.recv().await.unwrap());
        // Timers are a millisecond coarse, at both ends.
        let coarse = Duration::from_millis(3);
        assert!((H - coarse..=H).contains(&told), "{told:?}");
        assert!((H / 2 - coarse..=H / 2).contains(&dropped), "{dropped:?}");

        // It runs again when the node leads again.
        wait_until(leader, |status| status.state != State::Leader).await;
        cluster.network.silence(&leader.id(), false);
        let others: Vec<_> = cluster.nodes.iter().filter(|node| node.id() != leader.id()).collect();
        for other in others {
            cluster.network.silence(&other.id(), false);
        }
        loop {
            let next = &cluster.nodes[cluster.wait_for_leader().await];
            if next.id() == leader.id() {
                break;
            }
            next.hand_over(Some(leader.id())).await;
            wait_until(leader, |status| status.leader != Some(next.id())).await;
        }
        leader.wait_for_leadership().await.unwrap();
        cluster.network.silence(&leader.id(), true);
        when_told.recv().await.unwrap();
    };
    tokio::select! {
        ended = job => panic!("{ended:?}"),
        () = scene => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_returns_gives_the_leadership_up_and_may_be_run_again_in_a_later_term() {
    let node = start_alone().await;
    let (mut tokens, mut began) = (vec![0], Instant::now() - Config::ELECTION_TIMEOUT_MAX);
    for outcome in [Err("out of paper"), Ok("printed")] {
        let run = node.run_while_leader(async |leadership: Leadership| {
            (leadership.token(), Instant::now(), outcome)
        });
        let (token, began_again, returned) = run.await.unwrap();
        assert_eq!(returned, outcome);
        assert!(began_again - began >= Config::ELECTION_TIMEOUT_MAX, "it rests in between");
        began = began_again;
        tokens.push(token);
    }
    assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "I5: {tokens:?}");
    assert_eq!(node.counts().step_downs[&Reason::HandedOver], 2);
    node.close().await;
}

/// H1, O3.
#[tokio::test(start_paused = true)]
async fn h1_a_job_that_gives_the_leadership_up_leaves_it_to_the_follower_that_is_fit() {
    let network = MemoryNetwork::new();
    let nodes = start_three(&network).await;
    let first = nodes.iter().map(|node| Box::pin(node.wait_for_leadership()));
    let leader = futures_util::future::select_all(first).await.1;
    let [unfit, fit] = [1, 2].map(|offset| &nodes[(leader + offset) % 3]);
    unfit.hold_back(true).await;
    // Until both have acknowledged since.
    tokio::time::sleep(2 * H).await;
    let endless = fit.run_while_leader(async |_| pending::<Infallible>().await);
    let given_up =
        nodes[leader].run_while_leader(async |leadership: Leadership| leadership.token());
    let (given_up, began) = (given_up.await.unwrap(), Instant::now());
    assert!(nodes[leader].leadership().is_none());
    tokio::select! {
        ended = endless => panic!("{ended:?}"),
        successor = fit.wait_for_leadership() => {
            assert_eq!(successor.unwrap().token(), given_up + 1);
        }
    }
    assert!(began.elapsed() < Config::ELECTION_TIMEOUT_MIN, "nobody waits for a timeout");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_job_reaches_its_caller_and_its_leadership_is_handed_over_first() {
    let node = start_alone().await;
    let job = node.run_while_leader(async |_| -> () { panic!("out of ink") });
    let panic = AssertUnwindSafe(job).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"out of ink"));
    assert!(node.leadership().is_none());
    assert_eq!(node.counts().step_downs[&Reason::HandedOver], 1);
    node.close().await;
}

/// Each term costs every node a save.
#[tokio::test(start_paused = true)]
async fn a_job_that_always_fails_at_once_does_not_keep_the_cluster_electing() {
    let network = MemoryNetwork::new();
    let nodes = start_three(&network).await;
    let runs = Arc::new(AtomicUsize::new(0));
    for node in &nodes {
        let (node, runs) = (Arc::clone(node), Arc::clone(&runs));
        tokio::spawn(async move {
            let mut job = async |_| {
                runs.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            while node.run_while_leader(&mut job).await.is_ok() {}
        });
    }
    let timeouts = 100;
    tokio::time::sleep(timeouts * Config::ELECTION_TIMEOUT_MAX).await;
    let runs = runs.load(Ordering::SeqCst);
    // Each fails once in a greatest election timeout, and the others take turns meanwhile.
    let runs_max = 3 * (timeouts as usize + 1);
    assert!((timeouts as usize..=runs_max).contains(&runs), "{runs}");
    let terms = nodes.iter().map(|node| node.current_term()).max();
    println!("{runs} runs, {terms:?} terms");
    for node in &nodes {
        node.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_in_graft_mode_has_no_lease_and_says_so_at_once() {
    let network = MemoryNetwork::new();
    let node = graft_builder("a", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
    let ran = node.run_while_leader(async |_| ()).await;
    assert_eq!(ran, Err(RunError::NoLease));
    wait_until(&node, |status| status.state == State::Leader).await;
    assert!(node.leadership().is_none());
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn h1_a_handover_waits_for_who_holds_the_leadership_but_not_beyond_the_lease() {
    let network = MemoryNetwork::new();
    let nodes = start_three(&network).await;
    let mut peer = Peer::join(&network, "p").await;
    for lets_go_early in [true, false] {
        let held = futures_util::future::select_all(
            nodes.iter().map(|node| Box::pin(node.wait_for_leadership())),
        );
        let (held, leader, _) = held.await;
        let held = held.unwrap();
        let left = held.remaining();
        let began = Instant::now();
        let hold = async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(!held.is_valid(), "it is handed over at once for its user");
            if !lets_go_early {
                tokio::time::sleep(2 * left).await;
            }
            drop(held);
        };
        let heard = async {
            while !matches!(peer.hear().await, Message::Handover(_)) {}
            began.elapsed()
        };
        let (_, handed_over, heard) = tokio::join!(hold, nodes[leader].hand_over(None), heard);
        assert!(handed_over);
        let coarse = Duration::from_millis(3);
        let expected = if lets_go_early { Duration::from_millis(30) } else { left };
        assert!((expected - coarse..=expected + coarse).contains(&heard), "{heard:?} of {left:?}");
    }
}

/// Counts who acts as the leader.
struct Acting(Arc<AtomicUsize>);

impl Acting {
    fn begin(acting: &Arc<AtomicUsize>) -> Self {
        assert_eq!(acting.fetch_add(1, Ordering::SeqCst), 0, "I4: two act as the leader");
        Self(Arc::clone(acting))
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn i4_i5_whatever_is_split_or_handed_over_never_do_two_act_and_tokens_rise() {
    let network = MemoryNetwork::new();
    let nodes = start_three(&network).await;
    let (acting, last_token, runs) =
        <(Arc<AtomicUsize>, Arc<AtomicU64>, Arc<AtomicUsize>)>::default();
    let mut jobs = Vec::new();
    for node in &nodes {
        let (node, acting) = (Arc::clone(node), Arc::clone(&acting));
        let (last_token, runs) = (Arc::clone(&last_token), Arc::clone(&runs));
        jobs.push(tokio::spawn(async move {
            let job = |leadership: Leadership| {
                let acting = Acting::begin(&acting);
                let before = last_token.swap(leadership.token(), Ordering::SeqCst);
                assert!(before <= leadership.token(), "I5: {before} came before");
                runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    while leadership.is_valid() {
                        tokio::time::sleep(Duration::from_millis(7)).await;
                    }
                    drop(acting);
                }
            };
            node.run_while_leader(job).await
        }));
    }
    let places: Vec<_> = nodes.iter().map(|node| node.id()).collect();
    for round in 0_usize..200 {
        let now = &nodes[round % 3];
        match round % 7 {
            0 | 3 => network.split(&[&places[round % 3..=round % 3]]),
            1 => network.silence(&now.id(), true),
            2 => network.silence(&nodes[(round - 1) % 3].id(), false),
            4 | 6 => network.restore(),
            _ => {
                for node in &nodes {
                    node.hand_over(None).await;
                }
            }
        }
        for node in &nodes {
            let valid = nodes.iter().filter(|node| node.leadership().is_some()).count();
            assert!(valid <= 1, "I4, at {}", node.id());
        }
        tokio::time::sleep(Duration::from_millis(137 * (1 + round as u64 % 11))).await;
    }
    for (node, job) in nodes.iter().zip(jobs) {
        node.close().await;
        assert_eq!(job.await.unwrap(), Err(RunError::Closed), "no job outlived its leadership");
    }
    assert!(runs.load(Ordering::SeqCst) > 50, "{runs:?}");
}

/// A2, G4: a node that comes back has asked for pre-votes only, and they changed nothing.
#[tokio::test(start_paused = true)]
async fn g4_a_node_back_from_isolation_deposes_nobody_fifty_times_of_fifty() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let term = cluster.nodes[leader].current_term();
    for round in 0..50 {
        let away = (leader + 1 + round % 2) % 3;
        cluster.network.split(&[&cluster.ids(&[away])]);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(cluster.nodes[away].state(), State::PreCandidate);
        cluster.network.restore();
        assert_eq!(cluster.wait_for_leader().await, leader);
        tokio::time::sleep(Config::ELECTION_TIMEOUT_MAX).await;
        assert_eq!(cluster.nodes[leader].status().state, State::Leader);
        assert_eq!(cluster.nodes[leader].current_term(), term, "in round {round}");
    }
}

/// G3, L4.
#[tokio::test(start_paused = true)]
async fn g3_a_leader_that_is_cut_off_stops_before_another_can_be_elected() {
    let cluster = MemoryCluster::start(5).await;
    let old = cluster.wait_for_leader().await;
    let cut_off_at = Instant::now();
    cluster.network.split(&[&cluster.ids(&[old, (old + 1) % 5])]);
    wait_until(&cluster.nodes[old], |status| status.state != State::Leader).await;
    assert!(cut_off_at.elapsed() < Config::ELECTION_TIMEOUT_MIN);
    let mut others = (2..5).map(|offset| &cluster.nodes[(old + offset) % 5]);
    assert!(others.clone().all(|other| other.state() == State::Follower));
    wait_until(others.next_back().unwrap(), |status| status.leader.is_some()).await;
}

/// H4.
#[tokio::test(start_paused = true)]
async fn h4_a_witness_never_leads_and_a_higher_priority_leads_in_time() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for (name, priority) in [("witness", 0), ("plain", 1), ("preferred", 2)] {
        let node = builder(name, 3).priority(priority);
        nodes.push(node.start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    nodes[2].close().await;
    wait_until(&nodes[0], |status| status.leader == Some(id("plain"))).await;
    let back = builder("preferred", 3).priority(2);
    let back = back.start(network.transport(), MemoryVotes::new()).await.unwrap();
    wait_until(&back, |status| status.state == State::Leader).await;
    assert_eq!(nodes[1].counts().step_downs[&Reason::PriorityHandover], 1);
    network.split(&[&[id("witness"), id("plain")]]);
    network.silence(&id("plain"), true);
    let leads = wait_until(&nodes[0], |status| status.state == State::Leader);
    assert!(timeout(Duration::from_secs(30), leads).await.is_err());
}

/// A running cluster moves from one mode to the other and back, node by node, and every majority of
/// what runs has a leader at each step.
#[tokio::test(start_paused = true)]
async fn a_cluster_changes_its_mode_node_by_node() {
    let mut cluster = MemoryCluster::start_in(Mode::Graft, 3).await;
    for mode in [Mode::Extended, Mode::Graft] {
        cluster.set_mode(mode);
        for place in 0..3 {
            cluster.wait_for_leader().await;
            cluster.nodes[place].close().await;
            // The two others, of whatever modes, can elect.
            cluster.wait_for_leader().await;
            cluster.restart(place).await;
            cluster.wait_for_leader().await;
        }
        let leader = &cluster.nodes[cluster.wait_for_leader().await];
        tokio::time::sleep(H).await;
        assert_eq!(leader.leadership().is_some(), mode == Mode::Extended);
    }
}
