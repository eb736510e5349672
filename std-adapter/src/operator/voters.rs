//! Asking a cluster who votes, and changing that (rules R7, O4, O5).

use std::num::NonZeroU32;
use std::time::Duration;

use graft_election_core::{
    Change, ControlAction, ControlOutcome, ControlRequest, ListId, ListPart, Message, NodeId,
};
use tokio::time::{Instant, sleep};

use super::{Answer, Operator, OperatorError, Order, Outcome, REPEAT_INTERVAL, round};
use crate::core_node::VOTERS_MAX;
use crate::transport::Ask;

/// How long a leader may take to answer before another is looked for.
const LEADER_PATIENCE: Duration = Duration::from_secs(1);

/// The voters of a cluster, as its leader tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownVoters {
    /// Who leads.
    pub leader: NodeId,
    /// The leader's term.
    pub term: u64,
    /// Which list it is.
    pub list: ListId,
    /// Its voters.
    pub voters: Vec<NodeId>,
    /// Whether nobody can be elected by an older list any more (rule R6). A list that nobody has
    /// changed under the present leader isn't committed by it.
    pub is_committed: bool,
}

impl<M: Ask> Operator<M> {
    /// Asks the leader for the list of voters.
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoVoters`] if none is declared, or any that [`ask`](Self::ask) has.
    pub async fn voters(&mut self) -> Outcome<KnownVoters, M> {
        let end = Instant::now() + self.patience;
        let within = self.patience;
        let Some((leader, term)) = self.wait_for_leader(0, end).await? else {
            return Err(self.cause().unwrap_or(OperatorError::NoLeader { within }));
        };
        'list: loop {
            let answer = self.question(&leader, end).await?;
            let Some(list) = answer.list else {
                return Err(OperatorError::NoVoters { node: leader });
            };
            let mut voters = Vec::new();
            loop {
                let part = self.part_of_list(&leader, voters.len(), end).await?;
                // Another list has taken its place.
                if part.list != Some(list) {
                    continue 'list;
                }
                voters.push(part.voter);
                if voters.len() >= part.count.get() as usize || voters.len() >= VOTERS_MAX {
                    let is_committed = answer.is_committed;
                    return Ok(KnownVoters { leader, term, list, voters, is_committed });
                }
            }
        }
    }

    /// O5: the voter at this index of the node's list.
    async fn part_of_list(
        &mut self,
        node: &NodeId,
        index: usize,
        end: Instant,
    ) -> Outcome<ListPart, M> {
        let place = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let order = Order { action: ControlAction::Ask, term: 0, target: None, list: None };
        let question = order.for_node(node, round()?, None, None);
        let request = ControlRequest { wanted: NonZeroU32::new(place), ..question };
        while Instant::now() < end {
            self.medium.ask(&request).await.map_err(OperatorError::Medium)?;
            let until = end.min(Instant::now() + REPEAT_INTERVAL);
            while let Some(message) = self.hear(until).await {
                match message {
                    // Others may have asked, too.
                    Message::ListPart(part)
                        if part.sender == *node && part.place.get() == place =>
                    {
                        return Ok(part);
                    }
                    _ => {}
                }
            }
        }
        Err(self.cause().unwrap_or_else(|| OperatorError::NoVoters { node: node.clone() }))
    }

    /// Has the leader add a voter, or remove one (rule R7), and waits until nobody can be elected
    /// by an older list any more. What is so already is confirmed. `waits` is told why it is not
    /// done yet, each time that the reason changes.
    ///
    /// # Errors
    ///
    /// [`OperatorError::VotersUnchanged`] with the last reason, once it has taken longer than the
    /// operator is [patient](Self::patience); or any that [`hand_over`](Self::hand_over) has.
    pub async fn change_voters(
        &mut self,
        change: &Change,
        mut waits: impl FnMut(ControlOutcome),
    ) -> Outcome<(), M> {
        let end = Instant::now() + self.patience;
        let within = self.patience;
        let mut last = None;
        loop {
            let Some((leader, term)) = self.wait_for_leader(0, end).await? else {
                return Err(self.cause().unwrap_or(OperatorError::NoLeader { within }));
            };
            let mut told = |outcome| {
                last = Some(outcome);
                waits(outcome);
            };
            let outcome = self.attempt(change, (&leader, term), end, &mut told).await?;
            match outcome {
                ControlOutcome::Done => return Ok(()),
                ControlOutcome::Refused => return Err(OperatorError::Refused { node: leader }),
                // Another leads now, or somebody else has asked.
                ControlOutcome::NotLeading | ControlOutcome::Outdated if Instant::now() < end => {
                    sleep(REPEAT_INTERVAL / 2).await;
                }
                // The time is up.
                ControlOutcome::NotLeading | ControlOutcome::Outdated => {
                    let reason = last.unwrap_or(outcome);
                    return Err(OperatorError::VotersUnchanged { reason });
                }
                reason => return Err(OperatorError::VotersUnchanged { reason }),
            }
        }
    }

    /// Asks one leader until it is done, can't be, or the leader is another.
    async fn attempt(
        &mut self,
        change: &Change,
        (leader, term): (&NodeId, u64),
        end: Instant,
        waits: &mut impl FnMut(ControlOutcome),
    ) -> Outcome<ControlOutcome, M> {
        let soon = || end.min(Instant::now() + LEADER_PATIENCE);
        let Some(known) = unless_silent(self.question(leader, soon()).await)? else {
            return Ok(ControlOutcome::NotLeading);
        };
        let action = if change.adds { ControlAction::AddVoter } else { ControlAction::RemoveVoter };
        let order = Order { action, term, target: Some(change.voter.clone()), list: change.list };
        let request = order.for_node(leader, round()?, known.last, Some(known.life));
        let mut last = None;
        loop {
            let outcome = match unless_silent(self.send_until_answered(&request, soon()).await)? {
                Some(Answer::Response(response)) => response.outcome,
                // It was to remove itself: its successor does that. Or it is gone.
                Some(Answer::Handover) | None => ControlOutcome::NotLeading,
            };
            let may_pass = matches!(
                outcome,
                ControlOutcome::NotCommitted | ControlOutcome::NotHeard | ControlOutcome::WouldLose
            );
            if !may_pass || Instant::now() >= end {
                return Ok(outcome);
            }
            if last.replace(outcome) != Some(outcome) {
                waits(outcome);
            }
            sleep(REPEAT_INTERVAL / 4).await;
        }
    }
}

/// A leader that doesn't answer may be gone, and another be elected.
fn unless_silent<T, E: std::error::Error>(
    answer: Result<T, OperatorError<E>>,
) -> Result<Option<T>, OperatorError<E>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(OperatorError::NoAnswer { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
