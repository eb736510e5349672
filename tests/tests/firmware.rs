//! The firmware, on emulated boards that share a serial bus.

use std::sync::Arc;
use std::time::Duration;

use graft_election::core::{Message, Outgoing, Recipient};
use graft_election::proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
use graft_election_tests::boards::{BOARDS_CLUSTER, Boards};
use graft_election_tests::bus::{Bus, Faults, Sent};
use graft_election_tests::cluster::id;
use graft_election_tests::peer::plain_heartbeat;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep};

/// Of the boards' cluster.
const CLUSTER: ClusterTag = ClusterTag::of(BOARDS_CLUSTER);

/// How many leaders have their power cut.
const ROUNDS: usize = 20;

/// How long a leader has to last.
const LEADING: Duration = Duration::from_secs(60);

/// How often a leader is heard when a heartbeat and its answers have to wait for their turn: on a
/// slow line, or because of noise.
const SLOW_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(400);

/// How often power is cut during votes, in all clusters together.
const VOTES_CUT_SHORT: u64 = 200;

/// How many clusters vote at the same time.
const CLUSTERS: u64 = 4;

/// A vote takes a board a few milliseconds, from the request to the answer.
const VOTE_TIME_MAX: Duration = Duration::from_millis(6);

/// V1, I1, I2, I3: the leader's power is cut, 20 times.
#[tokio::test(flavor = "multi_thread")]
async fn boards_that_lose_power_are_replaced_and_come_back_with_their_votes() {
    let mut boards = Boards::start(3);
    let (mut term, mut leader) = boards.leader_after(0).await;
    for round in 1..=ROUNDS {
        boards.cut_power(&leader);
        let (next_term, next) = boards.leader_after(term).await;
        assert_ne!(next, leader, "round {round}: a board without power does not lead");

        boards.come_back(&leader).await;
        let vote = format!("{leader} starts in term {term}, with a vote for {leader}");
        boards.logged(&leader, &vote).await;
        boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
        (term, leader) = (next_term, next);
    }
    assert_eq!(boards.heard().carried, 0, "each speaks in its own name");
    boards.check_that_all_run();
}

/// N4, N5: of boards that were given one number one takes part, and the others end and say why; so
/// does one that comes later, and the leader goes on.
#[tokio::test(flavor = "multi_thread")]
async fn n5_boards_with_one_number_are_told_apart() {
    let mut boards = Boards::start_numbered(&[1, 1, 1, 2, 3], 3);
    let (term, _) = boards.leader_after(0).await;
    let given_up = boards.given_up(2).await;
    for log in given_up {
        assert!(
            log.iter().any(|line| line.contains("can't start: DuplicateId(board-1)")),
            "{log:?}"
        );
    }
    boards.hear_for(Duration::from_secs(3)).await;
    let candidate = boards.heard().candidate_after(term);
    assert_eq!(candidate, None, "nobody campaigns:\n{}", boards.logs());
}

/// L3, L4, T3: a leader whose wire is cut stops acting before another begins to, and follows the
/// other once it hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_wire_is_cut_follows_once_it_is_mended() {
    let mut boards = Boards::start(3);
    let (term, leader) = boards.leader_after(0).await;
    boards.logged(&leader, &format!("the light is on, token {term}")).await;
    boards.member(&leader).cut();
    let (next_term, next) = boards.leader_after(term).await;
    assert_ne!(next, leader);
    boards.logged(&leader, "the light is off").await;
    boards.logged(&next, &format!("the light is on, token {next_term}")).await;

    boards.member(&leader).mend();
    boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
    boards.check_that_all_run();
}

/// V7: noise changes nothing, however much of it there is.
#[tokio::test(flavor = "multi_thread")]
async fn v7_a_board_keeps_leading_through_a_minute_of_noise() {
    // 38,400 baud. Bytes that an emulator on a busy machine is too slow for are lost, which makes
    // for more noise.
    let bus = Arc::new(Bus::with_speed(3_840));
    let mut boards = Boards::start_slow(&bus, 3, SLOW_HEARTBEAT_INTERVAL);
    let (term, leader) = boards.leader_after(0).await;
    for board in boards.ids() {
        boards.logged(&board, &format!("{leader} leads in term {term}")).await;
        let faults = Faults { loss: 0.02, corruption: 0.03, ..Faults::default() };
        boards.member(&board).set_faults(faults);
    }

    let (mut noise, mut listener) = (Noise::new(term), Listener::on(&bus));
    tokio::select! {
        () = boards.hear_for(LEADING) => {}
        () = noise.fill(&bus) => {}
        () = listener.hear() => {}
    }

    let errors = listener.frames.errors();
    println!("{} of {} bytes were noise: {errors:?}", noise.bytes, listener.bytes);
    let candidate = boards.heard().candidate_after(term);
    assert_eq!(candidate, None, "nobody campaigns:\n{}", boards.logs());
    for board in boards.ids() {
        let log = boards.log(&board);
        let starts = log.iter().filter(|line| line.contains("starts in term")).count();
        assert_eq!(starts, 1, "{board} was reset: {log:#?}");
    }
    assert_eq!(boards.heard().carried, 0, "noise is never taken for a message");
    boards.check_that_all_run();
    let least = [errors.cut_off, errors.too_long, errors.checksum].into_iter().min();
    assert!(least > Some(100), "{errors:?}");
    let Noise { bytes, .. } = noise;
    assert!(bytes > listener.bytes / 2, "{bytes} of {} bytes were noise", listener.bytes);
}

/// A stranger that talks between the frames of others, and sends nothing valid.
struct Noise {
    random: StdRng,
    /// The term in which a board leads.
    term: u64,
    bytes: usize,
}

impl Noise {
    fn new(term: u64) -> Self {
        Self { random: StdRng::seed_from_u64(7), term, bytes: 0 }
    }

    /// Sends more than all others together.
    async fn fill(&mut self, bus: &Bus) {
        loop {
            let noise = self.next();
            bus.put("noise", &noise).await;
            self.bytes += noise.len();
            sleep(Duration::from_millis(self.random.random_range(0..40))).await;
        }
    }

    /// Random bytes, half a frame, a frame longer than any may be, or one with wrong bits.
    fn next(&mut self) -> Vec<u8> {
        let kind = self.random.random_range(0..4);
        let mut random_bytes = vec![0; self.random.random_range(1..FRAME_MAX / 2)];
        self.random.fill(&mut random_bytes[..]);
        let mut frame = self.tempting_frame();
        match kind {
            0 => random_bytes,
            1 => {
                // Cutting only the last delimiter is not enough: the next frame would supply it.
                frame.truncate(self.random.random_range(2..frame.len() - 1));
                frame
            }
            2 => (0..FRAME_MAX + 16).map(|_| self.random.random_range(1..=u8::MAX)).collect(),
            _ => {
                // Neither in the delimiters nor twice in one place, so the frame can't stay valid.
                let bits = sample(&mut self.random, 8 * (frame.len() - 2), 3);
                for bit in bits {
                    frame[1 + bit / 8] ^= 1 << (bit % 8);
                }
                frame
            }
        }
    }

    /// A frame that would depose the leader if it were valid.
    fn tempting_frame(&mut self) -> Vec<u8> {
        let leader = id(&format!("board-{}", self.random.random_range(1..=3)));
        let term = self.term + self.random.random_range(1..1_000);
        let heartbeat = plain_heartbeat(leader.clone(), term);
        let outgoing = Outgoing { to: Recipient::Everyone, message: Message::Heartbeat(heartbeat) };
        encode_frame(CLUSTER, &leader, &outgoing, &mut [0; FRAME_MAX]).unwrap().to_vec()
    }
}

/// Reads frames from a bus and sends nothing.
struct Listener {
    traffic: Receiver<Sent>,
    frames: FrameReader,
    bytes: usize,
}

impl Listener {
    fn on(bus: &Bus) -> Self {
        Self { traffic: bus.listen(), frames: FrameReader::new(CLUSTER), bytes: 0 }
    }

    async fn hear(&mut self) {
        while let Ok(sent) = self.traffic.recv().await {
            self.bytes += sent.bytes.len();
            let mut bytes = &sent.bytes[..];
            while self.frames.read_any(&mut bytes).is_some() {}
        }
    }
}

/// L1, L2: three boards on a slow line elect a leader and acknowledge its heartbeats, which take
/// only a part of the line. It needs longer times: a heartbeat and its two answers take 165 ms.
#[tokio::test(flavor = "multi_thread")]
async fn l1_a_line_of_9600_baud_is_enough_for_three_boards() {
    /// Ten bits for each byte.
    const SPEED: u32 = 960;
    let bus = Arc::new(Bus::with_speed(SPEED));
    let mut traffic = bus.listen();
    let mut boards = Boards::start_slow(&bus, 3, SLOW_HEARTBEAT_INTERVAL);
    let (term, leader) = boards.leader_after(0).await;
    let election: Vec<Sent> = std::iter::from_fn(|| traffic.try_recv().ok()).collect();

    let began = Instant::now();
    boards.hear_for(LEADING).await;
    let time = began.elapsed();
    let leading: Vec<Sent> = std::iter::from_fn(|| traffic.try_recv().ok()).collect();
    let bytes: usize = leading.iter().map(|sent| sent.bytes.len()).sum();
    let share = bytes as f64 / (f64::from(SPEED) * time.as_secs_f64());
    println!(
        "{} frames of {bytes} bytes took {:.1} % of the line; {} of {} would have collided in the \
         election, {} of {} after it",
        leading.len(),
        100.0 * share,
        collisions(&election, SPEED),
        election.len(),
        collisions(&leading, SPEED),
        leading.len(),
    );

    assert_eq!(boards.heard().leaders, [(term, leader)].into(), "{}", boards.logs());
    let candidate = boards.heard().candidate_after(term);
    assert_eq!(candidate, None, "nobody campaigns:\n{}", boards.logs());
    assert_eq!(boards.heard().carried, 0, "each speaks in its own name");
    boards.check_that_all_run();
    assert!((0.32..0.48).contains(&share), "{share}");
}

/// How many of the frames would have collided on a line without carrier sense.
fn collisions(frames: &[Sent], speed: u32) -> usize {
    let time = |frame: &Sent| Duration::from_secs(1) * frame.bytes.len() as u32 / speed;
    let meet = |one: &Sent, other: &Sent| {
        one.from != other.from
            && one.ready_at < other.ready_at + time(other)
            && other.ready_at < one.ready_at + time(one)
    };
    frames.iter().filter(|frame| frames.iter().any(|other| meet(frame, other))).count()
}

/// V1, I1, I2, I3, I6: a board whose power is cut in the middle of a vote never votes twice.
#[tokio::test(flavor = "multi_thread")]
async fn v1_boards_that_lose_power_during_votes_never_vote_twice() {
    let seed = seed();
    println!("SEED={seed}");
    let clusters = (0..CLUSTERS).map(|number| tokio::spawn(cut_votes_short(seed + number)));
    let (mut unsaved, mut unsent, mut sent) = (0, 0, 0);
    for cluster in clusters.collect::<Vec<_>>() {
        for cut in cluster.await.unwrap() {
            match cut {
                Cut::BeforeSave => unsaved += 1,
                Cut::BeforeSend => unsent += 1,
                Cut::After => sent += 1,
            }
        }
    }
    println!(
        "power was cut {unsaved} times before the vote was saved, {unsent} times before it was \
         sent, and {sent} times after"
    );
    assert_eq!(unsaved + unsent + sent, VOTES_CUT_SHORT);
}

/// When a board's power was cut, seen from its vote.
enum Cut {
    BeforeSave,
    BeforeSend,
    After,
}

/// Whenever a board asks for votes in a cluster of three, cuts its power or that of a voter.
async fn cut_votes_short(seed: u64) -> Vec<Cut> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut boards = Boards::start(3);
    let mut cuts = Vec::new();
    for _ in 0..VOTES_CUT_SHORT / CLUSTERS {
        let (term, leader) = boards.latest_leader().await;
        boards.member(&leader).cut();
        let (term, candidate) = boards.candidate_after(term).await;
        // The candidate has saved its vote by now, which makes it the less interesting victim.
        let is_candidate = random.random_bool(0.25);
        let mut victims = boards.ids().into_iter().filter(|board| *board != leader);
        let victim = victims.find(|board| (*board == candidate) == is_candidate).unwrap();
        sleep(VOTE_TIME_MAX.mul_f64(random.random())).await;
        boards.cut_power(&victim);
        boards.member(&leader).mend();

        boards.hear_out(&victim).await;
        let has_voted = boards.heard().votes.contains_key(&(term, victim.clone()));
        let found = boards.come_back(&victim).await;
        cuts.push(match (found < term, has_voted) {
            (true, _) => Cut::BeforeSave,
            (false, false) => Cut::BeforeSend,
            (false, true) => Cut::After,
        });
    }
    boards.check_that_all_run();
    assert_eq!(boards.heard().carried, 0, "each speaks in its own name");
    cuts
}

/// A seed from the environment, or a new one.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => rand::random(),
    }
}
