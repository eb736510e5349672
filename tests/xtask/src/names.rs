//! `cargo xtask names`: the names by which programs know what happens, in one table that is made
//! from the code.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use syn::{Attribute, Expr, ImplItem, Item, ItemEnum, ItemImpl, Lit, Meta, Pat, Variant};

use crate::workspace::root;

/// Where the tables are, between these two lines.
const PAGE: &str = "docs/events.md";
const BEGIN: &str = "<!-- Made by `cargo xtask names`. -->\n";
const END: &str = "<!-- Until here. -->\n";

/// The types with names: their titles, and where they are.
const TYPES: [(&str, &str, &str); 7] = [
    ("Events", "EventKind", "std-adapter/src/events.rs"),
    ("States", "State", "core/src/status.rs"),
    ("Reasons", "Reason", "core/src/status.rs"),
    ("Refusals", "Refusal", "core/src/status.rs"),
    ("Faults of a node", "Fault", "std-adapter/src/events.rs"),
    ("Faults of seals", "SealFault", "proto/src/seal.rs"),
    ("Faults of the cluster", "Report", "core/src/status.rs"),
];

/// Prints the tables, or puts them into the page.
///
/// # Errors
///
/// The code has another form, or the page can't be written.
pub(crate) fn names(write: bool) -> Result<()> {
    let tables = tables()?;
    if !write {
        print!("{tables}");
        return Ok(());
    }
    let page = page()?;
    let (before, after) = around(&page)?;
    fs::write(path()?, format!("{before}{BEGIN}{tables}{END}{after}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn path() -> Result<PathBuf> {
    Ok(root()?.join(PAGE))
}

fn page() -> Result<String> {
    fs::read_to_string(path()?).with_context(|| format!("can't read {PAGE}"))
}

/// What is in the page before and after the tables.
fn around(page: &str) -> Result<(&str, &str)> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the tables")?;
    let (_, after) = rest.split_once(END).context("the page has no end of the tables")?;
    Ok((before, after))
}

/// A table for each type.
fn tables() -> Result<String> {
    let mut text = String::new();
    for (title, of, file) in TYPES {
        text += &format!("\n### {title}\n\n| name | `{of}::` | meaning |\n|---|---|---|\n");
        for Row { name, variant, meaning } in rows(of, file)? {
            text += &format!("| `{name}` | `{variant}` | {meaning} |\n");
        }
    }
    Ok(text + "\n")
}

/// A variant with a name of its own.
#[derive(Debug)]
struct Row {
    name: String,
    variant: String,
    meaning: String,
}

/// The rows of a type; a variant that has the names of what it holds has none.
fn rows(of: &str, file: &str) -> Result<Vec<Row>> {
    let code = fs::read_to_string(root()?.join(file)).with_context(|| format!("no {file}"))?;
    let code = syn::parse_file(&code).with_context(|| format!("{file} can't be parsed"))?;
    let mut variants = Vec::new();
    let mut names = Vec::new();
    for item in code.items {
        match item {
            Item::Enum(ItemEnum { ident, variants: its, .. }) if ident == of => {
                variants.extend(its);
            }
            Item::Impl(implementation) => names.extend(named(of, implementation)),
            _ => {}
        }
    }
    ensure!(!names.is_empty(), "{of} in {file} has no names");
    let row = |(variant, name): (String, String)| {
        let found = variants.iter().find(|it| it.ident == variant);
        let found = found.with_context(|| format!("{of} has no {variant}"))?;
        Ok(Row { name, variant, meaning: meaning(found) })
    };
    names.into_iter().map(row).collect()
}

/// The variants and their names, as the type's method `name` has them.
fn named(of: &str, implementation: ItemImpl) -> Vec<(String, String)> {
    let is_it = matches!(&*implementation.self_ty, syn::Type::Path(it) if it.path.is_ident(of));
    let own = implementation.items.into_iter().filter(|_| is_it && implementation.trait_.is_none());
    let statements = own.flat_map(|item| match item {
        ImplItem::Fn(method) if method.sig.ident == "name" => method.block.stmts,
        _ => Vec::new(),
    });
    let arms = statements.flat_map(|statement| match statement {
        syn::Stmt::Expr(Expr::Match(it), _) => it.arms,
        _ => Vec::new(),
    });
    arms.filter_map(|arm| Some((variant_of(&arm.pat)?, text_of(&arm.body)?))).collect()
}

/// The variant that a pattern is for.
fn variant_of(pattern: &Pat) -> Option<String> {
    let path = match pattern {
        Pat::Path(it) => &it.path,
        Pat::Struct(it) => &it.path,
        Pat::TupleStruct(it) => &it.path,
        _ => return None,
    };
    Some(path.segments.last()?.ident.to_string())
}

fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(it) => match &it.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// The first sentence of its documentation, without links.
fn meaning(variant: &Variant) -> String {
    let lines: Vec<String> = variant.attrs.iter().filter_map(documentation).collect();
    let text = lines.join(" ");
    let text = text.split("  ").next().unwrap_or_default().trim();
    let sentence = match text.split_once(". ") {
        Some((first, _)) => first,
        None => text.trim_end_matches('.'),
    };
    without_links(sentence)
}

fn documentation(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(it) if it.path.is_ident("doc") => {
            text_of(&it.value).map(|line| line.trim().to_owned())
        }
        _ => None,
    }
}

/// What a reader sees of `` [`text`](target) ``.
fn without_links(text: &str) -> String {
    let mut seen = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").unwrap_or((link, ""));
        let after = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
        seen += &format!("{before}`{name}`");
        rest = after;
    }
    seen + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_are_current() {
        let page = page().unwrap();
        let (before, after) = around(&page).unwrap();
        let current = format!("{before}{BEGIN}{}{END}{after}", tables().unwrap());
        assert!(page == current, "run `cargo xtask names --write`");
    }

    #[test]
    fn names_are_snake_case_and_unlike() {
        // What may be the reason of one line is named by one of these.
        let reasons = ["Reason", "Refusal", "Fault", "Report"];
        for of in [&["EventKind"][..], &["State"], &reasons[..2], &reasons[2..]] {
            let mut seen = BTreeSet::new();
            for (_, name, file) in TYPES.into_iter().filter(|(_, it, _)| of.contains(it)) {
                for row in rows(name, file).unwrap() {
                    let is_snake = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                    assert!(row.name.bytes().all(is_snake), "{row:?}");
                    assert!(!row.meaning.is_empty(), "{row:?}");
                    assert!(seen.insert(row.name.clone()), "{row:?} is there twice");
                }
            }
        }
    }

    #[test]
    fn links_are_seen_as_their_text() {
        assert_eq!(
            without_links("after [`A::B`](c::D) and [`E`], or F"),
            "after `A::B` and `E`, or F"
        );
    }
}
