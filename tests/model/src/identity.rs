//! What a node owes to those of its id that it hears of (rules N1, N3, N5). It is judged in every
//! step of the exploration, from nothing but what the node heard and said.

use anyhow::{Result, ensure};
use graft_election_core::{Identity, Message, Reason, Round, State};

use crate::clock::Moment;
use crate::cluster::Cluster;
use crate::reaction::{Given, Outcome, Reaction};

/// Why a node must stand aside: it heard another in its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doubt {
    /// It has yet to ask.
    Unasked,
    /// It has asked, and must stand aside for so many steps more, or until it has asked again if it
    /// was answered.
    Asked { round: Round, steps: u8, is_answered: bool },
}

impl Doubt {
    /// Whether a node must stand aside after this input.
    pub(crate) fn after(
        cluster: Cluster,
        before: &Moment,
        input: Given<'_>,
        reaction: &Reaction,
    ) -> Option<Self> {
        if let Some(Message::Who(question)) = said(reaction) {
            let round = question.round;
            let (steps, is_answered) = (cluster.timeout_steps, false);
            return before.doubt.map(|_| Self::Asked { round, steps, is_answered });
        }
        match (before.doubt, input) {
            (None, Given::Message(message)) => {
                let is_heard = !loses_quorum(before, reaction);
                (is_heard && is_anothers(cluster, before, message)).then_some(Self::Unasked)
            }
            // C4: the question may be lost with what could not be stored.
            (Some(Self::Asked { .. }), _) if reaction.outcome == Outcome::SaveFailed => {
                Some(Self::Unasked)
            }
            (Some(Self::Asked { steps: 0, is_answered: false, .. }), Given::Timeout) => None,
            (Some(Self::Asked { round, steps, is_answered }), Given::Step) => {
                Some(Self::Asked { round, steps: steps.saturating_sub(1), is_answered })
            }
            (Some(Self::Asked { round, steps, .. }), Given::Message(Message::Here(answer)))
                if answer.round == round =>
            {
                Some(Self::Asked { round, steps, is_answered: true })
            }
            (doubt, _) => doubt,
        }
    }
}

impl Cluster {
    /// Judges what a node has done with an input.
    ///
    /// # Errors
    ///
    /// It broke a rule.
    pub(crate) fn judge_identity(
        &self,
        before: &Moment,
        input: Given<'_>,
        reaction: &Reaction,
    ) -> Result<()> {
        let story = || format!("\n{before:#?}\non {input:?}\nbecomes {reaction:#?}");
        let is_foreign = match input {
            Given::Message(message) => self.is_foreign_answer(before, message),
            _ => false,
        };
        ensure!(
            !is_foreign || is_unmoved(before, reaction),
            "violated: N1: an answer counts for who asked{}",
            story()
        );
        ensure!(
            reaction.after.doubt.is_none() || is_aside(before, reaction),
            "violated: N3: who hears another in its own name stands aside{}",
            story()
        );
        if let Given::Message(Message::Who(question)) = input {
            ensure!(
                self.is_question_answered(before, question, reaction),
                "violated: N5: of two processes of one id, one answers{}",
                story()
            );
        }
        Ok(())
    }

    /// Whether the message answers another process than the node.
    fn is_foreign_answer(&self, node: &Moment, message: &Message) -> bool {
        is_answer(message) && message.round().is_some_and(|round| !self.is_own(node.node, round))
    }

    /// Whether a question in the node's name is answered if it has to be. A node that stands aside
    /// answers one of a lower life only.
    fn is_question_answered(
        &self,
        before: &Moment,
        question: &Identity,
        reaction: &Reaction,
    ) -> bool {
        let Identity { node, round, .. } = question;
        let is_meant = node == before.voter.id() && !self.is_own(before.node, *round);
        let is_closed = before.voter.state() == State::Closed;
        if !is_meant || is_closed || loses_quorum(before, reaction) {
            return true;
        }
        let is_answered =
            matches!(said(reaction), Some(Message::Here(answer)) if answer.round == *round);
        let gives_way = before.doubt.is_some() && before.node < self.size();
        is_answered != gives_way
    }
}

/// Whether the node hears somebody else in its own name.
fn is_anothers(cluster: Cluster, node: &Moment, message: &Message) -> bool {
    let is_question = matches!(message, Message::Who(_) | Message::Here(_));
    let is_in_own_name = message.sender() == Some(node.voter.id());
    let is_foreign = message.round().is_some_and(|round| !cluster.is_own(node.node, round));
    let is_closed = node.voter.state() == State::Closed;
    is_in_own_name && is_foreign && !is_question && !is_closed && !is_answer(message)
}

fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::VoteResponse(_) | Message::PreVoteResponse(_) | Message::HeartbeatResponse(_)
    )
}

/// L1: whether the input is lost on a leader that steps down instead.
fn loses_quorum(before: &Moment, reaction: &Reaction) -> bool {
    let led = before.voter.state() == State::Leader;
    led && reaction.after.voter.reason() == Reason::LostQuorum
}

/// N1: whether nothing has come of the input.
fn is_unmoved(before: &Moment, reaction: &Reaction) -> bool {
    let (now, voter, after) = (before.now, &before.voter, &reaction.after.voter);
    let looks_alike = after.term() == voter.term()
        && after.state() == voter.state()
        && after.leadership(now) == voter.leadership(now);
    let is_silent = reaction.says.is_none() && reaction.stores.is_none();
    is_silent && looks_alike || loses_quorum(before, reaction)
}

/// N3: whether the node neither leads nor campaigns, and says nothing that helps anyone. A leader
/// frees those that are bound to it.
fn is_aside(before: &Moment, reaction: &Reaction) -> bool {
    let led = before.voter.state() == State::Leader;
    let state = reaction.after.voter.state();
    matches!(state, State::Follower | State::Closed)
        && match said(reaction) {
            None | Some(Message::Who(_) | Message::Here(_)) => true,
            Some(Message::Handover(_)) => led,
            Some(_) => false,
        }
}

fn said(reaction: &Reaction) -> Option<&Message> {
    reaction.says.as_ref().map(|outgoing| &outgoing.message)
}
