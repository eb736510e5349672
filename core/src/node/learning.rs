//! Learning who votes: whether the node is a voter itself, which lists it asks others for, and what
//! it tells of its own (rules R3, R9 to R11).

use core::num::NonZeroU32;

use rand_core::Rng;

use super::Node;
use super::identity::is_answer;
use super::role::Role;
use super::saying::Saying;
use crate::heard::Part;
use crate::message::Header;
use crate::{
    Application, Instant, Life, ListId, ListPart, Message, NodeId, Reason, RecordedList, Report,
    VoterList,
};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// Whether the node may vote and lead, going by its own list (rule R11). Where no voters are
    /// declared, everyone may; a node that joins may not before it is on a list.
    pub fn is_voter(&self) -> bool {
        match self.record.voter_list() {
            Some(list) => list.voters().contains(&self.id),
            None => !self.joins,
        }
    }

    /// R10: whether a message answers this node with a higher term, and that term doesn't count.
    pub(super) fn is_answer_of_stranger(&self, message: &Message, header: &Header<'_>) -> bool {
        header.term > self.record.term
            && is_answer(message)
            && header.sender.is_some_and(|sender| self.is_foreign(sender, header.list))
    }

    /// R10: whether `sender`, which names this list, is a stranger whose term doesn't count.
    pub(super) fn is_foreign(&self, sender: &NodeId, list: Option<ListId>) -> bool {
        let electorate = self.electorate();
        let is_newer = list.is_some_and(|list| electorate.is_outdated_by(list));
        let is_newcomer = match &self.role {
            Role::Leader(leading) => leading.newcomer.as_ref().is_some_and(|it| it.id == *sender),
            _ => false,
        };
        !electorate.admits(sender) && !is_newer && !is_newcomer
    }

    /// R11: what there is to report of a node that answers. One that joins, or was removed, is no
    /// stranger: it asks for the list, or knows that it is not on it.
    pub(super) fn unless_outsiders(
        &self,
        report: Report,
        list: Option<ListId>,
        wanted: Option<NonZeroU32>,
    ) -> Option<Report> {
        let is_known = wanted.is_some() || list.is_some() && list == self.electorate().list();
        let is_outsiders = is_known && matches!(report, Report::Stranger(_));
        (!is_outsiders).then_some(report)
    }

    /// R7: whether there is no room for a list that is longer than the present one.
    pub(super) fn is_full(&self) -> bool {
        self.electorate().is_declared() && self.electorate().size() >= VOTERS
    }

    /// R5, R9: what a message gives rise to beside what answers it: a leader that hears of a newer
    /// list seals its own, everyone else asks for it, and who is asked tells.
    pub(super) fn exchange_lists(
        &mut self,
        now: Instant,
        message: &Message,
        header: &Header<'_>,
        next: &mut Option<Saying>,
    ) {
        let other = header.list.filter(|list| self.electorate().list() != Some(*list));
        match (next.as_mut(), other.zip(header.sender)) {
            (Some(Saying::Answer { wanted, .. }), Some((list, _))) => {
                *wanted = self.next_wanted(list);
            }
            (None, Some((list, sender))) => {
                *next = match self.next_wanted(list) {
                    Some(wanted) => Some(Saying::ListRequest { to: sender.clone(), wanted }),
                    None if self.is_outdated_leader(list) => self.seal_list(now),
                    None => self.tell_part(message),
                };
            }
            (None, None) => *next = self.tell_part(message),
            (Some(_), _) => {}
        }
    }

    /// R9: which voter of this list the node needs next, from 1 on, if it needs that list.
    fn next_wanted(&self, list: ListId) -> Option<NonZeroU32> {
        let may_learn = match self.role {
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.joins || self.electorate().is_declared()
            }
            // R3: a leader never learns one, and who closes has no more use for it.
            Role::Leader(_) | Role::Closing(_) | Role::Closed => false,
        };
        let is_wanted = self.electorate().is_outdated_by(list) && self.unusable_list != Some(list);
        let place = self.heard.next_place(list);
        if may_learn && is_wanted { NonZeroU32::new(place) } else { None }
    }

    /// R9: the part of the node's list that it is asked for.
    fn tell_part(&self, message: &Message) -> Option<Saying> {
        let (life, wanted) = match message {
            Message::VoteResponse(it) => (it.life, it.wanted),
            Message::PreVoteResponse(it) => (it.life, it.wanted),
            Message::HeartbeatResponse(it) => (it.life, it.wanted),
            Message::ListRequest(it) => (Some(it.life), Some(it.wanted)),
            _ => return None,
        };
        self.list_part(wanted?, life)
    }

    /// R9: the voter at this place of the node's list, if there is one.
    pub(super) fn list_part(&self, place: NonZeroU32, life: Option<Life>) -> Option<Saying> {
        let index = usize::try_from(place.get()).ok()?.checked_sub(1)?;
        let is_there = index < self.record.voter_list()?.voters().len();
        is_there.then_some(Saying::ListPart { index, life })
    }

    /// R9: takes a part of a newer list, and asks for the next one; with the last one the node
    /// learns it. What was lost is asked for again after the next heartbeat.
    pub(super) fn handle_list_part(&mut self, part: &ListPart) -> Option<Saying> {
        let list = part.list?;
        // A part that the network held back may be of an earlier life, or of another cluster.
        if part.life != Some(self.rounds.life()) || self.next_wanted(list).is_none() {
            return None;
        }
        let root = part.root.unwrap_or(list);
        if self.record.voter_list().is_some_and(|own| own.root() != root) {
            let node = part.sender.clone();
            return self.refuse_list(list, Report::ListMismatch { node, list });
        }
        match self.heard.take_part(list, part) {
            Ok(Part::Last(whole)) => self.learn(whole),
            Ok(Part::Next) => {
                let wanted = self.next_wanted(list)?;
                Some(Saying::ListRequest { to: part.sender.clone(), wanted })
            }
            Ok(Part::Other) => None,
            Err(_) => {
                let node = part.sender.clone();
                self.refuse_list(list, Report::UnusableList { node, list })
            }
        }
    }

    fn refuse_list(&mut self, list: ListId, report: Report) -> Option<Saying> {
        self.heard.stop_fetching();
        self.unusable_list = Some(list);
        self.report = Some(report);
        None
    }

    /// R3: goes by a newer list from now on.
    fn learn(&mut self, list: VoterList<VOTERS>) -> Option<Saying> {
        let id = list.id();
        if self.record.list.is_none() && list.voters().contains(&self.id) {
            // R12: nobody is added that doesn't know the list before.
            return self.refuse_list(id, Report::RecordLost { list: id });
        }
        self.record.list = Some(RecordedList::Whole(list));
        self.unsaved = true;
        if id.term > self.record.term {
            self.set_record(id.term, None);
            self.role.forget_leader();
        }
        if let Role::PreCandidate(_) | Role::Candidate(_) = &self.role {
            let heard = self.role.heard_leader().cloned();
            let election_at = self.role.deadline();
            self.enter(Role::waiting(election_at), Reason::ListLearned);
            // L2: no second leader of the term is accepted.
            self.role.remember_leader(heard);
        }
        None
    }
}
