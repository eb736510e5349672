//! How messages of one process are told from those of any other: its life, and the rounds that it
//! draws (rules N1 to N4).

use core::num::NonZeroU32;

use rand_core::Rng;

use crate::NodeId;
use crate::digest::Digest;

/// Which question an answer answers: a round of pre-votes, a campaign, or a question of identity
/// (rule N1). A leader keeps the round of the campaign that it won.
///
/// It is drawn by the process that asks, opaque to everyone else, and echoed unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Round(NonZeroU32);

impl Round {
    /// The round with this number, as it came off the wire; 0 stands for none.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number, never 0.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// One run of one process, from its start to its end (rule N4).
///
/// It is drawn at each start. Two processes of one id, or two runs of one, that drew the same life
/// could not be told apart: the random source must not repeat itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Life(NonZeroU32);

impl Life {
    /// The life with this number, as it came off the wire; 0 stands for none.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number, never 0.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// The rounds that a process has drawn: its life, plus how many there were before (rule N1).
///
/// So it knows its own without keeping any: a message that comes back may be old.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rounds {
    life: Life,
    drawn: u32,
}

impl Rounds {
    pub(crate) fn new(rng: &mut impl Rng, id: &NodeId) -> Self {
        let number = rng.next_u32() ^ Digest::of(id);
        Self { life: Life(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)), drawn: 0 }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// For test tools, to which runs that differ only in how often a node asked are one.
    #[cfg(feature = "test-clone")]
    pub(crate) fn set_drawn(&mut self, drawn: u32) {
        self.drawn = drawn;
    }

    pub(crate) fn draw(&mut self) -> Round {
        loop {
            let number = self.life.number().wrapping_add(self.drawn);
            self.drawn = self.drawn.wrapping_add(1);
            if let Some(round) = Round::new(number) {
                return round;
            }
        }
    }

    /// N3: whether this process has drawn `round`. Another's would have to lie among its own by
    /// chance.
    pub(crate) fn has_drawn(&self, round: Round) -> bool {
        round.number().wrapping_sub(self.life.number()) < self.drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(life: u32) -> Rounds {
        Rounds { life: Life::new(life).unwrap(), drawn: 0 }
    }

    #[test]
    fn n1_rounds_differ_and_skip_zero() {
        let mut rounds = rounds(u32::MAX - 1);
        let drawn = [rounds.draw(), rounds.draw(), rounds.draw()].map(Round::number);
        assert_eq!(drawn, [u32::MAX - 1, u32::MAX, 1]);
    }

    #[test]
    fn n3_a_process_knows_the_rounds_that_it_drew() {
        let mut rounds = rounds(u32::MAX);
        let round = |number| Round::new(number).unwrap();
        assert!(!rounds.has_drawn(round(u32::MAX)));
        rounds.draw();
        assert!(rounds.has_drawn(round(u32::MAX)));
        assert!(!rounds.has_drawn(round(1)));
        rounds.draw();
        assert!(rounds.has_drawn(round(1)));
        assert!(!rounds.has_drawn(round(2)) && !rounds.has_drawn(round(u32::MAX - 1)));
    }
}
