//! What the node and the watchdog of its COMMAND tell each other: a line of JSON for each message,
//! over a pair of sockets whose end tells either of them that the other is gone.

use serde::{Deserialize, Serialize};

use super::processes::Process;

/// What the node tells its watchdog.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// When COMMAND must be gone, in microseconds on the [clock](crate::machine_clock) of both.
    /// Replaces the last.
    Deadline(u64),
    /// Send SIGTERM to COMMAND's process group.
    Terminate,
    /// Have COMMAND's process group go on, which was stopped.
    Continue,
    /// Kill COMMAND and all that it has started.
    Kill,
}

/// What the watchdog tells the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// COMMAND was started.
    Started { pid: i32, contained_by: ContainedBy },
    /// A signal stopped COMMAND, which did not end.
    Stopped { signal: i32 },
    /// COMMAND goes on.
    Continued,
    /// These are still there, although they were killed. It goes on trying.
    Unkillable(Vec<Process>),
    /// COMMAND has ended, and what it had started is gone. It is the last message.
    Ended {
        /// As `wait` gives it.
        status: i32,
        /// The deadline came.
        has_fired: bool,
    },
}

/// What holds COMMAND and all that it starts, so that they can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ContainedBy {
    /// A cgroup of its own: the kernel kills all that is in it, whoever owns it.
    Cgroup,
    /// Descent from the watchdog: it kills what descends from it, unless that runs as another user.
    Descent,
    /// COMMAND's process group, where there is neither.
    Group,
}

impl std::fmt::Display for ContainedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "in a cgroup of its own",
            Self::Descent => "known by descent",
            Self::Group => "in a process group of its own",
        })
    }
}

/// A message as it is sent.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    // Numbers and text in structs and enums always have a form in JSON.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
