//! What is in the braces of a macro is indented, though rustfmt doesn't look there.

use super::{Complaint, File};

/// Checks that no line within a macro's braces begins as far to the left as the macro itself.
pub(super) fn check(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if file.extension() != "rs" {
        return complaints;
    }
    // How far the macro is indented whose braces are open.
    let mut open = None;
    for (number, line) in file.lines() {
        let Some(indented) = line.find(|character| character != ' ') else {
            continue;
        };
        match open {
            None if opens_macro(line) => open = Some(indented),
            Some(macro_indented) if indented <= macro_indented => {
                if line.trim_start().starts_with('}') {
                    open = None;
                } else {
                    complaints.push(file.complaint(number, "code in a macro is not indented"));
                }
            }
            _ => {}
        }
    }
    complaints
}

/// Whether a line ends with a macro and its opening brace: `name! {`, or `macro_rules! name {`.
fn opens_macro(line: &str) -> bool {
    let Some(front) = line.strip_suffix('{') else {
        return false;
    };
    let Some((name, defined)) = front.trim_end().rsplit_once('!') else {
        return false;
    };
    let is_word = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    // A function that never returns has no name in front of the mark, but a space.
    name.ends_with(|c: char| c.is_alphanumeric() || c == '_') && is_word(defined.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    fn lines(text: &str) -> Vec<usize> {
        check(&file("proto/src/a.rs", text)).into_iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn code_in_a_macro_is_indented() {
        let indented =
            "macro_rules! message {\n    () => {\n        read();\n    };\n}\nfn f() {}\n";
        assert_eq!(lines(indented), [0; 0]);
        let at_the_margin = "macro_rules! message {\n    () => {\nread();\n    };\n}\nfn f() {}\n";
        assert_eq!(lines(at_the_margin), [3]);
        let inner = "fn f() {\n    select! {\n    a => {}\n    }\n    g();\n}\n";
        assert_eq!(lines(inner), [3]);
    }

    #[test]
    fn a_function_that_never_returns_is_no_macro() {
        assert_eq!(lines("fn f() -> ! {\nloop {}\n}\n"), [0; 0]);
        assert!(check(&file("docs/a.md", "message! {\na\n}\n")).is_empty());
    }
}
