//! The numbers of sealed messages: those of a node itself, and those that it has heard (rule K2).

use graft_election_core::NodeId;

use super::{STARTS_MAX, SealFault};

/// How many bits of a number count the messages of one life: at a thousand in a second they last
/// for two years, and at ten for two centuries. Those above count the starts.
const MESSAGE_BITS: u32 = 36;

/// The most messages of one life.
const MESSAGES_MAX: u64 = (1 << MESSAGE_BITS) - 1;

/// How many numbers below the highest are remembered one by one, since media change the order.
const WINDOW: u64 = u64::BITS as u64;

/// Numbers what a node says.
pub(super) struct Said {
    /// Who it is; nobody who only listens or asks.
    id: Option<NodeId>,
    starts: u32,
    /// How many messages it has sealed.
    messages: u64,
}

impl Said {
    pub(super) const fn by_node(id: NodeId, starts: u32) -> Self {
        Self { id: Some(id), starts, messages: 0 }
    }

    pub(super) const fn by_listener() -> Self {
        Self { id: None, starts: 0, messages: 0 }
    }

    /// The next number; none if this life has none left, which must not take those of the next.
    pub(super) fn next(&mut self) -> Option<u64> {
        let is_last = self.messages >= MESSAGES_MAX || self.starts > STARTS_MAX;
        self.messages = self.messages.checked_add(1).filter(|_| !is_last)?;
        Some(u64::from(self.starts) << MESSAGE_BITS | self.messages)
    }

    pub(super) fn is_own(&self, sender: &NodeId) -> bool {
        self.id.as_ref() == Some(sender)
    }

    /// Judges a message in the node's own name. Its echo harms nobody, and a double that is alive
    /// has to be heard (rules V5, N3), whose numbers may be any; but not what the node itself said
    /// in an earlier life, with which anybody could make it stand aside.
    pub(super) fn check_echo(&self, number: u64) -> Result<(), SealFault> {
        if starts_of(number) < self.starts { Err(SealFault::EarlierLife) } else { Ok(()) }
    }
}

/// The numbers that were heard from up to `SENDERS` nodes.
pub(super) struct Numbers<const SENDERS: usize> {
    of_senders: [Option<Heard>; SENDERS],
    /// How many messages were taken, which is the time by which senders are silent.
    taken: u64,
}

/// What was heard from a node.
struct Heard {
    sender: NodeId,
    highest: u64,
    /// Which of the numbers below the highest were heard, the nearest in the lowest bit.
    below: u64,
    last_taken: u64,
}

impl<const SENDERS: usize> Numbers<SENDERS> {
    pub(super) const fn new() -> Self {
        const { assert!(SENDERS > 0, "somebody must be remembered") };
        Self { of_senders: [const { None }; SENDERS], taken: 0 }
    }

    /// Takes the number of an authentic message, unless it was heard before.
    pub(super) fn take(&mut self, sender: &NodeId, number: u64) -> Result<(), SealFault> {
        let taken = self.taken.saturating_add(1);
        let mut known = self.of_senders.iter_mut().flatten();
        if let Some(heard) = known.find(|heard| heard.sender == *sender) {
            heard.take(number)?;
            heard.last_taken = taken;
        } else {
            // An empty place is older than any that is taken.
            let oldest = |heard: &&mut Option<Heard>| heard.as_ref().map(|heard| heard.last_taken);
            if let Some(place) = self.of_senders.iter_mut().min_by_key(oldest) {
                let (sender, highest) = (sender.clone(), number);
                *place = Some(Heard { sender, highest, below: 0, last_taken: taken });
            }
        }
        self.taken = taken;
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, number: u64) -> Result<(), SealFault> {
        if number > self.highest {
            let rise = number.saturating_sub(self.highest);
            let shifted = u32::try_from(rise).ok().and_then(|rise| self.below.checked_shl(rise));
            self.below = shifted.unwrap_or(0) | bit(rise).unwrap_or(0);
            self.highest = number;
            return Ok(());
        }
        let bit = bit(self.highest.saturating_sub(number));
        if let Some(bit) = bit.filter(|bit| self.below & bit == 0) {
            self.below |= bit;
            return Ok(());
        }
        if starts_of(number) < starts_of(self.highest) {
            return Err(SealFault::EarlierLife);
        }
        Err(SealFault::Replayed)
    }
}

/// The bit of the number that is `below` the highest, if it is in the window.
fn bit(below: u64) -> Option<u64> {
    let index = below.checked_sub(1).filter(|index| *index < WINDOW)?;
    1_u64.checked_shl(index as u32)
}

fn starts_of(number: u64) -> u32 {
    (number >> MESSAGE_BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k2_numbers_end_and_are_never_wrapped() {
        let last = (2 << MESSAGE_BITS) - 1;
        let mut said = Said { id: None, starts: 1, messages: MESSAGES_MAX - 1 };
        assert_eq!([said.next(), said.next(), said.next()], [Some(last), None, None]);
        let mut said = Said { id: None, starts: STARTS_MAX, messages: MESSAGES_MAX - 1 };
        assert_eq!([said.next(), said.next()], [Some(u64::MAX), None]);
        let mut said = Said { id: None, starts: STARTS_MAX + 1, messages: 0 };
        assert_eq!(said.next(), None);
    }
}
