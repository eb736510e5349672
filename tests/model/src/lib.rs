//! All that can happen in a small cluster, state by state: the core's own nodes, searched by
//! [stateright](https://www.stateright.rs).
//!
//! Messages are lost, doubled, delayed and reordered, timers run out at any moment, saves succeed
//! or fail, and nodes crash at any point and come back with what they had stored. In every state
//! that this can lead to, I1 to I6 must hold (protocol, section 5), and no node may panic (I7). No
//! depth is too great; what bounds the search is the number of nodes and the highest term: a campaign
//! for a higher one is not begun. Where leases make time matter, some clusters are bounded further:
//! by how often in all a node may crash, fail to save or be told to leave, and by a node that never
//! campaigns. A search that leaves out a state within its bounds fails.
//!
//! # How real nodes fit a model
//!
//! **One node at a time.** `exploration` runs the core's `Node` in every state that it can get
//! into, with every input that there is: each message that any node has said in any state, each
//! timer, each outcome of each save. What a node does depends on nothing but its state and the
//! input, so this is done once; `table` keeps it, and the search looks it up.
//!
//! **What nobody can tell apart is one.** `classes` finds the states of a node, and the messages,
//! that no sequence of inputs can distinguish. So whatever doesn't matter drops out by itself: for
//! which reason a node follows, what it last reported, in which order it heard of its voters.
//!
//! **Names don't matter.** States that differ only by the nodes' names are one. `symmetry` doesn't
//! take that for granted: it repeats every step of the exploration under swapped names, and fails
//! if any turns out differently.
//!
//! **Where it stands in time doesn't matter.** Two states that differ only by how long ago a node's
//! clock began are one, and so are two instants that have both passed. What a node last reported or
//! refused is left out as well. `exploration` takes none of this for granted: it gives every input
//! to every such state that it comes across, and fails if any does something else.
//!
//! # Time in Graft mode
//!
//! In Graft mode a node looks at the clock for two things: whether its timer is due, and whether it
//! is still bound after a restart (rule V3). The nodes live at the very end of the clock, where
//! every deadline they draw is the last instant. A timer can therefore run out at any moment,
//! before or after anything else, and random numbers make no difference. A node that restarts does
//! so one instant earlier, and is bound; each of its inputs may come then, or at the last instant,
//! when it is free. A real node's time can do no more.
//!
//! # Time in Extended mode
//!
//! Here leases are judged in true time, and time passes in steps, for all nodes at once: T_min is
//! one to four of them, and a heartbeat interval less than one. Between two steps anything may
//! happen, in any order and any number of times, so nothing has to happen in time: messages take any
//! number of steps, and a node that is due may be late. Each timer is drawn as the shortest that it
//! can be, since to be late is to have drawn a longer one. What is discrete is therefore only when
//! leases and promises begin and end: all on whole steps.
//!
//! A clock shows how many steps have passed, or runs at half the speed, which is then what rho
//! allows, or shows every second step only, which is then its tick (rules V2, L3). A heartbeat says
//! by its `SentAt` how many steps ago it was sent, and so does its echo; both grow older until that
//! makes no more difference.
//!
//! In each state at most one node may have a lease (I4), by the core's own `leadership`, and no lease
//! may have a token below the highest that any had (I5). A leader that crashes may have acted on its
//! lease just before, so that lease counts until it would have ended.
//!
//! All rounds of pre-votes have the same number, so that an answer to any round counts in any other:
//! more than what rule C1 allows, and still safe. To whom a leader hands over by itself depends on
//! the order in which it was answered; here it may name anyone, the witness included.
//!
//! # The network
//!
//! A state has the set of all messages ever said, and any of them may be heard at any time, any
//! number of times. That is delay, disorder and duplication; a message that is never heard is lost,
//! and a node that takes no step is down. Since more messages only allow more, two things lose
//! nothing: a node that can say something without any change of its own says it at once, and
//! `relevance` forgets what no node can react to any more, as far as the table of its steps shows.
//! Who led which term, and who said it voted for whom, is remembered like a message.
//!
//! # Saves and crashes
//!
//! A save succeeds, fails, fails though the record is there, or is followed by a crash before the
//! message is sent. A crash before the save, or during one that leaves the old record, is the same
//! as a crash before the input; and a node may crash in every state. What is said is held to what
//! is stored at that moment (I6), and so is every record to the one that it replaces (I2, I3).
//!
//! # What it rests on
//!
//! Stateright knows a state that it has been in by a hash of 64 bits. That two of the three million
//! states of the largest search have the same, so that one of them is not followed up, has a
//! probability below one in a million.
//!
//! # What it doesn't show
//!
//! That a leader is elected in the end: in a search, every fault may go on for ever. Simulations
//! are for that. Nor anything about clusters of another size, or higher terms; of unequal T_min, or a
//! quarantine longer than T_min; of positions that make a vote be refused; of priorities above one
//! another; or of instants between two steps.

#![forbid(unsafe_code)]

mod classes;
mod clock;
mod cluster;
mod exploration;
mod facts;
mod model;
mod relevance;
mod search;
mod sights;
mod symmetry;
mod table;
mod voter;

pub use cluster::{CLUSTERS, Cluster, Kind, LARGE_CLUSTERS, NODES_MAX};
pub use search::{Findings, search};
