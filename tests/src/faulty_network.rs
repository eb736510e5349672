//! A network in virtual time that loses, doubles and delays messages, and keeps them for a witness.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use graft_election::core::{Message, NodeId, Outgoing, Recipient};
use graft_election::{Arrival, Codec, Member, Transport};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::witness::Heard;

/// A network that connects nodes; clones are the same network. Its seed decides what happens to
/// each message.
#[derive(Clone, Debug)]
pub struct FaultyNetwork(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    members: Vec<(NodeId, UnboundedSender<Message>)>,
    cut_off: Vec<NodeId>,
    faults: Faults,
    random: StdRng,
    /// What was sent since the last call of `tell`. It isn't judged here, within the nodes' tasks,
    /// where a failed check would not fail the test.
    said: Vec<(NodeId, Outgoing)>,
}

/// What a [`FaultyNetwork`] does to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How likely a message is to be lost, and a send to fail.
    pub loss: f64,
    /// How likely it is to arrive twice.
    pub doubling: f64,
    /// How late it may arrive.
    pub delay_max: Duration,
}

impl FaultyNetwork {
    /// A network without members or faults.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            members: Vec::new(),
            cut_off: Vec::new(),
            faults: Faults::default(),
            random: StdRng::seed_from_u64(seed),
            said: Vec::new(),
        })))
    }

    /// A transport for one node.
    pub fn transport(&self) -> FaultyTransport {
        FaultyTransport { network: self.clone(), own: None }
    }

    /// Sets the faults of all messages from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Cuts off these nodes, and no others, from now on: they hear nobody, and nobody hears them.
    pub fn cut_off(&self, nodes: Vec<NodeId>) {
        self.lock().cut_off = nodes;
    }

    /// Has a witness hear what was sent since the last time.
    ///
    /// # Panics
    ///
    /// What was sent contradicts what the witness has heard before.
    pub fn tell(&self, heard: &mut Heard) {
        let said = std::mem::take(&mut self.lock().said);
        for (sender, Outgoing { to, message }) in said {
            heard.hear(&sender, &to, &message, false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("nobody panics with it")
    }

    fn send(&self, from: &NodeId, outgoing: &Outgoing) -> Result<(), SendFault> {
        let mut inside = self.lock();
        let inside = &mut *inside;
        inside.said.push((from.clone(), outgoing.clone()));
        for (id, inbox) in &inside.members {
            let is_meant = match &outgoing.to {
                Recipient::Everyone => true,
                Recipient::Node(node) => node == id,
            };
            let is_cut = inside.cut_off.contains(id) || inside.cut_off.contains(from);
            let copies = if inside.random.random_bool(inside.faults.doubling) { 2 } else { 1 };
            for _ in 0..copies {
                let is_lost = inside.random.random_bool(inside.faults.loss);
                if is_meant && (id == from || !is_cut && !is_lost) {
                    let delay =
                        inside.random.random_range(Duration::ZERO..=inside.faults.delay_max);
                    deliver(inbox.clone(), outgoing.message.clone(), delay);
                }
            }
        }
        if inside.random.random_bool(inside.faults.loss) { Err(SendFault) } else { Ok(()) }
    }
}

fn deliver(inbox: UnboundedSender<Message>, message: Message, delay: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        // Its node may be gone by then.
        let _ = inbox.send(message);
    });
}

/// One node's access to a [`FaultyNetwork`]. It hears its own messages too, as on NATS.
#[derive(Debug)]
pub struct FaultyTransport {
    network: FaultyNetwork,
    own: Option<(NodeId, UnboundedReceiver<Message>)>,
}

/// The network reports that a message was not sent, although some nodes may have received it.
#[derive(Debug)]
pub struct SendFault;

impl std::fmt::Display for SendFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the network had a fault")
    }
}

impl std::error::Error for SendFault {}

impl Transport for FaultyTransport {
    type Error = SendFault;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), SendFault> {
        let (inbox, messages) = mpsc::unbounded_channel();
        self.network.lock().members.push((member.id.clone(), inbox));
        self.own = Some((member.id.clone(), messages));
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        if let Some((_, messages)) = &mut self.own
            && let Some(message) = messages.recv().await
        {
            return Codec::new().open(message, &Recipient::Everyone, &[]);
        }
        std::future::pending().await
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), SendFault> {
        match &self.own {
            Some((id, _)) => self.network.send(id, outgoing),
            None => Ok(()),
        }
    }

    async fn leave(&mut self) {
        if let Some((id, _)) = self.own.take() {
            self.network.lock().members.retain(|(member, _)| *member != id);
        }
    }
}

impl Drop for FaultyTransport {
    /// A node that is killed leaves the network as well.
    fn drop(&mut self) {
        if let Some((id, _)) = self.own.take() {
            self.network.lock().members.retain(|(member, _)| *member != id);
        }
    }
}
