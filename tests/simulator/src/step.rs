use std::time::Duration;

use graft_election_core::Message;

use crate::{DiskMode, NodeIndex, Remains};

/// One thing that happens in a world.
///
/// Steps are written one a line, in lower case: `timeout a`, `deliver a -> b`, `crash c`. They are
/// displayed and parsed in that language; each variant says how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `advance 500ms`: time passes, and nothing else happens.
    Advance(Duration),
    /// `timeout a`: the node's timer wakes it, after whatever time is left until then.
    TimeOut(NodeIndex),
    /// `deliver a -> b`: the node hears a message in flight.
    Deliver(Pick),
    /// `drop a -> b`: a message in flight is lost.
    Drop(Pick),
    /// `duplicate a -> b`: a message in flight is in flight once more.
    Duplicate(Pick),
    /// `settle`: messages are delivered in the order of sending, until none is in flight.
    Settle,
    /// `save a`: the save that is under way succeeds.
    Save(NodeIndex),
    /// `fail-save a`: the save that is under way fails; with `written`, after the record became
    /// durable all the same.
    FailSave {
        /// Whose save.
        node: NodeIndex,
        /// The record is on the disk in spite of the error.
        written: bool,
    },
    /// `disk a works`, `disk a fails`, `disk a holds`: how the node's disk behaves from now on.
    Disk {
        /// Whose disk.
        node: NodeIndex,
        /// How it behaves.
        mode: DiskMode,
    },
    /// `crash a`: the node's program is gone. If a save was under way, the old record is on the
    /// disk; with `written` the new one; with `torn` none.
    Crash {
        /// Which node.
        node: NodeIndex,
        /// What is left of a save under way.
        remains: Remains,
    },
    /// `restart a`: the node's program starts with the record on its disk.
    Restart(NodeIndex),
    /// `replace a`: the node's program starts with an empty disk, so under a new id (rule V9).
    Replace(NodeIndex),
    /// `pause a`: the node's program stands still; its clock doesn't.
    Pause(NodeIndex),
    /// `resume a`: it goes on.
    Resume(NodeIndex),
    /// `hand-over a`, `hand-over a -> b`: the node is told to give up its leadership.
    HandOver {
        /// Which node.
        node: NodeIndex,
        /// To whom; anyone, if absent.
        to: Option<NodeIndex>,
    },
    /// `close a`: the node is told to take its leave.
    Close(NodeIndex),
    /// `cut a -> b`: what the first sends doesn't reach the other any more.
    Cut {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
    },
    /// `mend a -> b`: it does again.
    Mend {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
    },
    /// `partition a b | c`: nodes reach only those of their own group; one that is not named is a
    /// group of its own. Links that were cut within a group are mended.
    Partition(Vec<Vec<NodeIndex>>),
    /// `heal`: all links are mended.
    Heal,
    /// `leap a 5s`: the node's clock leaps forward, as after a suspension of its machine.
    Leap {
        /// Whose clock.
        node: NodeIndex,
        /// How far.
        by: Duration,
    },
    /// `drift a 50000ppm`: the node's clock runs so much faster than real time.
    Drift {
        /// Whose clock.
        node: NodeIndex,
        /// How much faster, in millionths; slower, if negative.
        millionths: i32,
    },
    /// `times a 500ms 1s 100ms`: the node's T_min, T_max and H from its next start on.
    Times {
        /// Which node.
        node: NodeIndex,
        /// T_min, T_max and H.
        times: [Duration; 3],
    },
    /// `position a 7`: the node's application has come so far.
    Position {
        /// Which node.
        node: NodeIndex,
        /// How far.
        position: u16,
    },
    /// `forge heartbeat term=5 leader=x -> a`: the node hears a message that no node sent.
    Forge {
        /// What it hears.
        message: Box<Message>,
        /// Who hears it.
        to: NodeIndex,
    },
}

/// Which messages in flight: `a -> b` is the oldest from one node to the other, `2nd a -> b` the
/// one sent after it. `all` stands for all nodes, and then all such messages are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Who sent it; all nodes, if absent.
    pub from: Option<NodeIndex>,
    /// To whom; all nodes, if absent.
    pub to: Option<NodeIndex>,
    /// How many on the same link are older. 0, if a node is absent.
    pub older: usize,
}
