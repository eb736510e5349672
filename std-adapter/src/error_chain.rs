use std::error::Error;
use std::fmt;

use crate::printable::Printable;

/// Prints an error and its causes on one line, as in `the vote was not stored: disk full`.
///
/// An error of this crate prints only what it says itself, and returns its cause from
/// [`source`](Error::source). Errors of other crates may print their cause, too; it is not repeated
/// here. Control characters are printed as [`Printable`] does.
///
/// ```
/// use graft_election::{ErrorChain, VoteFile};
///
/// let error = VoteFile::open("/nowhere/vote").unwrap_err();
/// assert_eq!(error.to_string(), "/nowhere/vote can't be reached");
/// let chain = ErrorChain(&error).to_string();
/// assert!(chain.starts_with("/nowhere/vote can't be reached: No such file"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        write!(f, "{}", Printable(&last))?;
        for cause in std::iter::successors(self.0.source(), |&error| error.source()) {
            let text = cause.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {}", Printable(&text))?;
            }
            last = text;
        }
        Ok(())
    }
}
