//! The program `graft`: one node of a cluster, a demonstration of a whole one, a bridge between
//! two ways to reach it, and a look into a stored vote.

#![forbid(unsafe_code)]

mod authority;
mod bridge;
mod command;
mod demo;
mod log;
mod report;
mod run;
mod stop;
mod watchdog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use graft_election::ErrorChain;

/// Elects one leader among the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Shows a cluster in this process: it elects a leader, and survives its loss.
    Demo(demo::Demo),
    /// Runs one node until it is told to stop, and COMMAND while the node leads.
    Run(run::Run),
    /// Carries a cluster's messages between a serial line and NATS.
    Bridge(bridge::Carry),
    /// Shows a vote file, and whether a node could start from it.
    Log(log::Log),
    /// Becomes COMMAND, and dies with the node that started it.
    #[command(name = command::CHILD_TASK, hide = true)]
    Child(command::Child),
    /// Ends COMMAND in time, even if the node that started it can't.
    #[command(name = watchdog::WATCHDOG_TASK, hide = true)]
    Watchdog(watchdog::Watch),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(demo) => demo.run(),
        Task::Run(run) => run.run(),
        Task::Bridge(bridge) => bridge.run(),
        Task::Log(log) => log.run(),
        Task::Child(child) => child.run(),
        Task::Watchdog(watch) => watch.run(),
    };
    done.unwrap_or_else(|error| {
        report::complain(ErrorChain(&*error));
        ExitCode::FAILURE
    })
}
