//! This project's core: the scenes of `tests/costs`.

use graft_election_costs::cluster::{Safety, Wire};
use graft_election_costs::scene::{BOARD, SERVER, acknowledgement, election, heartbeat};
use graft_election_costs::scene::{heartbeat_bytes, round, traffic};

use crate::meter::{Contestant, Play};
use crate::{ACKNOWLEDGEMENT, ELECTION, HEARTBEAT, HEARTBEAT_BYTES, ROUND};

/// With room for as many voters as on a server.
pub const ON_SERVER: &str = "graft, room for 64";

/// With room for as many as on a board.
pub const ON_BOARD: &str = "graft, room for 7";

pub fn contestants(voters: usize) -> Vec<Contestant> {
    let mut all = with_room::<SERVER>(ON_SERVER, voters);
    if voters <= BOARD {
        all.extend(with_room::<BOARD>(ON_BOARD, voters));
    }
    all
}

fn with_room<const VOTERS: usize>(library: &'static str, voters: usize) -> Vec<Contestant> {
    let said = traffic::<VOTERS>(voters, Safety::Lease).map(|traffic| Some(traffic.heard));
    let [of_election, of_round] = said;
    let contestant = |scene, messages, prepare: Box<dyn Fn(u64) -> Play>| Contestant {
        library,
        scene,
        voters,
        prepare,
        messages,
    };
    let elect = move |seed| election::<VOTERS>(voters, Safety::Lease, Wire::Values, seed);
    let keep = move |seed| round::<VOTERS>(voters, Safety::Lease, Wire::Values, seed);
    let hear = move |_| acknowledgement::<VOTERS>(voters);
    vec![
        contestant(ELECTION, of_election, Box::new(elect)),
        contestant(ROUND, of_round, Box::new(keep)),
        contestant(ACKNOWLEDGEMENT, Some(1), Box::new(hear)),
        contestant(HEARTBEAT, Some(2), Box::new(move |_| heartbeat::<VOTERS>(voters))),
        contestant(HEARTBEAT_BYTES, Some(2), Box::new(move |_| heartbeat_bytes::<VOTERS>(voters))),
    ]
}
