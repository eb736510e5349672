//! x
#![forbid(unsafe_code)]
use graft_election_model::{Cluster, search};
fn main() -> anyhow::Result<()> {
    let a: Vec<u8> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let c = Cluster { nodes: a[0].into(), term_max: a[1], declared: a[2] == 1, leaving: a[3] == 1 };
    println!("{:?}", search(c, 2)?);
    Ok(())
}
