//! What a file says, which is TOML with the options' names as keys.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{CONFIG, Setting, Value, is_setting, kind};
use crate::text_file;

/// All that it says.
pub(super) fn settings<'a>(run: &'a Command, path: &Path) -> Result<Vec<Setting<'a>>> {
    let name = path.display();
    let text = text_file::read(path).with_context(|| format!("could not read {name}"))?;
    let place = |at: usize| {
        let before = text.get(..at).unwrap_or(&text);
        format!("{name}:{}", before.matches('\n').count() + 1)
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        anyhow!("{}: {}", place(at), error.message())
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let place = place(key.span().start);
        let Some(arg) = run.get_arguments().find(|arg| is_named(arg, key.get_ref())) else {
            bail!("{place}: there is no setting {:?}", key.get_ref());
        };
        let Some(value) = read(value) else {
            bail!("{place}: {} must be {}", key.get_ref(), kind(arg));
        };
        settings.push(Setting { arg, value, place: format!("{place}: {}", key.get_ref()) });
    }
    Ok(settings)
}

/// COMMAND has no option, but a name.
fn is_named(arg: &Arg, key: &str) -> bool {
    let name = if arg.is_last_set() { Some(arg.get_id().as_str()) } else { arg.get_long() };
    name == Some(key) && key != CONFIG && is_setting(arg)
}

fn read(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    Some(match value.get_ref() {
        DeValue::String(text) => Value::Text(text.as_ref().into()),
        DeValue::Integer(number) => Value::Text(number.to_string().into()),
        DeValue::Float(number) => Value::Text(number.to_string().into()),
        DeValue::Boolean(is_on) => Value::Switch(*is_on),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| value.get_ref().as_str().map(str::to_owned));
            Value::List(texts.collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}
