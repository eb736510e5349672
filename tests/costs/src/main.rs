//! Runs a scene under a tool that counts, or prints what is said in clusters.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "only measurements use this program")]

use clap::{Parser, Subcommand};
use graft_election_costs::cluster::{Safety, Traffic};
use graft_election_costs::measured;
use graft_election_costs::scene::{SCENES, SERVER, Scene, traffic};

/// How many elections are counted together: who is the first to ask differs.
const SEEDS: u64 = 20;

/// The clusters whose messages are counted.
const SIZES: [usize; 3] = [3, 5, 64];

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Prints the names of the scenes.
    Scenes,
    /// Plays a scene, and prints how often.
    Play {
        /// Its name.
        scene: String,
    },
    /// Prints the messages and bytes of an election and of a round of heartbeats.
    Traffic,
}

fn main() {
    match Arguments::parse().task {
        Task::Scenes => SCENES.iter().for_each(|scene| println!("{}", scene.name)),
        Task::Play { scene } => {
            let scene = SCENES.iter().find(|other| other.name == scene).unwrap();
            println!("{}", play(scene));
        }
        Task::Traffic => print_traffic(),
    }
}

fn play(scene: &Scene) -> u64 {
    let mut times = 0;
    for seed in 0..SEEDS {
        times += measured(&mut (scene.prepare)(seed));
    }
    times
}

fn print_traffic() {
    for size in SIZES {
        for (mode, safety) in [("plain", Safety::Plain), ("lease", Safety::Lease)] {
            let [election, round] = traffic::<SERVER>(size, safety);
            for (name, Traffic { said, heard, bytes }) in [("election", election), ("round", round)]
            {
                println!("{name}-{size}-{mode} {said} {heard} {bytes}");
            }
        }
    }
}
