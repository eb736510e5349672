//! `cargo xtask follow`: how many files of the core a reader opens to follow each input, and how
//! many of the machine's own calls leave their file.
//!
//! An input is followed from its method, a message from the handler of its kind, through all that
//! may be called from there: methods of the node, and those of its roles, which are counted apart.
//! These numbers show whether the code is cut along its rules. They are no goal in themselves: one
//! file would have the best of them.

mod calls;
mod machine;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use calls::{calls, handlers};
use machine::{Function, Machine, Part};

/// Where the machine is.
const FOLDER: &str = "core/src";

/// The file with the node's type, into whose helpers its rules call down.
const HOME: &str = "node.rs";

/// The messages, each of which is an input of its own.
const KINDS: [&str; 7] = [
    "PreVoteRequest",
    "PreVoteResponse",
    "VoteRequest",
    "VoteResponse",
    "Heartbeat",
    "HeartbeatResponse",
    "Handover",
];

/// The other inputs: type and method.
const METHODS: [(&str, &str); 4] =
    [("Node", "handle_timeout"), ("Node", "hand_over"), ("Node", "close"), ("Unsaved", "saved")];

/// The parts of the machine that are counted: without the roles' own methods, and with them.
const PARTS: [(&str, &[Part]); 2] = [
    ("the node's own methods", &[Part::Node, Part::Unsaved]),
    ("the node's methods and its roles'", &[Part::Node, Part::Unsaved, Part::Role]),
];

/// Prints both numbers, and the files of each input.
///
/// # Errors
///
/// The core can't be read, or lacks an input.
pub(crate) fn follow() -> Result<()> {
    let machine = Machine::read(FOLDER)?;
    for (what, parts) in PARTS {
        println!("{what}:");
        let mut opened = 0;
        for (input, reached) in inputs(&machine)? {
            let files = files(&reached, parts);
            let names: Vec<_> = files.iter().copied().collect();
            println!("{:>4}  {input}: {}", files.len(), names.join(", "));
            opened += files.len();
        }
        println!("{opened:>4}  files opened in all");
        let Leaving { calls, leaving, down } = leaving(&machine, parts);
        let across = leaving - down;
        println!("{leaving:>4}  of {calls} calls leave their file, {across} not down to {HOME}");
    }
    Ok(())
}

/// All inputs, with the functions that each may reach.
fn inputs(machine: &Machine) -> Result<Vec<(String, Vec<&Function>)>> {
    let mut inputs = Vec::new();
    for kind in KINDS {
        let mut begin = handlers(machine, kind, &KINDS);
        ensure!(!begin.is_empty(), "{FOLDER} has no handler of {kind}");
        // Where it is decided which handler takes the message.
        begin.extend(machine.method("Node", "handle_message"));
        let (message, handlers) = begin.split_last().context("no handler")?;
        let mut reached = reach(machine, handlers.to_vec());
        reached.push(message);
        inputs.push((format!("handle_message of a {kind}"), reached));
    }
    for (owner, name) in METHODS {
        let input = machine.method(owner, name);
        let input = input.with_context(|| format!("{FOLDER} has no {owner}::{name}"))?;
        inputs.push((name.to_owned(), reach(machine, vec![input])));
    }
    Ok(inputs)
}

/// These functions, and all that they may call.
fn reach<'m>(machine: &'m Machine, begin: Vec<&'m Function>) -> Vec<&'m Function> {
    let mut to_read = begin;
    let mut read = BTreeSet::new();
    while let Some(function) = to_read.pop() {
        if read.insert(function.id) {
            to_read.extend(calls(machine, function));
        }
    }
    read.into_iter().map(|id| &machine.functions[id]).collect()
}

/// The files with the functions of these parts. [`Part::Unsaved`] is but the door to the node.
fn files<'m>(functions: &[&'m Function], parts: &[Part]) -> BTreeSet<&'m str> {
    let counted = functions
        .iter()
        .filter(|function| parts.contains(&function.part) && function.part != Part::Unsaved);
    counted.map(|function| function.file.as_str()).collect()
}

/// Calls of the machine's functions by each other.
struct Leaving {
    calls: usize,
    /// Those whose two functions are in different files.
    leaving: usize,
    /// Those of them that lead to the machine's home.
    down: usize,
}

fn leaving(machine: &Machine, parts: &[Part]) -> Leaving {
    let mut found = Leaving { calls: 0, leaving: 0, down: 0 };
    let is_counted = |function: &&Function| parts.contains(&function.part);
    for caller in machine.functions.iter().filter(is_counted) {
        for callee in calls(machine, caller).into_iter().filter(is_counted) {
            let leaves = callee.file != caller.file;
            found.calls += 1;
            found.leaving += usize::from(leaves);
            found.down += usize::from(leaves && callee.file == HOME);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "
        pub struct Node { role: Role, timing: Timing }
        pub enum Role { Leader(Leading), Follower }
        impl Node {
            pub fn handle_message(&mut self, message: Message) {
                match message {
                    Message::Heartbeat(_) => self.on_heartbeat(),
                    Message::Handover(_) => self.on_handover(),
                }
            }
            fn begin(&mut self) { self.timing.begin(); }
        }";
    const RULES: &str = "
        impl Node {
            fn on_heartbeat(&mut self) {
                self.begin();
                if let Role::Leader(leading) = &mut self.role { leading.renew(); }
            }
            fn on_handover(&mut self) { self.stay() }
            fn stay(&self) {}
        }
        #[cfg(test)]
        mod tests { fn test(node: Node) { node.begin() } }";
    const ROLE: &str = "
        pub struct Leading;
        impl Leading { fn renew(&mut self) { assert!(self.is_over()); } fn is_over(&self) {} }";

    fn machine() -> Machine {
        let files = [("node.rs", NODE), ("node/rules.rs", RULES), ("node/role.rs", ROLE)];
        Machine::parse(files.map(|(file, text)| (file.to_owned(), text.to_owned()))).unwrap()
    }

    #[test]
    fn a_message_is_followed_from_its_handler() {
        let machine = machine();
        let reached = |kind| reach(&machine, handlers(&machine, kind, &["Heartbeat", "Handover"]));
        let count = |kind, parts| files(&reached(kind), parts).len();
        let [(_, node), (_, all)] = PARTS;
        // Its handler, and a helper at home; then a role.
        assert_eq!((count("Heartbeat", node), count("Heartbeat", all)), (2, 3));
        assert_eq!((count("Handover", node), count("Handover", all)), (1, 1));
    }

    #[test]
    fn an_input_that_is_missing_is_an_error() {
        assert!(inputs(&machine()).is_err());
    }

    #[test]
    fn calls_to_what_is_not_the_machine_are_not_counted() {
        let machine = machine();
        let [(_, node), (_, all)] = PARTS;
        let figures = |parts| {
            let Leaving { calls, leaving, down } = leaving(&machine, parts);
            (calls, leaving, down)
        };
        // To two handlers, from one of them down to the home, and one that stays.
        assert_eq!(figures(node), (4, 3, 1));
        // On to a role, which calls itself.
        assert_eq!(figures(all), (6, 4, 1));
    }
}
