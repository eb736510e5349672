//! The page with all results.

use std::fs;
use std::thread;

use anyhow::{Context, Result};

use crate::command::{command, text};
use crate::workspace::root;

/// Where the results are.
const PAGE: &str = "BENCHMARKS.md";

/// What the page begins with.
const PREAMBLE: &str = "\
# Benchmarks

`cargo xtask bench` measures all of this, in less than half an hour, and writes this page; with the
name of a part it measures that one, and writes its section. It takes nothing but what the
registries of Rust, Python and Debian have, and the machine should have nothing else to do.
";

/// How long lines are, at most.
const COLUMNS: usize = 100;

/// A mark before each section.
fn mark(name: &str) -> String {
    format!("<!-- cargo xtask bench {name} -->\n")
}

/// The page, which may not be complete.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// The page as it is.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub(super) fn read() -> Result<Self> {
        let path = root()?.join(PAGE);
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        Ok(Self(text))
    }

    /// Replaces a section, or adds it.
    ///
    /// # Errors
    ///
    /// The machine can't be described.
    pub(super) fn put(&mut self, name: &str, section: &str) -> Result<()> {
        let (title, body) = section.split_once('\n').context("a section has a title")?;
        let (setting, body) = (fill(&setting()?), fill(body));
        let section =
            format!("## {title}\n\n```sh\ncargo xtask bench {name}\n```\n\n{setting}\n\n{body}");
        self.replace(name, &section);
        Ok(())
    }

    fn replace(&mut self, name: &str, section: &str) {
        let mark = mark(name);
        let begins = |text: &str| text.find("<!-- cargo xtask bench ");
        let old = self.0.find(&mark);
        let at = old.unwrap_or(self.0.len());
        let end = old.map_or(at, |at| {
            let from = at + mark.len();
            begins(&self.0[from..]).map_or(self.0.len(), |next| from + next)
        });
        let section = format!("{mark}\n{}\n\n", section.trim_end());
        self.0.replace_range(at..end, &section);
        let sections = begins(&self.0).unwrap_or(self.0.len());
        self.0.replace_range(..sections, &format!("{PREAMBLE}\n"));
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// It can't be written.
    pub(super) fn write(&self) -> Result<()> {
        fs::write(root()?.join(PAGE), format!("{}\n", self.0.trim_end()))?;
        println!("wrote {PAGE}");
        Ok(())
    }
}

/// The text with its paragraphs in lines of the usual length; tables stay as they are.
fn fill(text: &str) -> String {
    let fill_one = |paragraph: &str| {
        if paragraph.trim_start().starts_with('|') {
            return paragraph.trim().to_owned();
        }
        let mut lines = vec![String::new()];
        for word in paragraph.split_whitespace() {
            let line = lines.last().map_or("", String::as_str);
            if line.chars().count() + word.chars().count() >= COLUMNS {
                lines.push(String::new());
            }
            let Some(line) = lines.last_mut() else { continue };
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.join("\n")
    };
    text.split("\n\n").map(fill_one).collect::<Vec<_>>().join("\n\n")
}

/// When, where and with what it was measured.
fn setting() -> Result<String> {
    let mut date = command("date")?;
    date.args(["--utc", "+%F"]);
    let date = text(date)?;
    let mut rustc = command("rustc")?;
    rustc.arg("--version");
    let rustc = text(rustc)?;
    let rustc = rustc.split(" (").next().unwrap_or_default();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("of unknown model", |(_, model)| model.trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(1).unwrap_or("?").to_owned();
    let date = date.trim();
    Ok(format!(
        "Measured on {date}: {processors} processors, {model}; {rustc}; load in the five minutes \
         before the end: {load}.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_the_one_before_and_no_other() {
        let mut page = Page::default();
        page.replace("core", "old");
        page.replace("idle", "other");
        page.replace("core", "new");
        let sections = format!("{}\nnew\n\n{}\nother\n\n", mark("core"), mark("idle"));
        assert_eq!(page.0, format!("{PREAMBLE}\n{sections}"));
    }

    #[test]
    fn tables_stay_as_they_are_and_texts_are_filled() {
        let row = format!("| {} |\n| --- |", "word ".repeat(30));
        let text = format!("one\ntwo\n\n\n{row}\n\n{}", "word ".repeat(30));
        let filled = fill(&text);
        assert!(filled.starts_with(&format!("one two\n\n{row}\n\nword word")), "{filled}");
        assert!(filled.lines().all(|line| line.starts_with('|') || line.len() <= 100), "{filled}");
    }
}
