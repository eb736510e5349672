//! How values are serialized that have no form of their own for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use graft_election_core::Mode;
use graft_election_proto::seal::SealFault;
use serde::{Serialize, Serializer};

use crate::observer::ObservedRole;

/// A time in seconds.
pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// A time in seconds, if it is known.
pub(crate) fn known_seconds<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

/// What there is, in words.
pub(crate) fn words<S: Serializer, T: Display>(
    item: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    item.as_ref().map(T::to_string).serialize(serializer)
}

/// Each item in words.
pub(crate) fn all_words<S: Serializer, T: Display>(
    items: &BTreeSet<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(T::to_string))
}

/// A mode by the name that it has on the command line.
pub(crate) fn mode<S: Serializer>(mode: &Option<Mode>, serializer: S) -> Result<S::Ok, S::Error> {
    let name = mode.map(|mode| match mode {
        Mode::Extended => "extended",
        Mode::Graft => "graft",
    });
    name.serialize(serializer)
}

/// How many messages were dropped for each fault of their seals.
pub(crate) fn seal_faults<S: Serializer>(
    counts: &BTreeMap<SealFault, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(fault, count)| (fault.name(), count)))
}

impl Serialize for ObservedRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
