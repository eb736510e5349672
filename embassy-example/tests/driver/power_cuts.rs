//! Whole nodes with their vote in flash, whose power is cut at every write and every erasure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use graft_election_core::{Config, Message, NodeId, Recipient, VoteRecord};
use graft_election_embassy::{VoteFlash, VoteFlashError, VoteStore};

use crate::flash::{Chip, Fault, Torn};
use crate::machine::{Machine, NetworkTransport, Observed, VOTERS};
use crate::messages::{id, vote_request};
use crate::world::World;

/// Enough terms to fill each page of the flash several times.
const TERMS: u64 = 40;

#[test]
fn i2_a_node_never_votes_twice_in_a_term_wherever_power_is_cut() {
    for torn in Torn::ALL {
        let cuts = (0..).take_while(|cut_at| survives(*cut_at, torn)).count();
        assert!(cuts as u64 > 2 * TERMS, "there are at least two writes to a vote");
    }
}

/// Has power cut at the write or erasure number `cut_at`; false if there were fewer.
fn survives(cut_at: usize, torn: Torn) -> bool {
    let mut voter = Voter::new(cut_at, torn);
    for term in 1..=TERMS {
        // The first to ask gets the vote, and nobody else does in that term. If power is cut when
        // the vote is stored and not yet given, nobody gets it (rule N2).
        for candidate in ["b", "c", "b"] {
            voter.ask(candidate, term);
        }
    }
    let unspoken = TERMS as usize - voter.votes.len();
    assert!(unspoken <= voter.cuts, "a vote in each term");
    voter.cuts > 0
}

#[test]
fn c4_a_node_with_a_worn_flash_is_silent_and_one_whose_flash_recovers_is_not() {
    let mut voter = Voter::new(usize::MAX, Torn::After);
    voter.ask("b", 1);
    assert_eq!(voter.votes.len(), 1);
    voter.chip.fail(Some(Fault::Worn));
    voter.ask("b", 2);
    assert_eq!(voter.votes.len(), 1);
    assert!(voter.world.look("a", |machine| machine.count(&Observed::SaveFailed)) > 0);
    voter.chip.fail(None);
    voter.ask("b", 2);
    assert_eq!(voter.votes.len(), 2);
}

/// A voter that survives power cuts.
struct Voter {
    world: World,
    chip: Chip,
    /// The votes that others heard it give, by term.
    votes: BTreeMap<u64, NodeId>,
    cuts: usize,
}

impl Voter {
    fn new(cut_at: usize, torn: Torn) -> Self {
        let chip = Chip::new(3, cut_at as u64);
        chip.cut_after(cut_at, torn);
        let mut voter = Self { world: World::new(), chip, votes: BTreeMap::new(), cuts: 0 };
        voter.boot();
        voter
    }

    fn boot(&mut self) {
        let votes = CheckedFlash {
            flash: VoteFlash::new(self.chip.clone(), 0).unwrap(),
            machine: self.world.machine("a"),
        };
        let transport = NetworkTransport(id("a"), self.world.network.clone());
        self.world.boot("a", Config::new("test", 3), transport, votes);
        // V3: until then it would refuse every request.
        self.world.run_for(501);
    }

    /// A candidate asks for the vote, and asks again if power was cut meanwhile.
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
        let sent = std::mem::take(&mut self.world.machine("a").borrow_mut().sent);
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

/// The node's flash. Its machine learns what is saved, and checks that the node says nothing that
/// contradicts it (I6).
struct CheckedFlash {
    flash: VoteFlash<Chip>,
    machine: Rc<RefCell<Machine>>,
}

impl VoteStore<VOTERS> for CheckedFlash {
    type Error = VoteFlashError;

    async fn load(&mut self) -> Result<VoteRecord<VOTERS>, VoteFlashError> {
        let record = self.flash.load().await?;
        self.machine.borrow_mut().record = record.clone();
        Ok(record)
    }

    async fn save(&mut self, record: &VoteRecord<VOTERS>) -> Result<(), VoteFlashError> {
        self.flash.save(record).await?;
        self.machine.borrow_mut().record = record.clone();
        Ok(())
    }
}
