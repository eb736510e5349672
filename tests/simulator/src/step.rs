use std::time::Duration;

use graft_election_core::{Message, Mode};

use crate::{Answers, DiskMode, NodeIndex, Remains};

/// One thing that happens in a world.
///
/// Steps are displayed and parsed as text, one on each line, in lower case: `timeout a`,
/// `deliver a -> b`, `crash c`. Each variant says how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `advance 500ms`: time passes, and nothing else happens.
    Advance(Duration),
    /// `timeout a`: the node's timer wakes it, once the time that is left until then has passed.
    TimeOut(NodeIndex),
    /// `deliver a -> b`: the receiver hears a message in flight.
    Deliver(Pick),
    /// `drop a -> b`: a message in flight is lost.
    Drop(Pick),
    /// `duplicate a -> b`: a message in flight gets a copy.
    Duplicate(Pick),
    /// `settle`: messages are delivered in the order of sending until none is left in flight.
    Settle,
    /// `save a`: the save that is under way succeeds.
    Save(NodeIndex),
    /// `fail-save a`: the save that is under way fails. With `written`, the record is on the disk
    /// in spite of that.
    FailSave {
        /// Whose save.
        node: NodeIndex,
        /// Whether the record is on the disk in spite of the error.
        written: bool,
    },
    /// `disk a works`, `disk a fails`, `disk a holds`: how the node's disk behaves from now on.
    Disk {
        /// Whose disk.
        node: NodeIndex,
        /// How it behaves.
        mode: DiskMode,
    },
    /// `crash a`: the node's program is gone. If a save was under way, the old record is still on
    /// the disk; with `written` the new one is; with `torn` neither.
    Crash {
        /// Which node.
        node: NodeIndex,
        /// What is left of a save under way.
        remains: Remains,
    },
    /// `restart a`: the node's program starts with the record on its disk.
    Restart(NodeIndex),
    /// `replace a`: the node's program starts with an empty disk, and hence under a new id (rule
    /// V9).
    Replace(NodeIndex),
    /// `pause a`: the node's program pauses. Its clock doesn't.
    Pause(NodeIndex),
    /// `resume a`: the node's program continues.
    Resume(NodeIndex),
    /// `no-double a`: the node's transport was told that no other process has its id (rule N5).
    NoDouble(NodeIndex),
    /// `hand-over a`, `hand-over a -> b`: the node is told to give up its leadership.
    HandOver {
        /// Which node.
        node: NodeIndex,
        /// To whom; anyone if absent.
        to: Option<NodeIndex>,
    },
    /// `add-voter a d`, `remove-voter a d`: the node is asked to have one voter more, or one less,
    /// or to go on with that (rule R7).
    ChangeVoters {
        /// Which node is asked.
        node: NodeIndex,
        /// Whether to add, or to remove.
        adds: bool,
        /// Whom.
        voter: NodeIndex,
    },
    /// `close a`: the node is told to close.
    Close(NodeIndex),
    /// `hold-back a`: the node's own program keeps it from leading, until it ends, or until
    /// `let-lead a`.
    HoldBack {
        /// Which node.
        node: NodeIndex,
        /// Whether it is kept from leading.
        is_held_back: bool,
    },
    /// `cut a -> b`: what the first node sends no longer reaches the second.
    Cut {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
    },
    /// `mend a -> b`: what the first node sends reaches the second again.
    Mend {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
    },
    /// `partition a b | c`: nodes reach only those of their own group. A node that is not named is
    /// alone. Links that were cut within a group are mended.
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
    /// `drift a 50000ppm`: the node's clock runs faster than real time by this much.
    Drift {
        /// Whose clock.
        node: NodeIndex,
        /// How much faster, in millionths; slower if negative.
        millionths: i32,
    },
    /// `times a 500ms 1s 100ms`: the node's T_min, T_max and H from its next start on.
    Times {
        /// Which node.
        node: NodeIndex,
        /// T_min, T_max and H.
        times: [Duration; 3],
    },
    /// `change a mode graft`: a setting of the node from its next start on.
    Change {
        /// Which node.
        node: NodeIndex,
        /// What changes.
        change: Change,
    },
    /// `rewrite a 7 a b d`: the record of a node that is down is rewritten for this list of voters,
    /// which holds from this term on (rule V6).
    Rewrite {
        /// Whose record.
        node: NodeIndex,
        /// The term.
        term: u64,
        /// The voters.
        voters: Vec<NodeIndex>,
    },
    /// `position a 7`: the node's application is at this position.
    Position {
        /// Which node.
        node: NodeIndex,
        /// Which position.
        position: u16,
    },
    /// `answers a refuses`: how the node's application answers from now on.
    Answers {
        /// Which node.
        node: NodeIndex,
        /// How it answers.
        answers: Answers,
    },
    /// `forge heartbeat term=5 leader=x -> a`: the node hears a message that no node sent. With
    /// `of b` before the arrow, it is of the last round that this node spoke of (rule N1).
    Forge {
        /// What it hears.
        message: Box<Message>,
        /// Whose round it is of, unless its own.
        round_of: Option<NodeIndex>,
        /// Who hears it.
        to: NodeIndex,
    },
}

/// What a node is started with next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `mode graft`: its mode.
    Mode(Mode),
    /// `priority 2`: its preference for leading.
    Priority(u32),
    /// `rho 20`: by how many hundredths it believes that the rates of clocks may differ.
    Rho(u8),
    /// `voters a b d`: its own list of voters.
    Voters(Vec<NodeIndex>),
    /// `program go`, `program ours`: whether it is the Go original.
    Program {
        /// It is.
        is_go: bool,
    },
    /// `draws 7`: the seed of its random numbers, at that start only.
    Draws(u64),
}

/// Which messages in flight: `a -> b` is the oldest one from a to b, `2nd a -> b` the one sent
/// after it. `all` in place of a node means all nodes, and then all messages that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The sender; all nodes if absent.
    pub from: Option<NodeIndex>,
    /// The receiver; all nodes if absent.
    pub to: Option<NodeIndex>,
    /// How many messages on the same link are older; 0 if a node is absent.
    pub older: usize,
}
