//! The page, in a real browser.

use graft_election::{HttpService, MemoryNetwork, MemoryVotes, Node, NodeId};
use graft_election_tests::browser::Page;
use graft_election_tests::cluster::{MemoryCluster, builder, wait_for_agreement};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::authentication::sealed;

/// How many nodes the page draws in this way, which have these names.
fn drawn(classes: &str, ids: &[&NodeId]) -> String {
    let one = |id: &&NodeId| format!("document.querySelector('{classes}[data-node=\"{id}\"]')");
    ids.iter().map(one).collect::<Vec<_>>().join(" && ")
}

/// Serves the node's page until it is aborted.
async fn serve(node: &Node) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback_service(HttpService::new(node));
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    (url, server.abort_handle())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_draws_the_leader_and_its_followers_and_follows_a_change() {
    let cluster = MemoryCluster::start(3).await;
    let old = cluster.wait_for_leader().await;
    let new = (old + 1) % 3;
    let ids = cluster.ids(&[old, new, (old + 2) % 3]);
    let (url, server) = serve(&cluster.nodes[new]).await;

    let mut page = Page::open(&url);
    page.wait_until(&drawn(".node.leader", &[&ids[0]]));
    page.wait_until(&drawn(".node.follower.own", &[&ids[1]]));
    let headline = "document.getElementById('headline').textContent";
    page.wait_until(&format!("{headline}.startsWith('{} leads in term')", ids[0]));

    assert!(cluster.nodes[old].hand_over(Some(ids[1].clone())).await);
    page.wait_until(&drawn(".node.leader.own", &[&ids[1]]));
    page.wait_until(&drawn(".node.follower", &[&ids[0], &ids[2]]));
    page.wait_until(&format!("{headline}.startsWith('{} leads in term')", ids[1]));
    assert_eq!(page.evaluate("document.querySelectorAll('.node').length"), 3);
    assert_eq!(page.evaluate("document.querySelectorAll('#nodes tr').length"), 3);
    page.wait_until(&format!("document.title === 'c: {}'", ids[1]));
    for id in &ids[..2] {
        page.wait_until(&format!("changes.textContent.includes('{id} leads in term')"));
    }

    assert_eq!(page.evaluate("lost.hidden"), true);
    server.abort();
    page.wait_until("!lost.hidden");
}

/// A node without the key can't check what it hears, and one that has it drops what isn't sealed.
#[tokio::test(flavor = "multi_thread")]
async fn k3_the_page_says_what_the_key_has_to_say() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for settings in [sealed("n1"), sealed("n2"), builder("n3", 3)] {
        let started = settings.start(network.transport(), MemoryVotes::new()).await;
        nodes.push(started.unwrap());
    }
    let (url, _) = serve(&nodes[2]).await;
    let mut page = Page::open(&url);
    page.wait_until("doubts.textContent.startsWith('unverified: the nodes have a key')");

    // The leader is the one that it answers.
    let leader = wait_for_agreement(&[&nodes[0], &nodes[1]]).await;
    let (url, _) = serve(&nodes[leader]).await;
    let mut page = Page::open(&url);
    page.wait_until(
        "/^dropped for their seals: \\d+ messages .\\d+ unsealed/.test(doubts.textContent)",
    );
    assert_eq!(page.evaluate("doubts.textContent.includes('unverified')"), false);
}
