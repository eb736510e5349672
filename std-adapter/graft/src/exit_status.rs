//! The exit statuses of the program's own, from which a supervisor can tell what to do.
//!
//! They are those of the BSDs' `sysexits.h`, far from what COMMAND and the shell use.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// What the help says about them.
pub(crate) const HELP: &str = "\
Exit statuses:
  0   it ended as it was asked to
  1   something failed that has no status of its own
  64  usage: the arguments are wrong
  69  connection: NATS or the serial line can't be used
  73  gave up: with --wait or --try, the node didn't get to lead in time
  75  lost quorum: asked to end, the node had long known no leader any more
  78  configuration: what the arguments, the environment or files say can't work";

/// Why the program ends, if that has a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The arguments are wrong.
    Usage = 64,
    /// The other nodes can't be reached: later that may be otherwise.
    Connection = 69,
    /// The node didn't get to lead in time.
    GaveUp = 73,
    /// The node had lost its leader, and elected none.
    LostQuorum = 75,
    /// Nothing changes until somebody changes a setting.
    Configuration = 78,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Gives an error its exit status.
pub(crate) trait ExitsWith<T> {
    /// The same result, whose error ends the program with `status`.
    fn exits_with(self, status: ExitStatus) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> ExitsWith<T> for Result<T, E> {
    fn exits_with(self, status: ExitStatus) -> anyhow::Result<T> {
        self.map_err(|error| with_status(status, error.into()))
    }
}

/// The same error, which ends the program with `status`.
pub(crate) fn with_status(status: ExitStatus, error: anyhow::Error) -> anyhow::Error {
    Failure { status, error }.into()
}

/// The status with which this error ends the program.
pub(crate) fn of(error: &anyhow::Error) -> ExitCode {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    failure.map_or(ExitCode::FAILURE, |failure| failure.status.into())
}

/// An error with an exit status; otherwise just what it was.
#[derive(Debug)]
struct Failure {
    status: ExitStatus,
    error: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
