//! Who may vote.

use core::num::NonZeroU32;

use crate::heard::Heard;
use crate::{ListId, NodeId, Report, VoteRecord};

/// The voters a node counts, each known by its index: those on its list or, where nobody is
/// declared, the first distinct ids that the current campaign heard of (rule V6). There are none
/// while a node that joins has yet to learn its first list (rule R1).
#[derive(Clone, Copy)]
pub(crate) struct Electorate<'n> {
    ids: &'n [NodeId],
    size: usize,
    /// The list, if there is one, and its root.
    list: Option<[&'n ListId; 2]>,
}

impl<'n> Electorate<'n> {
    /// That of a node with this record, which has heard of these ids.
    pub(crate) fn of<const VOTERS: usize>(
        record: &'n VoteRecord<VOTERS>,
        heard: &'n Heard<VOTERS>,
    ) -> Self {
        match record.voter_list() {
            Some(list) => {
                let ids = list.voters();
                Self { ids, size: ids.len(), list: Some(list.id_and_root()) }
            }
            None => Self { ids: heard.ids(), size: heard.size(), list: None },
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.list.is_some()
    }

    /// The node's list, if there is one.
    pub(crate) fn list(&self) -> Option<ListId> {
        self.list.map(|[id, _]| *id)
    }

    /// Whether the list in a message of `sender` was replaced by hand by that of which this node's
    /// has come, and `sender` is still on this node's (rule V6).
    pub(crate) fn is_left_behind(&self, sender: &NodeId, list: Option<ListId>) -> bool {
        let (Some([_, root]), Some(list)) = (self.list, list) else {
            return false;
        };
        list.is_older_than(*root) && self.ids.contains(sender)
    }

    /// Whether `id` may take part, as far as anyone can tell.
    pub(crate) fn admits(&self, id: &NodeId) -> bool {
        !self.is_declared() || self.ids.contains(id)
    }

    /// The list by which a node goes that names this one: who names none goes by the root (rule
    /// R2). There is none where this node has none itself.
    pub(crate) fn named(&self, list: Option<ListId>) -> Option<ListId> {
        self.list.map(|[_, root]| list.unwrap_or(*root))
    }

    /// Whether a node that names this list knows a newer one than this node's, if that has one at
    /// all.
    pub(crate) fn is_outdated_by(&self, list: ListId) -> bool {
        self.list().is_none_or(|own| own.is_older_than(list))
    }

    /// Whether `node` may be elected with this node's help (rules V6, R4, L6); `size` is the number
    /// of voters that it counts with, and `list` its list of voters, if it says so.
    pub(crate) fn check_candidate(
        &self,
        node: &NodeId,
        size: Option<NonZeroU32>,
        list: Option<ListId>,
    ) -> Result<(), Report> {
        self.check_leader(node, size, list)?;
        let (own, named) = (self.list(), self.named(list));
        match own.zip(named) {
            // R4: it may not know of voters that have come since.
            Some((own, named)) if named.is_older_than(own) => {
                Err(Report::ListMismatch { node: node.clone(), list: named })
            }
            _ => Ok(()),
        }
    }

    /// Whether `node` may lead with this node's help, which is only not to elect another. A leader
    /// that strangers elect, or that counts another quorum, may not be the only one of its term.
    pub(crate) fn check_leader(
        &self,
        node: &NodeId,
        size: Option<NonZeroU32>,
        list: Option<ListId>,
    ) -> Result<(), Report> {
        // V6
        if !self.admits(node) {
            return Err(Report::Stranger(node.clone()));
        }
        self.check_list(node, list)?;
        // L6: two sizes of one list mean two quorums.
        let is_one_list = list.is_none() || !self.is_declared() || self.list() == list;
        match size.map(NonZeroU32::get) {
            Some(size)
                if is_one_list && self.size > 0 && usize::try_from(size) != Ok(self.size) =>
            {
                Err(Report::SizeMismatch { node: node.clone(), size })
            }
            _ => Ok(()),
        }
    }

    /// V6: two lists of which neither replaced the other may have quorums without a voter in
    /// common.
    pub(crate) fn check_list(&self, node: &NodeId, list: Option<ListId>) -> Result<(), Report> {
        match self.list().zip(list) {
            Some((own, list)) if own != list && !own.is_ordered_with(list) => {
                Err(Report::ListMismatch { node: node.clone(), list })
            }
            _ => Ok(()),
        }
    }

    /// Whether no voter that has yet to be heard of can count. Some of the ids that were heard may
    /// be gone: their nodes came back under other ids (rule V9).
    pub(crate) fn is_full(&self) -> bool {
        !self.is_declared() && self.ids.len() >= self.size
    }

    /// The voter at `index`.
    pub(crate) fn id(&self, index: usize) -> Option<&'n NodeId> {
        self.ids.get(index)
    }

    /// The index of the voter `id`, if it is declared or has been heard.
    pub(crate) fn find(&self, id: &NodeId) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }
}
