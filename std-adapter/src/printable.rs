use std::fmt::{self, Display, Write};

/// Prints on one line what others have said, such as a server's complaint: a terminal would obey
/// the control characters that may be in it. They are printed as JSON has them, so that a text in
/// JSON stays one.
///
/// ```
/// use graft_election::Printable;
///
/// assert_eq!(Printable("no\u{1b}[2J\nway\u{9b}").to_string(), r"no\u001b[2J\u000away\u009b");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Passes text on, without its control characters.
struct Escaping<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let printable = part.trim_end_matches(char::is_control);
            self.0.write_str(printable)?;
            for control in part.chars().skip(printable.chars().count()) {
                write!(self.0, "\\u{:04x}", u32::from(control))?;
            }
        }
        Ok(())
    }
}
