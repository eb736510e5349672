//! The program `graft`: one node of a cluster and a command for the leader, a demonstration of a
//! whole cluster, a bridge between a serial line and NATS, and a look into a vote file.

#![forbid(unsafe_code)]

mod bridge;
mod command;
mod demo;
mod inspect;
mod permit;
mod process;
mod report;
mod run;
mod stop;
mod watchdog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Elect one leader among the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show a cluster in this process: it elects a leader, loses it, and elects another.
    Demo(demo::DemoArgs),
    /// Run one node until it is told to stop, and COMMAND while the node leads.
    Run(run::RunArgs),
    /// Carry a cluster's messages between a serial line and NATS.
    Bridge(bridge::BridgeArgs),
    /// Show what is in a vote file, and whether a node could start from it.
    // Go's users call that file a log.
    #[command(alias = "log")]
    Inspect(inspect::InspectArgs),
    /// Become COMMAND, and die with the node that started it.
    #[command(name = command::CHILD_TASK, hide = true)]
    Child(command::ChildArgs),
    /// End COMMAND in time, even if the node that started it can't.
    #[command(name = watchdog::WATCHDOG_TASK, hide = true)]
    Watchdog(watchdog::WatchdogArgs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(demo) => demo.run(),
        Task::Run(run) => run.run(),
        Task::Bridge(bridge) => bridge.run(),
        Task::Inspect(inspect) => inspect.run(),
        Task::Child(child) => child.run(),
        Task::Watchdog(watchdog) => watchdog.run(),
    };
    done.unwrap_or_else(|error| {
        report::print_error(report::chain(&*error));
        ExitCode::FAILURE
    })
}
