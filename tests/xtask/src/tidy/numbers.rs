//! A number that prose shares with a constant is that of the constant.
//!
//! Prose says what a reader needs to know, and can't take it from the code; so `numbers.toml` lists
//! the phrases that have a constant's number, and each place that has the phrase must have the
//! number.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use syn::{Expr, ImplItem, Item, Lit};

use super::{Complaint, File};
use crate::workspace::root;

/// The list.
const LIST: &str = "tests/xtask/numbers.toml";

/// What stands for the number in a phrase.
const NUMBER: &str = "{}";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "number")]
    numbers: Vec<Number>,
}

/// A constant, and who says its number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Number {
    /// `NAME`, or `Type::NAME`.
    constant: String,
    /// The folder of the one file that has it.
    #[serde(rename = "in")]
    folder: PathBuf,
    /// Phrases of Markdown, with `{}` for the number.
    phrases: Vec<String>,
}

/// Checks all numbers that are listed.
///
/// # Errors
///
/// The list can't be read, or a constant isn't there or is no plain number.
pub(super) fn check(files: &[File]) -> Result<Vec<Complaint>> {
    let text = fs::read_to_string(root()?.join(LIST)).with_context(|| format!("no {LIST}"))?;
    let list: List = toml::from_str(&text).context(LIST)?;
    let mut complaints = Vec::new();
    for number in &list.numbers {
        let value =
            value(files, number).with_context(|| format!("{} of {LIST}", number.constant))?;
        for phrase in &number.phrases {
            complaints.extend(check_phrase(files, phrase, value, &number.constant)?);
        }
    }
    Ok(complaints)
}

fn check_phrase(
    files: &[File],
    phrase: &str,
    value: u128,
    constant: &str,
) -> Result<Vec<Complaint>> {
    let (before, after) = phrase.split_once(NUMBER).with_context(|| format!("{phrase:?}"))?;
    let mut complaints = Vec::new();
    let mut is_said = false;
    for file in files.iter().filter(|file| file.extension() == "md") {
        for (line, said) in numbers_in(&file.text, before, after) {
            is_said = true;
            if said != value {
                let what = format!("it is {value} that {constant} is, not {said}");
                complaints.push(file.complaint(line, what));
            }
        }
    }
    if !is_said {
        let path = Path::new(LIST).to_owned();
        let what = format!("nobody says {phrase:?} any more");
        complaints.push(Complaint { path, line: 1, what });
    }
    Ok(complaints)
}

/// The numbers between these texts, each with the number of its line. Lines may end wherever a text
/// has a space.
fn numbers_in(text: &str, before: &str, after: &str) -> Vec<(usize, u128)> {
    let (flat, lines) = flattened(text);
    let mut found = Vec::new();
    for (start, _) in flat.match_indices(before) {
        let start = start + before.len();
        let rest = &flat[start..];
        let length = rest.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(rest.len());
        // Its end may be a comma of the sentence.
        let number = rest[..length].trim_end_matches(',');
        let is_rest = flat[..start].ends_with(|c: char| c.is_ascii_digit() || c == ',');
        if !is_rest
            && let Ok(value) = number.replace(',', "").parse()
            && rest[number.len()..].starts_with(after)
        {
            found.push((lines[start], value));
        }
    }
    found
}

/// The text with one space for all that separates words, and the line of each byte in it.
fn flattened(text: &str) -> (String, Vec<usize>) {
    let (mut flat, mut lines) = (String::new(), Vec::new());
    for (line, words) in (1..).zip(text.lines()) {
        for word in words.split_whitespace() {
            flat.push_str(word);
            flat.push(' ');
            lines.resize(flat.len(), line);
        }
    }
    (flat, lines)
}

/// The value of a constant.
fn value(files: &[File], number: &Number) -> Result<u128> {
    let (owner, name) = match number.constant.split_once("::") {
        Some((owner, name)) => (Some(owner), name),
        None => (None, number.constant.as_str()),
    };
    let mut values = Vec::new();
    let sources = files.iter().filter(|file| file.extension() == "rs");
    for file in sources.filter(|file| file.path.starts_with(&number.folder)) {
        for item in syn::parse_file(&file.text)?.items {
            match item {
                Item::Const(constant) if owner.is_none() && constant.ident == name => {
                    values.push(*constant.expr);
                }
                Item::Impl(item) if owner.is_some_and(|owner| is_type(&item.self_ty, owner)) => {
                    for item in item.items {
                        if let ImplItem::Const(constant) = item
                            && constant.ident == name
                        {
                            values.push(constant.expr);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let folder = number.folder.display();
    ensure!(values.len() == 1, "{folder} has it {} times", values.len());
    plain_number(&values[0]).context("it is no plain number")
}

fn is_type(of: &syn::Type, name: &str) -> bool {
    match of {
        syn::Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// A number, or that of a duration in its own unit, as in `Duration::from_millis(500)`.
fn plain_number(expression: &Expr) -> Result<u128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => Ok(number.base10_parse()?),
            _ => bail!("it is no whole number"),
        },
        Expr::Call(call) if call.args.len() == 1 => plain_number(&call.args[0]),
        _ => bail!("it is computed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    const CODE: &str = "
        pub const SEEDS: u64 = 20_000;
        const SUM: u64 = 1 + 1;
        impl Config { pub const T_MIN: Duration = Duration::from_millis(500); }";

    fn number(constant: &str) -> Result<u128> {
        let number =
            Number { constant: constant.into(), folder: "core".into(), phrases: Vec::new() };
        value(&[file("core/src/a.rs", CODE)], &number)
    }

    #[test]
    fn a_constant_is_a_number_or_a_duration() {
        assert_eq!(number("SEEDS").unwrap(), 20_000);
        assert_eq!(number("Config::T_MIN").unwrap(), 500);
        assert!(number("SUM").is_err());
        assert!(number("T_MIN").is_err());
    }

    #[test]
    fn prose_has_the_number_of_the_constant() {
        let said = |text: &str| {
            let files = [file("README.md", text)];
            let complaints = check_phrase(&files, "one of {} clusters", 20_000, "SEEDS").unwrap();
            complaints.iter().map(Complaint::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said("It is one of 20,000\n  clusters."), [""; 0]);
        let wrong = ["README.md:2: it is 20000 that SEEDS is, not 10000"];
        assert_eq!(said("It is\none of 10,000 clusters."), wrong);
        let gone = ["tests/xtask/numbers.toml:1: nobody says \"one of {} clusters\" any more"];
        assert_eq!(said("It is one of many clusters."), gone);
    }

    #[test]
    fn a_number_is_read_as_a_whole() {
        assert_eq!(numbers_in("to 64, and\nto 1,064, so", "to ", ", and"), [(1, 64)]);
        assert_eq!(numbers_in("to 64, and\nto 1,064, so", "to ", ", so"), [(2, 1_064)]);
        assert_eq!(numbers_in("1,064 runs a row", "", " runs a row"), [(1, 1_064)]);
    }
}
