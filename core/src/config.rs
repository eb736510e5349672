use core::fmt;
use core::time::Duration;

use crate::lease::LeaseTerms;
use crate::node_id::is_token_byte;
use crate::time::{clamped_micros, micros};
use crate::voter_list::check_each_is_once;
use crate::{ListId, NodeId, VoterListError};

/// What a node asks of the others, and relies on (protocol, section 2).
///
/// A node of either mode answers every message it understands, and keeps the promises that its
/// answers imply. So a cluster moves from one mode to the other node by node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Every voter is of this implementation: pre-votes, a quorum check, a lease.
    #[default]
    Extended,
    /// Some voters are Go nodes: the plain election of Raft, without a lease.
    Graft,
}

/// What a node has to know of its cluster, and the times it keeps.
///
/// [`Config::new`] fills in the defaults, with the times of the Go original; every field may be
/// changed before [`Node::new`](crate::Node::new) checks them all.
///
/// ```
/// use core::time::Duration;
/// use graft_election_core::Config;
///
/// let config = Config {
///     heartbeat_interval: Duration::from_millis(50),
///     ..Config::new("health", 3)
/// };
/// assert_eq!(config.check(7), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// The cluster's name: one or more subject tokens joined by `.`, at most
    /// [`Config::CLUSTER_CAPACITY`] bytes.
    pub cluster: &'a str,
    /// How many voters there are; 0 for a node that joins.
    pub size: usize,
    /// The ids of all voters, this node's included; empty if they are not declared.
    ///
    /// Only a declared list keeps more than `size` nodes from voting (rule V6): without it, two
    /// leaders of one term are possible as soon as more than `size` nodes live.
    pub voters: &'a [NodeId],
    /// Whether it takes the list of voters from whoever leads, and is ready to be added to it
    /// (rules R1, R11). Its [`size`](Self::size) is 0, and it declares no voters.
    pub joins: bool,
    /// Whether there are Go nodes in the cluster.
    pub mode: Mode,
    /// This node's preference for leading. A leader gives way to a steady follower of higher
    /// priority; a node of priority [`WITNESS`](Self::WITNESS) votes and never campaigns (rule H4).
    pub priority: u32,
    /// The least time a follower waits for a leader before it campaigns: T_min.
    pub election_timeout_min: Duration,
    /// The time before which every follower that hears no leader has campaigned, unless it lets
    /// others go first (rule C1a): T_max.
    pub election_timeout_max: Duration,
    /// How often a leader says that it leads: H.
    pub heartbeat_interval: Duration,
    /// By how many hundredths the rates of two nodes' clocks may differ: rho (rule L3).
    pub clock_drift_percent: u8,
    /// The least step of the clock that the node is driven with (rules V2, L3).
    pub clock_tick: Duration,
    /// Whether it does what operators ask: to hand over, to pause and to resume (rule O1). It tells
    /// them in any case how it is.
    pub obeys_operators: bool,
    /// Whether operators may change the voters, too (rule R7).
    pub allows_changes: bool,
    /// Whether its program keeps it from leading from the start on, until it says otherwise (rule
    /// O3).
    pub is_held_back: bool,
}

impl<'a> Config<'a> {
    /// The least election timeout of the Go original.
    pub const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(500);

    /// The greatest election timeout of the Go original.
    pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(1_000);

    /// The heartbeat interval of the Go original.
    pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

    /// The default priority: that of a node which may lead, and has no preference.
    pub const PRIORITY: u32 = 1;

    /// The priority of a witness: it votes, and never leads (rules H4, C5).
    pub const WITNESS: u32 = 0;

    /// The default of [`clock_drift_percent`](Self::clock_drift_percent), far above what any quartz
    /// needs.
    pub const CLOCK_DRIFT_PERCENT: u8 = 10;

    /// The default of [`clock_tick`](Self::clock_tick): that of [`Instant`](crate::Instant).
    pub const CLOCK_TICK: Duration = Duration::from_micros(1);

    /// The most bytes a cluster's name may have.
    pub const CLUSTER_CAPACITY: usize = 128;

    /// The longest election timeout or heartbeat interval: about 71 minutes, so that a
    /// microcontroller can draw a random timeout without 64-bit division.
    pub const TIME_MAX: Duration = Duration::from_micros(u32::MAX as u64);

    /// A node that joins the cluster: it takes the list of voters from whoever leads. Everything
    /// else is as in [`new`](Self::new).
    pub const fn joining(cluster: &'a str) -> Self {
        Self { joins: true, ..Self::new(cluster, 0) }
    }

    /// A cluster of `size` undeclared voters in Extended mode that keeps the times of the Go
    /// original.
    pub const fn new(cluster: &'a str, size: usize) -> Self {
        Self {
            cluster,
            size,
            voters: &[],
            joins: false,
            mode: Mode::Extended,
            priority: Self::PRIORITY,
            election_timeout_min: Self::ELECTION_TIMEOUT_MIN,
            election_timeout_max: Self::ELECTION_TIMEOUT_MAX,
            heartbeat_interval: Self::HEARTBEAT_INTERVAL,
            clock_drift_percent: Self::CLOCK_DRIFT_PERCENT,
            clock_tick: Self::CLOCK_TICK,
            obeys_operators: true,
            allows_changes: false,
            is_held_back: false,
        }
    }

    /// Checks everything that does not depend on the node, for a node that has room for `capacity`
    /// voters.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, in the order of [`ConfigError`].
    pub fn check(&self, capacity: usize) -> Result<(), ConfigError> {
        Self::check_cluster(self.cluster)?;
        if self.joins && (self.size > 0 || !self.voters.is_empty()) {
            return Err(ConfigError::JoinsAndDeclares);
        }
        if self.size == 0 && !self.joins {
            return Err(ConfigError::SizeZero);
        }
        if self.size > capacity {
            return Err(ConfigError::SizeAboveCapacity { size: self.size, capacity });
        }
        self.check_voters()?;
        self.check_times()
    }

    /// Checks whether a cluster can have this name.
    ///
    /// # Errors
    ///
    /// Those of [`ConfigError`] that begin with `Cluster`.
    pub fn check_cluster(name: &str) -> Result<(), ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::ClusterEmpty);
        }
        if name.len() > Self::CLUSTER_CAPACITY {
            return Err(ConfigError::ClusterTooLong { bytes: name.len() });
        }
        let is_token = |token: &str| !token.is_empty() && token.bytes().all(is_token_byte);
        if name.split('.').all(is_token) { Ok(()) } else { Err(ConfigError::ClusterInvalid) }
    }

    fn check_voters(&self) -> Result<(), ConfigError> {
        if self.voters.is_empty() {
            return Ok(());
        }
        // Asked first: one that is there twice is why there are too many.
        check_each_is_once(self.voters)?;
        let (declared, size) = (self.voters.len(), self.size);
        if declared != size {
            return Err(ConfigError::VotersNotSize { declared, size });
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        if self.election_timeout_min >= self.election_timeout_max {
            return Err(ConfigError::ElectionTimeoutRange);
        }
        if self.election_timeout_max > Self::TIME_MAX {
            return Err(ConfigError::TimeTooLong);
        }
        if micros(self.heartbeat_interval) < 2 {
            return Err(ConfigError::HeartbeatZero);
        }
        if self.heartbeat_interval.saturating_mul(2) > self.election_timeout_min {
            return Err(ConfigError::HeartbeatTooSlow);
        }
        if u64::from(self.lease_terms().longest()) <= micros(self.heartbeat_interval) {
            return Err(ConfigError::LeaseTooShort);
        }
        Ok(())
    }

    pub(crate) fn lease_terms(&self) -> LeaseTerms {
        let election_timeout_min = clamped_micros(self.election_timeout_min);
        let clock_tick = clamped_micros(self.clock_tick);
        LeaseTerms::new(election_timeout_min, self.clock_drift_percent, clock_tick)
    }
}

/// Why a [`Config`] makes no sense, or doesn't fit the node it is given to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigError {
    /// The cluster's name is empty.
    ClusterEmpty,
    /// The cluster's name is longer than [`Config::CLUSTER_CAPACITY`].
    ClusterTooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The cluster's name is not subject tokens joined by `.`: it has a space, a wildcard, a
    /// control character, one outside ASCII, or an empty token.
    ClusterInvalid,
    /// The node is to take the list of voters from others, and declares it, or their number.
    JoinsAndDeclares,
    /// The cluster has no voters.
    SizeZero,
    /// The cluster has more voters than the node has room for.
    SizeAboveCapacity {
        /// How many voters there are to be.
        size: usize,
        /// How many there is room for.
        capacity: usize,
    },
    /// The list of voters has more or fewer entries than the cluster has voters.
    VotersNotSize {
        /// How many are declared.
        declared: usize,
        /// How many there are to be.
        size: usize,
    },
    /// The voters are not a list: one of them is declared twice, for example.
    Voters(VoterListError),
    /// The least election timeout is not below the greatest.
    ElectionTimeoutRange,
    /// A time is longer than [`Config::TIME_MAX`].
    TimeTooLong,
    /// The heartbeat interval is less than two microseconds.
    HeartbeatZero,
    /// The heartbeat interval is more than half the least election timeout: one lost heartbeat
    /// would start an election.
    HeartbeatTooSlow,
    /// Given the drift and the tick of the clocks, a lease would end before the next heartbeat
    /// could renew it (rule L3).
    LeaseTooShort,
    /// The node's own id is not among the declared voters.
    OwnIdMissing,
    /// There is no record of a declared voter: without it the voter might vote twice in one term
    /// (rule N6).
    RecordMissing,
    /// The record was made for another list of voters (rule V6).
    ListChanged {
        /// The list in the record.
        recorded: ListId,
        /// The list that is declared now.
        declared: ListId,
    },
    /// The record was made for a list of voters, and none is declared now (rule V6).
    ListMissing {
        /// The list in the record.
        recorded: ListId,
    },
    /// The stored term is [`TERM_END`](crate::TERM_END) or above (rule T4).
    TermOutOfRange {
        /// The stored term.
        term: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterEmpty => f.write_str("the cluster name must not be empty"),
            Self::ClusterTooLong { bytes } => write!(
                f,
                "the cluster name has at most {} bytes, not {bytes}",
                Config::CLUSTER_CAPACITY
            ),
            Self::ClusterInvalid => f.write_str(
                "the cluster name must be printable ASCII tokens joined by '.', \
                 without spaces, '*' or '>'",
            ),
            Self::JoinsAndDeclares => f.write_str(
                "a node that joins takes the voters from whoever leads, and declares neither them \
                 nor their number",
            ),
            Self::SizeZero => f.write_str("the cluster size must not be 0"),
            Self::SizeAboveCapacity { size, capacity } => {
                write!(f, "the cluster size is {size}, but there is room for {capacity} voters")
            }
            Self::VotersNotSize { declared, size } => {
                write!(f, "{declared} voters are declared for a cluster size of {size}")
            }
            Self::Voters(error) => error.fmt(f),
            Self::ElectionTimeoutRange => {
                f.write_str("the least election timeout must be below the greatest")
            }
            Self::TimeTooLong => write!(
                f,
                "election timeouts must not exceed {} seconds",
                Config::TIME_MAX.as_secs()
            ),
            Self::HeartbeatZero => {
                f.write_str("the heartbeat interval must be at least 2 microseconds")
            }
            Self::HeartbeatTooSlow => f.write_str(
                "the heartbeat interval must be at most half the least election timeout",
            ),
            Self::LeaseTooShort => f.write_str(
                "with that clock drift and clock tick a lease would be shorter than the heartbeat \
                 interval",
            ),
            Self::OwnIdMissing => {
                f.write_str("the node's own id is missing from the declared voters")
            }
            Self::RecordMissing => f.write_str(
                "this declared voter has no vote record: if it ever voted, it could vote twice in \
                 one term now, and elect a second leader; only if it never did, make its first \
                 record",
            ),
            Self::ListChanged { recorded, declared } => write!(
                f,
                "the declared voters (list {declared}) are not those of the vote record (list \
                 {recorded}): a list is changed in the records of all voters while all are stopped"
            ),
            Self::ListMissing { recorded } => write!(
                f,
                "the vote record is that of a voter on list {recorded}, but no voters are declared"
            ),
            Self::TermOutOfRange { term } => write!(f, "the stored term {term} is out of range"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<VoterListError> for ConfigError {
    fn from(error: VoterListError) -> Self {
        Self::Voters(error)
    }
}
