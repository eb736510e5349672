//! A few simulations, for every run of the tests; `cargo xtask simulate` runs many more.

use graft_election_simulator::shrink::{Failure, simulate};
use graft_election_simulator::{Figures, Simulation};

const SEEDS: u64 = 300;

#[test]
fn what_must_hold_holds_in_every_world() {
    let mut total = Figures::default();
    for seed in 0..SEEDS {
        match simulate(seed) {
            Ok(figures) => total += figures,
            Err(violation) => {
                let mut failure = Failure::of(seed).expect("a seed replays exactly");
                failure.shrink();
                panic!("seed {seed}: {violation}\n\n{}", failure.script());
            }
        }
    }
    // Worlds in which nothing happens show nothing.
    let Figures { elections, crashes, saves, failed_saves, interrupted_saves, .. } = total;
    for often in [elections, crashes, saves, failed_saves, interrupted_saves] {
        assert!(often > SEEDS / 2, "{total:?}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let mut runs = [Simulation::new(seed, true), Simulation::new(seed, true)];
        for run in &mut runs {
            run.run().expect("all rules hold");
        }
        assert_eq!(runs[0].recorded(), runs[1].recorded());
        assert_eq!(simulate(seed), Ok(runs[0].figures()), "recording changes nothing");
    }
}
