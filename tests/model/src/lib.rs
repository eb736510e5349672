//! x

#![forbid(unsafe_code)]

mod classes;
mod exploration;
mod facts;
mod model;
mod relevance;
mod search;
mod sights;
mod symmetry;
mod table;
mod voter;

pub use search::{Findings, search};
pub use voter::{Cluster, NODES_MAX};
