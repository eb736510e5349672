//! A file's constants come first, together: after what it imports, and before everything else.

use anyhow::{Context, Result};
use syn::Item;

use super::{Complaint, File};

/// Checks a file of Rust; constants in tests, functions and types are where they are used.
///
/// # Errors
///
/// It isn't Rust.
pub(super) fn check(file: &File) -> Result<Vec<Complaint>> {
    if file.extension() != "rs" {
        return Ok(Vec::new());
    }
    let items = syn::parse_file(&file.text).with_context(|| file.path.display().to_string())?.items;
    let is_front = |item: &Item| match item {
        Item::Const(_) | Item::ExternCrate(_) | Item::Static(_) | Item::Use(_) => true,
        Item::Mod(module) => module.content.is_none(),
        _ => false,
    };
    let late = items.iter().skip_while(|item| is_front(item));
    let names = late.filter_map(|item| match item {
        Item::Const(constant) => Some(constant.ident.to_string()),
        _ => None,
    });
    Ok(names
        .map(|name| {
            let line = line_of(file, &name);
            file.complaint(line, format!("the constant {name} belongs in front of all but imports"))
        })
        .collect())
}

fn line_of(file: &File, name: &str) -> usize {
    let definition = format!("const {name}:");
    file.lines().find(|(_, line)| line.contains(&definition)).map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    fn complaints(text: &str) -> Vec<String> {
        let complaints = check(&file("core/src/a.rs", text)).unwrap();
        complaints.iter().map(Complaint::to_string).collect()
    }

    #[test]
    fn constants_come_after_imports_and_before_all_else() {
        let front = "mod b;\nuse b::B;\nconst A: u8 = 1;\npub const C: u8 = 2;\n";
        assert_eq!(complaints(&format!("{front}struct S;\nconst fn f() {{}}")), [""; 0]);
        let late = format!("{front}struct S;\npub(crate) const D: u8 = 3;\n");
        let wanted = "core/src/a.rs:6: the constant D belongs in front of all but imports";
        assert_eq!(complaints(&late), [wanted]);
    }

    #[test]
    fn constants_of_types_functions_and_tests_are_where_they_are_used() {
        let text = "
            impl S { const A: u8 = 1; }
            fn f() { const B: u8 = 1; }
            mod tests { const C: u8 = 1; }";
        assert_eq!(complaints(text), [""; 0]);
        assert!(check(&file("docs/a.md", "no Rust")).unwrap().is_empty());
        assert!(check(&file("core/src/a.rs", "no Rust")).is_err());
    }
}
