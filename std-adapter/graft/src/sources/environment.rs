//! What the environment says, under names that begin with `GRAFT_`.

use std::env;
use std::ffi::OsStr;

use anyhow::Result;
use clap::{Arg, Args, Command};

use super::{Setting, Value, is_nats, is_setting, is_switch, may_be_switch};
use crate::medium::KEY_VARIABLE;
use crate::run::RunArgs;

/// What a COMMAND and a script have in their environment: the term of their node.
const INSIDE: &str = "GRAFT_TERM";

/// What they have, too, and what would be settings elsewhere.
const OF_PARENT: [&str; 2] = ["GRAFT_ID", "GRAFT_CLUSTER"];

/// The names of all settings, and of the key. They are for this program, and not for COMMAND.
pub(crate) fn variables() -> Vec<String> {
    let run = RunArgs::augment_args(Command::new(super::TASK));
    let settings = run.get_arguments().filter_map(variable);
    settings.chain([KEY_VARIABLE.to_owned()]).collect()
}

/// All that are set. An empty one is not.
pub(super) fn settings(run: &Command) -> Result<Vec<Setting<'_>>> {
    let is_inside = env::var_os(INSIDE).is_some_and(|term| !term.is_empty());
    let named = run.get_arguments().filter_map(|arg| Some((arg, variable(arg)?)));
    let meant = named.filter(|(_, name)| !is_inside || !OF_PARENT.contains(&name.as_str()));
    let set = meant.filter_map(|(arg, name)| {
        let value = env::var_os(&name).filter(|value| !value.is_empty())?;
        let value = match as_switch(&value) {
            Some(is_on) if is_switch(arg) || may_be_switch(arg) => Value::Switch(is_on),
            _ => Value::Text(value),
        };
        Some(Setting { arg, value, place: format!("{name} in the environment") })
    });
    Ok(set.collect())
}

/// The variable with the setting, if there is one. Those of NATS have other names.
fn variable(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|_| is_setting(arg) && !is_nats(arg))?;
    Some(format!("GRAFT_{}", long.replace('-', "_").to_uppercase()))
}

fn as_switch(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
