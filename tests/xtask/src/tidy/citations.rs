//! The rules of the protocol, and who cites them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Complaint, File};

/// Where the rules are.
const PROTOCOL: &str = "docs/protocol.md";

/// The sections whose rules need tests: the rules themselves, and the defects that must not come
/// back.
const TESTED_SECTIONS: [&str; 2] = ["## 4 ", "## 6 "];

/// Checks that no file cites a rule that the protocol doesn't have, and that each rule is cited by
/// a test.
///
/// # Errors
///
/// The protocol is not there, or has no rules.
pub(super) fn check(files: &[File]) -> Result<Vec<Complaint>> {
    let protocol = files.iter().find(|file| file.path == Path::new(PROTOCOL));
    let protocol = protocol.with_context(|| format!("{PROTOCOL} is missing"))?;
    let known = known_rules(&protocol.text);
    let to_test = rules_to_test(&protocol.text);
    ensure!(!to_test.is_empty(), "{PROTOCOL} has no rules");

    let mut complaints = Vec::new();
    let mut tested = BTreeSet::new();
    for file in files {
        let tests_begin = tests_begin(file);
        for (line, rule) in citations(file) {
            if !known.contains(rule.as_str()) {
                complaints.push(file.complaint(line, format!("{PROTOCOL} has no rule {rule}")));
            } else if line > tests_begin {
                tested.insert(rule);
            }
        }
    }
    let untested = to_test.iter().filter(|(_, rule)| !tested.contains(*rule));
    complaints.extend(
        untested
            .map(|(line, rule)| protocol.complaint(*line, format!("no test cites rule {rule}"))),
    );
    Ok(complaints)
}

/// Every rule, invariant and defect that has a number: list items and the first cells of tables.
fn known_rules(protocol: &str) -> BTreeSet<&str> {
    protocol.lines().filter_map(defined_rule).collect()
}

/// The rules that need a test, each with its line.
fn rules_to_test(protocol: &str) -> Vec<(usize, &str)> {
    let mut rules = Vec::new();
    let mut is_tested = false;
    for (number, line) in (1..).zip(protocol.lines()) {
        if line.starts_with("## ") {
            is_tested = TESTED_SECTIONS.iter().any(|section| line.starts_with(section));
        }
        if let Some(rule) = defined_rule(line).filter(|_| is_tested) {
            rules.push((number, rule));
        }
    }
    rules
}

fn defined_rule(line: &str) -> Option<&str> {
    let line = line.strip_prefix("* ").or_else(|| line.strip_prefix("| "))?;
    line.split(' ').next().filter(|word| is_rule(word))
}

/// The line after which a file's citations are a test's; 0 if all of it is tests.
fn tests_begin(file: &File) -> usize {
    // The examples in this program's own tests say nothing of the election's.
    if file.path.starts_with("tests/xtask") {
        return usize::MAX;
    }
    let mut folders = file.path.iter().peekable();
    // The package of the tests has helpers too.
    folders.next_if(|folder| *folder == "tests");
    if is_script(file) || folders.any(|part| part == "tests" || part == "tests.rs") {
        0
    } else {
        file.lines_before_tests()
    }
}

/// Whether a file is a script, which is a test.
fn is_script(file: &File) -> bool {
    file.extension() == "txt" && file.path.starts_with("tests/scripts")
}

/// The rules that a file cites, each with its line: in the comments and function names of Rust, in
/// the comments of scripts, and anywhere in prose.
fn citations(file: &File) -> Vec<(usize, String)> {
    let cited_in: fn(&str) -> Vec<String> = match file.extension() {
        "rs" => |line| {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            rules_in_prose(comment).chain(rules_in_name(line)).collect()
        },
        _ if is_script(file) => |line| {
            let comment = line.strip_prefix('#').unwrap_or_default();
            rules_in_prose(comment).collect()
        },
        "md" | "proto" => |line| rules_in_prose(line).collect(),
        _ => return Vec::new(),
    };
    file.lines()
        .flat_map(|(number, line)| cited_in(line).into_iter().map(move |rule| (number, rule)))
        .collect()
}

fn rules_in_prose(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
    words.filter(|word| is_rule(word)).map(str::to_owned)
}

/// A test's name begins with the rules that it tests: `v6_a_voter_counts_once`.
fn rules_in_name(line: &str) -> impl Iterator<Item = String> {
    let name = line.split_once("fn ").map_or("", |(_, name)| name);
    let words = name.split('_').map(str::to_uppercase);
    words.take_while(|word| is_rule(word))
}

fn is_rule(word: &str) -> bool {
    let mut characters = word.chars();
    let has_letter = characters.next().is_some_and(|letter| "TVCLHIAG".contains(letter));
    let number = characters.as_str();
    let has_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    has_letter && has_number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    const RULES: &str = "\
## 4 Rules
* T1 A term never falls.
* V1 One vote, but see L3.
* L3 *Lease*
## 5 What must always hold
| I1 | at most one leader |
## 6 Defects
| G1 | the vote is deleted | V1 |
| G3 | a leader leads for ever | L3 |
";

    #[track_caller]
    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let mut files: Vec<_> = files.iter().map(|(path, text)| file(path, *text)).collect();
        files.push(file(PROTOCOL, RULES));
        let complaints = check(&files).unwrap();
        complaints.iter().map(Complaint::to_string).collect()
    }

    #[test]
    fn every_rule_needs_a_test() {
        let test = ("core/tests/votes.rs", "fn t1_terms_rise() {}\n// V1, L3, G1, G3: once\n");
        assert_eq!(complaints(&[test]), [""; 0]);
        let part = ("core/tests/votes.rs", "fn t1_terms_rise() {}\n// L3, G3\n");
        assert_eq!(
            complaints(&[part]),
            [
                "docs/protocol.md:3: no test cites rule V1",
                "docs/protocol.md:8: no test cites rule G1"
            ]
        );
    }

    #[test]
    fn only_tests_count() {
        let code =
            ("core/src/votes.rs", "// T1, V1\n#[cfg(test)]\nmod tests {\n// T1, L3, G1, G3\n}\n");
        let helper = ("tests/src/cluster.rs", "// V1\n");
        assert_eq!(complaints(&[code, helper]), ["docs/protocol.md:3: no test cites rule V1"]);
    }

    #[test]
    fn a_script_cites_with_its_comments() {
        let script =
            ("tests/scripts/graft/a.txt", "# T1, V1, L3, G1 and G3.\nnodes 3\n  a hears T9\n");
        assert_eq!(complaints(&[script]), [""; 0]);
        let steps = ("tests/scripts/graft/a.txt", "# T1, L3, G3\n  V1, G1\n");
        assert_eq!(complaints(&[steps]).len(), 2);
    }

    #[test]
    fn a_test_cites_with_the_first_words_of_its_name_alone() {
        let test = ("tests/tests/votes.rs", "fn t1_v1_l3_g1_g3_a_u64_that_t9_is_not() {}\n");
        assert_eq!(complaints(&[test]), [""; 0]);
    }

    #[test]
    fn a_rule_that_is_cited_exists() {
        let test = ("core/tests/votes.rs", "fn t1_v1_l3_g1_g3_once() {}\n");
        let unknown = format!("let t9 = T9; // the rule V{}\n", 12);
        let code = ("core/src/votes.rs", unknown.as_str());
        assert_eq!(
            complaints(&[test, code]),
            ["core/src/votes.rs:1: docs/protocol.md has no rule V12"]
        );
    }
}
