//! This project's core: the scenes of `tests/costs`.

use graft_election_costs::cluster::{Safety, Wire};
use graft_election_costs::scene::{BOARD, SERVER, acknowledgement, election, heartbeat};
use graft_election_costs::scene::{heartbeat_bytes, round, traffic};

use crate::meter::Contestant;
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
    let elect = move |seed| election::<VOTERS>(voters, Safety::Lease, Wire::Values, seed);
    let keep = move |seed| round::<VOTERS>(voters, Safety::Lease, Wire::Values, seed);
    let hear = move |_| acknowledgement::<VOTERS>(voters);
    let follow = move |_| heartbeat::<VOTERS>(voters);
    let read = move |_| heartbeat_bytes::<VOTERS>(voters);
    vec![
        Contestant::new(library, voters, ELECTION, of_election, elect),
        Contestant::new(library, voters, ROUND, of_round, keep),
        Contestant::new(library, voters, ACKNOWLEDGEMENT, Some(1), hear),
        Contestant::new(library, voters, HEARTBEAT, Some(2), follow),
        Contestant::new(library, voters, HEARTBEAT_BYTES, Some(2), read),
    ]
}
