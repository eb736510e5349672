//! The program `graft`: one node of a cluster and a command for the leader, a demonstration of a
//! whole cluster, a look at one from outside and what an operator asks of it, a bridge between a
//! serial line and NATS, a look into a vote file, and the list of voters in it.

#![forbid(unsafe_code)]

mod bridge;
mod command;
mod demo;
mod doctor;
mod election_timeout;
mod exit_status;
mod file_identity;
mod http;
mod inspect;
mod is_leader;
mod key;
mod leader_file;
mod machine_clock;
mod manual;
mod medium;
mod nats_args;
mod nats_service;
mod news;
mod operate;
mod output;
mod permit;
mod process;
mod quorum;
mod report;
mod run;
mod runtime;
mod seen;
mod sources;
mod status;
mod stop;
mod suggestion;
mod systemd;
mod text_file;
mod traces;
mod voters;
mod watch;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser, Subcommand};
use graft_election::{COMPATIBLE_VERSION, ErrorChain};

use crate::exit_status::ExitStatus;

/// What `graft --version` says after the program's name.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (version, compiler) = (env!("CARGO_PKG_VERSION"), env!("GRAFT_COMPILER"));
    format!(
        "{version}\nprotocol: that of Go graft {COMPATIBLE_VERSION}, extended\ncompiler: {compiler}"
    )
});

/// Elect one leader among the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(
    name = "graft",
    version,
    long_version = VERSION.as_str(),
    arg_required_else_help = true,
    after_help = exit_status::HELP
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// Each has its help where its arguments are.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
enum Task {
    Demo(demo::DemoArgs),
    Run(Box<run::RunArgs>),
    Bridge(bridge::BridgeArgs),
    // Go's users call the file a log.
    #[command(alias = "log")]
    Inspect(inspect::InspectArgs),
    Status(status::StatusArgs),
    Watch(watch::WatchArgs),
    HandOver(operate::HandOverArgs),
    Pause(operate::PauseArgs),
    Resume(operate::ResumeArgs),
    Doctor(doctor::DoctorArgs),
    Key(key::KeyArgs),
    IsLeader(is_leader::IsLeaderArgs),
    Voters(voters::VotersArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
    #[command(name = command::CHILD_TASK, hide = true)]
    Child(command::ChildArgs),
    #[command(name = command::WATCHDOG_TASK, hide = true)]
    Watchdog(command::WatchdogArgs),
    #[command(name = command::PLACEHOLDER_TASK, hide = true)]
    Placeholder(command::PlaceholderArgs),
}

fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let complete = match sources::complete(words, &mut Arguments::command()) {
        Ok(complete) => complete,
        Err(error) => {
            report::print_error(ErrorChain(&*error));
            return ExitStatus::Configuration.into();
        }
    };
    let arguments = match Arguments::try_parse_from(complete.words) {
        Ok(arguments) => arguments,
        Err(told) => {
            let told = suggestion::show_names(told, &Arguments::command());
            // If nobody reads it, there is nowhere left to report it.
            let _ = told.print();
            let is_wrong = told.use_stderr();
            return if is_wrong { ExitStatus::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = match arguments.task {
        Task::Demo(demo) => demo.run(),
        Task::Run(run) => run.run(complete.nats),
        Task::Bridge(bridge) => bridge.run(),
        Task::Inspect(inspect) => inspect.run(),
        Task::Status(status) => status.run(),
        Task::Watch(watch) => watch.run(),
        Task::HandOver(hand_over) => hand_over.run(),
        Task::Pause(pause) => pause.run(),
        Task::Resume(resume) => resume.run(),
        Task::Doctor(doctor) => doctor.run(),
        Task::Key(key) => key.run(),
        Task::IsLeader(is_leader) => is_leader.run(),
        Task::Voters(voters) => voters.run(),
        Task::Completions(completions) => completions.run(&Arguments::command()),
        Task::Man(man) => man.run(Arguments::command()),
        Task::Child(child) => child.run(),
        Task::Watchdog(watchdog) => watchdog.run(),
        Task::Placeholder(placeholder) => placeholder.run(),
    };
    done.unwrap_or_else(|error| {
        report::print_error(ErrorChain(&*error));
        exit_status::of(&error)
    })
}
