//! The program `graft`: one node of a cluster and a command for the leader, a demonstration of a
//! whole cluster, a look at one from outside, a bridge between a serial line and NATS, a look into
//! a vote file, and the list of voters in it.

#![forbid(unsafe_code)]

mod bridge;
mod command;
mod demo;
mod election_timeout;
mod inspect;
mod medium;
mod nats_args;
mod news;
mod output;
mod permit;
mod process;
mod report;
mod run;
mod seen;
mod status;
mod stop;
mod voters;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use graft_election::ErrorChain;

/// Elect one leader among the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// Each has its help where its arguments are.
#[derive(Debug, Subcommand)]
enum Task {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    Bridge(bridge::BridgeArgs),
    // Go's users call the file a log.
    #[command(alias = "log")]
    Inspect(inspect::InspectArgs),
    Status(status::StatusArgs),
    Watch(watch::WatchArgs),
    Voters(voters::VotersArgs),
    #[command(name = command::CHILD_TASK, hide = true)]
    Child(command::ChildArgs),
    #[command(name = command::WATCHDOG_TASK, hide = true)]
    Watchdog(command::WatchdogArgs),
    #[command(name = command::PLACEHOLDER_TASK, hide = true)]
    Placeholder(command::PlaceholderArgs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(demo) => demo.run(),
        Task::Run(run) => run.run(),
        Task::Bridge(bridge) => bridge.run(),
        Task::Inspect(inspect) => inspect.run(),
        Task::Status(status) => status.run(),
        Task::Watch(watch) => watch.run(),
        Task::Voters(voters) => voters.run(),
        Task::Child(child) => child.run(),
        Task::Watchdog(watchdog) => watchdog.run(),
        Task::Placeholder(placeholder) => placeholder.run(),
    };
    done.unwrap_or_else(|error| {
        report::print_error(ErrorChain(&*error));
        ExitCode::FAILURE
    })
}
