//! What distinguishes one board from another that runs the same firmware, and one start from
//! another: three words, put into memory before it starts, and one in which it counts its starts.
//! The cluster's key follows them, if it has one.

use core::fmt::Write;
use core::time::Duration;

use graft_election_core::{Config, NodeId};
use heapless::String;
use semihosting::sys::arm_compat::sys_elapsed;

use crate::machine::Register;

/// Where the words are: in the last page of the memory that is kept in a file.
const ADDRESS: usize = 0x21FF_F000;

/// Where they end.
#[cfg(feature = "seal")]
pub(crate) const WORDS_END: usize = ADDRESS + 16;

/// The name of the cluster, which keeps it apart from others on the same line.
pub(crate) const CLUSTER: &str = "boards";

/// What the words say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The board's number, unique in its cluster; 0 if it was never set.
    pub(crate) number: u32,
    /// How many voters the cluster has.
    pub(crate) size: u32,
    /// The heartbeat interval in milliseconds; 0, if it was never set, means the default.
    pub(crate) heartbeat_interval: u32,
    /// How often the board has started, this time included.
    starts: u32,
}

impl Settings {
    /// Reads the words, and counts this start.
    pub(crate) fn read() -> Self {
        // SAFETY: nothing else uses this memory.
        let words = [0, 4, 8, 12].map(|offset| unsafe { Register::at(ADDRESS + offset) });
        let [number, size, heartbeat_interval, counted] = words.map(Register::read);
        let starts = counted.wrapping_add(1);
        let [.., counter] = words;
        counter.write(starts);
        Self { number, size, heartbeat_interval, starts }
    }

    /// A number that no other board and no other start has, for the random source.
    ///
    /// The machine has no noise. The board's number and the count of its starts would do, were it
    /// not for boards that were given one number by mistake, which have to notice (rule N4). In
    /// their favour the emulator tells how many nanoseconds it has run.
    pub(crate) fn seed(&self) -> u64 {
        let counted = u64::from(self.number) << 32 | u64::from(self.starts);
        counted ^ sys_elapsed().unwrap_or(0).rotate_left(32)
    }

    /// The id of the node: `board-1` on board 1; none if the board has no number.
    pub(crate) fn id(&self) -> Option<NodeId> {
        let mut name = String::<16>::new();
        write!(name, "board-{}", self.number).ok()?;
        NodeId::new(&name).ok().filter(|_| self.number != 0)
    }

    /// The cluster, with the times that all its nodes keep. A slow line needs longer ones, in the
    /// proportions of the defaults.
    pub(crate) fn config(&self) -> Config<'static> {
        let config = Config::new(CLUSTER, self.size as usize);
        if self.heartbeat_interval == 0 {
            return config;
        }
        let heartbeat_interval = Duration::from_millis(self.heartbeat_interval.into());
        Config {
            heartbeat_interval,
            election_timeout_min: heartbeat_interval.saturating_mul(5),
            election_timeout_max: heartbeat_interval.saturating_mul(10),
            ..config
        }
    }
}
