//! What becomes of states and messages when the nodes swap their names.

use anyhow::{Context, Result, bail, ensure};

use crate::classes::Classes;
use crate::exploration::{Exploration, LocalStep};
use crate::reaction::{Input, Outcome};
use crate::voter::{Disk, name};

/// One renaming of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming {
    /// The new number of each node.
    pub(crate) nodes: Vec<usize>,
    /// For each node and class of its states, the class that the renamed node is in.
    pub(crate) states: Vec<Vec<usize>>,
    /// For each class of messages, the class of the renamed message.
    pub(crate) messages: Vec<usize>,
}

impl Renaming {
    /// All renamings of the nodes, the one that changes nothing first.
    ///
    /// # Errors
    ///
    /// A node does something else under another name: states that differ only by names are then not
    /// alike, and must not be taken for one.
    pub(crate) fn all(exploration: &Exploration, classes: &Classes) -> Result<Vec<Self>> {
        let nodes = exploration.cluster.nodes;
        let swaps: Vec<Self> = (1..nodes)
            .filter(|right| exploration.cluster.are_alike(right - 1, *right))
            .map(|right| Self::swap(exploration, classes, right - 1, right))
            .collect::<Result<_>>()?;
        let mut all = vec![Self::none(classes)];
        let mut next = 0;
        while let Some(renaming) = all.get(next).cloned() {
            for swap in &swaps {
                let both = renaming.then(swap);
                if all.iter().all(|known| known.nodes != both.nodes) {
                    all.push(both);
                }
            }
            next += 1;
        }
        Ok(all)
    }

    fn none(classes: &Classes) -> Self {
        Self {
            nodes: (0..classes.counts.len()).collect(),
            states: classes.counts.iter().map(|count| (0..*count).collect()).collect(),
            messages: (0..classes.message_count).collect(),
        }
    }

    fn then(&self, other: &Self) -> Self {
        let states = self.states.iter().zip(&self.nodes);
        Self {
            nodes: self.nodes.iter().map(|node| other.nodes[*node]).collect(),
            states: states
                .map(|(states, node)| {
                    states.iter().map(|state| other.states[*node][*state]).collect()
                })
                .collect(),
            messages: self.messages.iter().map(|message| other.messages[*message]).collect(),
        }
    }

    /// The renaming that swaps two nodes, found and checked by repeating every step of the
    /// exploration under the new names.
    fn swap(
        exploration: &Exploration,
        classes: &Classes,
        left: usize,
        right: usize,
    ) -> Result<Self> {
        let renaming = Self::none(classes);
        let mut nodes = renaming.nodes;
        nodes.swap(left, right);
        let mut images = Images {
            states: exploration.moments.iter().map(|moments| vec![None; moments.len()]).collect(),
            messages: vec![None; exploration.messages.len()],
            nodes,
        };
        for node in exploration.cluster.all() {
            images.starts(exploration, node, Disk::default())?;
        }
        let mut offset = 0;
        for (index, step) in exploration.steps.iter().enumerate() {
            let follows = index.checked_sub(1).and_then(|before| exploration.steps.get(before));
            let origin = |step: &LocalStep| (step.node, step.from, step.input);
            offset = if follows.map(origin) == Some(origin(step)) { offset + 1 } else { 0 };
            let image = images.step(exploration, step, offset);
            image.with_context(|| {
                format!(
                    "the nodes differ by more than their names: {} and {} swapped, this is not \
                     what the other does: {}",
                    name(left),
                    name(right),
                    exploration.narrate(step)
                )
            })?;
        }
        images.of_classes(classes)
    }
}

/// The images of single states and messages, as far as they are known.
struct Images {
    nodes: Vec<usize>,
    states: Vec<Vec<Option<usize>>>,
    messages: Vec<Option<usize>>,
}

impl Images {
    /// Finds the image of a step, and with it those of the state it leads to and of what it says.
    fn step(&mut self, exploration: &Exploration, step: &LocalStep, offset: usize) -> Result<()> {
        let node = self.nodes[step.node];
        let from = self.states[step.node][step.from].context("its state is unknown")?;
        let input = match step.input {
            Input::Message(message) => {
                Input::Message(self.messages[message].context("its message is unknown")?)
            }
            Input::HandOver(to) => Input::HandOver(to.map(|to| self.nodes[to])),
            Input::Close(to) => Input::Close(to.map(|to| self.nodes[to])),
            Input::Timeout | Input::Step => step.input,
        };
        let steps = exploration.steps_of(node, from, input);
        let image = steps.and_then(|steps| steps.get(offset)).context("it can't take the step")?;
        let stores = step.stores.map(|disk| rename_disk(disk, &self.nodes));
        ensure!(
            image.outcome == step.outcome && image.stores == stores,
            "it stores something else"
        );
        ensure!(image.says.is_some() == step.says.is_some(), "it says something else");
        if let (Some(said), Some(image)) = (step.says, image.says) {
            self.message(exploration, said, image)?;
        }
        if let (Outcome::CrashedAfterSave, Some(disk)) = (step.outcome, step.stores) {
            self.starts(exploration, step.node, disk)?;
        }
        let known = self.states[step.node][step.to].get_or_insert(image.to);
        ensure!(*known == image.to, "it becomes something else");
        Ok(())
    }

    /// Finds the image of a message, and of what it becomes as it ages.
    fn message(&mut self, exploration: &Exploration, said: usize, image: usize) -> Result<()> {
        let (mut said, mut image) = (said, image);
        loop {
            if let Some(known) = self.messages[said] {
                ensure!(known == image, "it says something else");
                return Ok(());
            }
            self.messages[said] = Some(image);
            match (exploration.ages[said], exploration.ages[image]) {
                (None, None) => return Ok(()),
                (Some(age), Some(other)) => (said, image) = (age.next, other.next),
                _ => bail!("only one of two messages tells the time"),
            }
        }
    }

    /// Finds the images of the states in which a node starts with what it has stored.
    fn starts(&mut self, exploration: &Exploration, node: usize, disk: Disk) -> Result<()> {
        let other = self.nodes[node];
        for phase in 0..exploration.cluster.clock(node).steps {
            let start = |node: usize, disk| exploration.starts[node].get(&(disk, phase)).copied();
            let image = start(other, rename_disk(disk, &self.nodes));
            let index = start(node, disk).context("a node has no start")?;
            self.states[node][index] = Some(image.context("a node has no start")?);
        }
        Ok(())
    }

    /// The images of whole classes.
    fn of_classes(self, classes: &Classes) -> Result<Renaming> {
        let mut renaming = Renaming::none(classes);
        for (node, images) in self.states.iter().enumerate() {
            for (state, image) in images.iter().enumerate() {
                let image = image.context("a state has no image")?;
                let class = classes.states[node][state];
                renaming.states[node][class] = classes.states[self.nodes[node]][image];
            }
        }
        for (message, image) in self.messages.iter().enumerate() {
            let image = image.context("a message has no image")?;
            if let (Some(class), Some(image)) = (classes.messages[message], classes.messages[image])
            {
                renaming.messages[class] = image;
            }
        }
        renaming.nodes = self.nodes;
        Ok(renaming)
    }
}

/// What is stored, under new names.
pub(crate) fn rename_disk(disk: Disk, nodes: &[usize]) -> Disk {
    let vote = disk.vote.and_then(|vote| nodes.get(usize::from(vote)));
    Disk { vote: vote.and_then(|vote| u8::try_from(*vote).ok()), ..disk }
}
