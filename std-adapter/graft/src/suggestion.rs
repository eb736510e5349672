//! What the parser suggests in place of a word that it doesn't know: names that the help shows.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error};

/// Puts the names that are shown in place of those that are hidden, which are there for users of
/// other programs.
pub(crate) fn show_names(mut error: Error, program: &Command) -> Error {
    if let Some(ContextValue::String(name)) = error.get(ContextKind::SuggestedArg)
        && let Some(shown) = shown_option(name, program)
    {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(shown));
    }
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let find = |name: &String| program.find_subcommand(name).map(Command::get_name);
        let mut names: Vec<_> = names.iter().filter_map(find).map(str::to_owned).collect();
        names.dedup();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
    error
}

/// An alias means the same in all subcommands.
fn shown_option(name: &str, program: &Command) -> Option<String> {
    let alias = name.strip_prefix("--")?;
    let mut options = program.get_subcommands().flat_map(Command::get_arguments);
    let option = options
        .find(|option| option.get_aliases().is_some_and(|hidden| hidden.contains(&alias)))?;
    Some(format!("--{}", option.get_long()?))
}
