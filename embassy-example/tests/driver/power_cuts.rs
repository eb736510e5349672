//! Whole nodes with their vote in flash, and power that is cut at every write and every erasure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use graft_election_core::{Config, Message, NodeId, Recipient, VoteRecord};
use graft_election_embassy::{VoteFlash, VoteFlashError, VoteStorage};

use crate::elections::vote_request;
use crate::flash::{Chip, Fault, Torn};
use crate::station::{Antenna, Station, Told};
use crate::world::{World, id};

/// So many terms fill each page of the flash several times.
const TERMS: u64 = 40;

#[test]
fn i2_a_node_never_votes_twice_in_a_term_wherever_power_is_cut() {
    for torn in Torn::ALL {
        let cuts = (0..).take_while(|cut_at| survives(*cut_at, torn)).count();
        assert!(cuts as u64 > 2 * TERMS, "there are at least two writes to a vote");
    }
}

/// Lives through a cut at one write or erasure; false if there were not so many.
fn survives(cut_at: usize, torn: Torn) -> bool {
    let mut life = Life::new(cut_at, torn);
    for term in 1..=TERMS {
        // Whoever asks first has the vote, power cut or not, and nobody else in that term.
        for candidate in ["b", "c", "b"] {
            life.ask(candidate, term);
        }
    }
    assert_eq!(life.votes.len() as u64, TERMS, "a vote in each term");
    life.cuts > 0
}

#[test]
fn c4_a_node_with_a_worn_flash_is_silent_and_one_whose_flash_recovers_is_not() {
    let mut life = Life::new(usize::MAX, Torn::After);
    life.ask("b", 1);
    assert_eq!(life.votes.len(), 1);
    life.chip.fail(Some(Fault::Worn));
    life.ask("b", 2);
    assert_eq!(life.votes.len(), 1);
    assert!(life.world.look("a", |station| station.count(&Told::SaveFailed)) > 0);
    life.chip.fail(None);
    life.ask("b", 2);
    assert_eq!(life.votes.len(), 2);
}

/// A voter, and the power cut that it lives through.
struct Life {
    world: World,
    chip: Chip,
    /// For whom it voted in which term, as the others heard it.
    votes: BTreeMap<u64, NodeId>,
    cuts: usize,
}

impl Life {
    fn new(cut_at: usize, torn: Torn) -> Self {
        let chip = Chip::new(3, cut_at as u64);
        chip.cut_after(cut_at, torn);
        let mut life = Self { world: World::new(), chip, votes: BTreeMap::new(), cuts: 0 };
        life.boot();
        life
    }

    fn boot(&mut self) {
        let storage = Storage {
            flash: VoteFlash::new(self.chip.clone(), 0).unwrap(),
            station: self.world.station("a"),
        };
        let link = Antenna(id("a"), self.world.air.clone());
        self.world.boot("a", Config::new("test", 3), link, storage);
        // V3: until then it would refuse anyone.
        self.world.run_for(501);
    }

    /// A candidate asks, and asks again if power was cut meanwhile.
    fn ask(&mut self, candidate: &str, term: u64) {
        loop {
            self.world.deliver("a", vote_request(candidate, term));
            self.world.run_for(1);
            self.hear();
            if !self.chip.is_off() {
                return;
            }
            self.cuts += 1;
            self.world.kill("a");
            self.chip.power_on();
            self.boot();
        }
    }

    /// I2: at most one vote in a term.
    fn hear(&mut self) {
        let sent = std::mem::take(&mut self.world.station("a").borrow_mut().sent);
        for (_, outgoing) in sent {
            let (Message::VoteResponse(vote), Recipient::Node(candidate)) =
                (outgoing.message, outgoing.to)
            else {
                continue;
            };
            if vote.granted {
                let voted_for = self.votes.entry(vote.term).or_insert_with(|| candidate.clone());
                assert_eq!(*voted_for, candidate, "two votes in term {}", vote.term);
            }
        }
    }
}

/// The node's flash. Its station is told what is stored, and checks that nothing else is said (I6).
struct Storage {
    flash: VoteFlash<Chip>,
    station: Rc<RefCell<Station>>,
}

impl VoteStorage for Storage {
    type Error = VoteFlashError;

    async fn load(&mut self) -> Result<VoteRecord, VoteFlashError> {
        let record = self.flash.load().await?;
        self.station.borrow_mut().record = record.clone();
        Ok(record)
    }

    async fn save(&mut self, record: &VoteRecord) -> Result<(), VoteFlashError> {
        self.flash.save(record).await?;
        self.station.borrow_mut().record = record.clone();
        Ok(())
    }
}
