//! Who was at work, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Reads what all witnesses append to one file: their term and their node. The kernel puts what
/// they append in one order, so that a line of an older term after one of a newer is the proof that
/// two were at work.
#[derive(Debug)]
pub(crate) struct Judge {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// A line that isn't complete yet.
    line: String,
    term: u64,
    /// Who worked, by term.
    workers: BTreeMap<u64, String>,
    beats: u64,
}

impl Judge {
    pub(crate) fn new(path: PathBuf) -> Self {
        let (file, line, workers) = (None, String::new(), BTreeMap::new());
        Self { path, file, line, term: 0, workers, beats: 0 }
    }

    /// Reads what is new.
    ///
    /// # Errors
    ///
    /// Two were at work at once.
    pub(crate) fn read(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error).context("could not read what is written"),
            },
        };
        while file.read_line(&mut self.line)? > 0 && self.line.ends_with('\n') {
            let (term, node) = self.line.trim_end().split_once(' ').context("a strange line")?;
            let term: u64 = term.parse().context("a strange term")?;
            let worker = self.workers.entry(term).or_insert_with(|| node.to_owned());
            ensure!(worker == node, "in term {term}, {worker} and {node} work");
            ensure!(term >= self.term, "{node} works in term {term} after term {}", self.term);
            (self.term, self.beats) = (term, self.beats + 1);
            self.line.clear();
        }
        Ok(())
    }

    /// In how many terms somebody has worked.
    pub(crate) fn terms(&self) -> usize {
        self.workers.len()
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beats in {} terms, none after its time", self.beats, self.terms())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn judge(lines: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        Judge::new(file.path().to_owned()).read()
    }

    #[test]
    fn one_after_the_other_is_fine_and_anything_else_is_not() {
        judge("1 n1\n1 n1\n3 n2\n3 n2\n4 n1\n").unwrap();
        judge("1 n1\n2").unwrap();
        let late = judge("1 n1\n2 n2\n1 n1\n").unwrap_err();
        assert_eq!(late.to_string(), "n1 works in term 1 after term 2");
        let both = judge("1 n1\n1 n2\n").unwrap_err();
        assert_eq!(both.to_string(), "in term 1, n1 and n2 work");
    }
}
