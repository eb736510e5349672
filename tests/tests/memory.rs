//! The network within one process, as a transport.

use futures_util::FutureExt;
use graft_election::core::{Message, Outgoing, Recipient};
use graft_election::{Arrival, MemoryJoinError, MemoryNetwork, MemoryTransport, Transport};
use graft_election_tests::cluster::{id, member};
use graft_election_tests::peer::plain_heartbeat;

struct Member(MemoryTransport);

impl Member {
    async fn join(network: &MemoryNetwork, cluster: &str, name: &str) -> Self {
        let mut transport = network.transport();
        transport.join(&member(cluster, &id(name))).await.unwrap();
        Self(transport)
    }

    async fn say(&mut self, to: Recipient, term: u64) {
        let heartbeat = plain_heartbeat(id("x"), term);
        self.0.send(&Outgoing { to, message: Message::Heartbeat(heartbeat) }).await.unwrap();
    }

    /// The terms of all that has arrived.
    fn heard(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.0.receive().now_or_never())
            .map(|arrival| match arrival {
                Arrival::Message(message) => message.term(),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[tokio::test]
async fn nodes_hear_their_own_cluster_and_what_is_meant_for_them() {
    let network = MemoryNetwork::new();
    let mut a = Member::join(&network, "c", "a").await;
    let mut b = Member::join(&network, "c", "b").await;
    let mut stranger = Member::join(&network, "other", "s").await;
    a.say(Recipient::Everyone, 1).await;
    a.say(Recipient::Node(id("b")), 2).await;
    b.say(Recipient::Node(id("nobody")), 3).await;
    stranger.say(Recipient::Everyone, 4).await;
    assert_eq!((a.heard(), b.heard(), stranger.heard()), (vec![], vec![1, 2], vec![]));
}

#[tokio::test]
async fn the_nodes_of_each_group_hear_only_each_other_and_so_do_the_rest() {
    let network = MemoryNetwork::new();
    let mut members = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        members.push(Member::join(&network, "c", name).await);
    }
    network.split(&[&[id("a"), id("b")], &[id("c"), id("d")]]);
    for (place, member) in members.iter_mut().enumerate() {
        member.say(Recipient::Everyone, place as u64).await;
        // Nor can one be reached by name.
        member.say(Recipient::Node(id("a")), 10 + place as u64).await;
    }
    let heard: Vec<_> = members.iter_mut().map(Member::heard).collect();
    assert_eq!(heard[..2], [vec![10, 1, 11], vec![0]]);
    assert_eq!(heard[2..], [vec![3], vec![2], vec![5], vec![4]]);

    network.restore();
    members[0].say(Recipient::Everyone, 20).await;
    assert!(members.iter_mut().skip(1).all(|member| member.heard() == [20]));
}

#[tokio::test]
async fn a_silenced_node_hears_and_is_not_heard() {
    let network = MemoryNetwork::new();
    let mut a = Member::join(&network, "c", "a").await;
    let mut b = Member::join(&network, "c", "b").await;
    network.silence(&id("a"), true);
    a.say(Recipient::Everyone, 1).await;
    b.say(Recipient::Everyone, 2).await;
    network.silence(&id("a"), false);
    a.say(Recipient::Everyone, 3).await;
    assert_eq!((a.heard(), b.heard()), (vec![2], vec![3]));
}

#[tokio::test]
async fn an_id_is_free_again_when_its_node_has_left_or_is_gone() {
    let network = MemoryNetwork::new();
    let mut a = Member::join(&network, "c", "a").await;
    let refused = network.transport().join(&member("other", &id("a"))).await;
    assert_eq!(refused, Err(MemoryJoinError::IdTaken(id("a"))));
    a.0.leave().await;
    assert!(network.is_empty());
    let again = Member::join(&network, "c", "a").await;
    assert_eq!(network.len(), 1);
    drop(again);
    assert!(network.is_empty());
    Member::join(&network, "c", "a").await;
}
