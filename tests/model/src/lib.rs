#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod classes;
mod clock;
mod cluster;
mod coverage;
mod exploration;
mod facts;
mod identity;
mod invariant;
mod lists;
mod model;
mod reaction;
mod relevance;
mod search;
mod symmetry;
mod table;
mod voter;

pub use cluster::{CLUSTERS, Cluster, Kind, LARGE_CLUSTERS, Others, QUICK_CLUSTERS};
pub use lists::{LARGE_RENEWALS, OMISSIONS, Omission, QUICK_RENEWALS, RENEWALS, Renewal};
pub use search::{Findings, search};
pub use voter::NODES_MAX;
