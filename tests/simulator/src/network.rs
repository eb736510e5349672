//! Messages on their way.

use graft_election_core::Message;

use crate::NodeIndex;

/// How many nodes a link may have at either end.
const NODES: usize = NodeIndex::COUNT_MAX;

/// All links between the nodes, each with the messages in flight on it.
///
/// A message is in flight until a step delivers or drops it: none arrives by itself. Messages sent
/// over a cut link are lost.
#[derive(Debug)]
pub struct Network {
    flights: Vec<Option<Flight>>,
    free: Vec<FlightKey>,
    /// By sender and receiver, in the order of sending.
    links: Vec<Vec<FlightKey>>,
    /// For each sender, a bit for each receiver that it can't reach.
    cut: [u16; NODES],
    /// The messages sent since the last call of `take_departures`.
    departures: Vec<FlightKey>,
    sent: u64,
}

/// A message in flight.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Which node sent it.
    pub from: NodeIndex,
    /// Which node it goes to.
    pub to: NodeIndex,
    /// The message.
    pub message: Message,
    /// A number that is unique in the world. Copies have numbers of their own.
    pub number: u64,
}

/// Names a message in flight. It is valid until the message is delivered or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightKey(u32);

impl Network {
    pub(crate) fn new() -> Self {
        Self {
            flights: Vec::new(),
            free: Vec::new(),
            links: vec![Vec::new(); NODES * NODES],
            cut: [0; NODES],
            departures: Vec::new(),
            sent: 0,
        }
    }

    /// How many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// The messages in flight from one node to another, in the order of sending.
    pub fn link(&self, from: NodeIndex, to: NodeIndex) -> &[FlightKey] {
        &self.links[link(from, to)]
    }

    /// The message in flight.
    pub fn flight(&self, key: FlightKey) -> Option<&Flight> {
        self.flights.get(key.0 as usize)?.as_ref()
    }

    /// All messages in flight, in no particular order.
    pub fn all(&self) -> Vec<FlightKey> {
        self.links.iter().flatten().copied().collect()
    }

    /// Appends the keys of the messages sent since the last call to `departures`. Some may have
    /// been delivered already.
    pub fn take_departures(&mut self, departures: &mut Vec<FlightKey>) {
        departures.append(&mut self.departures);
    }

    /// Whether what `from` sends reaches `to`.
    pub fn is_cut(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.cut[from.get()] & bit(to) != 0
    }

    pub(crate) fn set_cut(&mut self, from: NodeIndex, to: NodeIndex, is_cut: bool) {
        if is_cut {
            self.cut[from.get()] |= bit(to);
        } else {
            self.cut[from.get()] &= !bit(to);
        }
    }

    pub(crate) fn forget_departures(&mut self) {
        self.departures.clear();
    }

    pub(crate) fn send(&mut self, from: NodeIndex, to: NodeIndex, message: Message) -> FlightKey {
        self.sent += 1;
        let flight = Some(Flight { from, to, message, number: self.sent });
        let key = if let Some(key) = self.free.pop() {
            self.flights[key.0 as usize] = flight;
            key
        } else {
            self.flights.push(flight);
            FlightKey(self.flights.len() as u32 - 1)
        };
        self.links[link(from, to)].push(key);
        self.departures.push(key);
        key
    }

    pub(crate) fn take(&mut self, key: FlightKey) -> Option<Flight> {
        let flight = self.flights.get_mut(key.0 as usize)?.take()?;
        self.free.push(key);
        let link = &mut self.links[link(flight.from, flight.to)];
        let index = link.iter().position(|other| *other == key)?;
        link.remove(index);
        Some(flight)
    }
}

fn link(from: NodeIndex, to: NodeIndex) -> usize {
    from.get() * NODES + to.get()
}

fn bit(node: NodeIndex) -> u16 {
    1 << node.get()
}
