//! All that is known of the node and its cluster.

use std::time::SystemTime;

use graft_election_core::Mode;
use serde::Serialize;

use super::answer::Answer;
use super::history::timestamp;
use crate::counts::Counts;
use crate::events::Status;
use crate::node::Reader;
use crate::observer::ClusterView;

#[derive(Debug, Serialize)]
struct Report<'n> {
    ts: String,
    version: &'static str,
    mode: &'static str,
    #[serde(flatten)]
    status: &'n Status,
    /// The lease that the node holds, if it does.
    lease: Option<Lease>,
    counts: Counts,
    /// The cluster, as far as the node has heard.
    seen: ClusterView,
}

#[derive(Debug, Serialize)]
struct Lease {
    token: u64,
    left_seconds: f64,
}

pub(super) fn status(node: &Reader) -> Answer {
    let lease = node.lease();
    let lease = lease.map(|(token, left)| Lease { token, left_seconds: left.as_secs_f64() });
    Answer::json(&Report {
        ts: timestamp(SystemTime::now()),
        version: env!("CARGO_PKG_VERSION"),
        mode: mode_name(node.mode()),
        status: &node.status(),
        lease,
        counts: node.counts(),
        seen: node.view(),
    })
}

/// The name of a mode for programs.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Extended => "extended",
        Mode::Graft => "graft",
    }
}
