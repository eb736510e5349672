//! Lines have at most 100 columns, in code and in prose.
//!
//! Excepted is what can't be broken: rows of tables, and lines with an address. Data and what
//! programs write are no one's prose.

use super::{Complaint, File};

/// The most columns of a line; rustfmt has it from `rustfmt.toml`.
const COLUMNS_MAX: usize = 100;

/// Files of code and prose, by how their names end.
const EXTENSIONS: [&str; 7] = ["md", "proto", "py", "rs", "sh", "toml", "x"];

pub(super) fn check(file: &File) -> Vec<Complaint> {
    let is_checked: fn(&str) -> bool = match file.extension() {
        // In a script, only the comments are written by hand.
        "txt" => |line| line.starts_with('#'),
        extension if EXTENSIONS.contains(&extension) => |line| !is_unbreakable(line),
        _ => return Vec::new(),
    };
    let mut complaints = Vec::new();
    for (number, line) in file.lines().filter(|(_, line)| is_checked(line)) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let what = format!("{columns} columns, and {COLUMNS_MAX} are the most");
            complaints.push(file.complaint(number, what));
        }
    }
    complaints
}

fn is_unbreakable(line: &str) -> bool {
    let text = line.trim_start_matches(['/', '!', ' ']);
    text.starts_with('|') || line.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    fn count(path: &str, text: &str) -> usize {
        check(&file(path, text)).len()
    }

    #[test]
    fn code_and_prose_have_100_columns() {
        let (longest, longer) = ("é".repeat(100), "é".repeat(101));
        for path in ["core/src/a.rs", "README.md", "deny.toml"] {
            assert_eq!(count(path, &longest), 0, "{path}");
            assert_eq!(count(path, &longer), 1, "{path}");
        }
        assert_eq!(count("tests/golden/a.jsonl", &longer), 0);
    }

    #[test]
    fn a_script_is_written_by_hand_in_its_comments() {
        let step = "a".repeat(101);
        assert_eq!(count("tests/scripts/a.txt", &step), 0);
        assert_eq!(count("tests/scripts/a.txt", &format!("# {step}")), 1);
    }

    #[test]
    fn tables_and_addresses_may_be_longer() {
        let long = "a".repeat(101);
        assert_eq!(count("README.md", &format!("| {long} |")), 0);
        assert_eq!(count("core/src/a.rs", &format!("/// | {long} |")), 0);
        assert_eq!(count("README.md", &format!("<https://{long}>")), 0);
    }
}
