//! Where the settings of `graft run` come from: the command line, the environment and a file. Of
//! each setting, the first of them counts that has it.
//!
//! What the environment and the file say is put before the words of the command line, as options.
//! So there is one description of the options, and each is read in one way.

mod environment;
mod file;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Id};

pub(crate) use self::environment::variables;
use crate::nats_args::NatsArgs;

/// The subcommand with such settings.
pub(crate) const TASK: &str = "run";

/// The option that names the file.
const CONFIG: &str = "config";

/// All words, and what the file says of NATS: that comes after what the environment does, which has
/// names of its own for it.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) words: Vec<OsString>,
    pub(crate) nats: Option<NatsArgs>,
}

/// What one place says about one option.
#[derive(Debug)]
struct Setting<'a> {
    arg: &'a Arg,
    value: Value,
    /// For messages.
    place: String,
}

/// How it says it.
#[derive(Debug)]
enum Value {
    Text(OsString),
    Switch(bool),
    List(Vec<String>),
}

/// Completes the words of the command line with what the environment and the file say.
///
/// # Errors
///
/// One of these says what can't be; the error says where. What is wrong with the command line
/// itself is for the parser to say.
pub(crate) fn complete(words: Vec<OsString>, program: &mut Command) -> Result<Complete> {
    program.build();
    let run = program.find_subcommand(TASK).filter(|_| words.get(1).is_some_and(|it| it == TASK));
    let given = run.and_then(|run| given(run, words.get(2..).unwrap_or_default()));
    let (Some(run), Some(given)) = (run, given) else { return Ok(Complete { words, nats: None }) };
    let mut taken: BTreeSet<&Id> = BTreeSet::new();
    taken.extend(run.get_arguments().map(Arg::get_id).filter(|id| is_given(&given, id)));
    let in_environment = admit(run, environment::settings(run)?, &mut taken)?;
    let path: Option<PathBuf> = match is_given(&given, &Id::from(CONFIG)) {
        true => given.get_one(CONFIG).cloned(),
        false => in_environment.iter().find_map(|setting| match &setting.value {
            Value::Text(path) if setting.arg.get_id() == CONFIG => Some(path.into()),
            _ => None,
        }),
    };
    let in_file = path.map_or(Ok(Vec::new()), |path| file::settings(run, &path))?;
    let in_file = admit(run, in_file, &mut taken)?;
    let (nats, in_file): (Vec<_>, Vec<_>) = in_file.into_iter().partition(|it| is_nats(it.arg));
    let [mut options, mut command] = [Vec::new(), Vec::new()];
    for setting in in_environment.iter().chain(&in_file) {
        let words = if setting.arg.is_last_set() { &mut command } else { &mut options };
        words.extend(setting.words()?);
    }
    let mut words = words;
    if words.last().is_some_and(|last| last == "--") {
        words.pop();
    }
    words.splice(2..2, options);
    words.extend(command);
    Ok(Complete { words, nats: parse_nats(&nats)? })
}

/// What the command line says, as far as it can be read; none if it asks for help.
fn given(run: &Command, words: &[OsString]) -> Option<ArgMatches> {
    let lenient = run.clone().no_binary_name(true).ignore_errors(true);
    lenient.try_get_matches_from(words).ok()
}

fn is_given(matches: &ArgMatches, id: &Id) -> bool {
    matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
}

/// Those settings of one place that a place before it leaves to it.
fn admit<'a>(
    run: &'a Command,
    settings: Vec<Setting<'a>>,
    taken: &mut BTreeSet<&'a Id>,
) -> Result<Vec<Setting<'a>>> {
    let rivals = |arg: &Arg| -> Vec<&Id> {
        let conflicts = |one: &Arg, other: &Arg| {
            run.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other.get_id())
        };
        let rivals = run.get_arguments().filter(|it| conflicts(arg, it) || conflicts(it, arg));
        rivals.map(Arg::get_id).collect()
    };
    let is_left = |setting: &Setting<'_>| {
        let (id, rivals) = (setting.arg.get_id(), rivals(setting.arg));
        !taken.contains(id) && !rivals.iter().any(|rival| taken.contains(rival))
    };
    let settings: Vec<_> = settings.into_iter().filter(is_left).collect();
    for (index, setting) in settings.iter().enumerate() {
        setting.check()?;
        let rivals = rivals(setting.arg);
        let said_too = |other: &&Setting<'_>| rivals.contains(&other.arg.get_id());
        if let Some(other) = settings[..index].iter().filter(|it| it.is_set()).find(said_too)
            && setting.is_set()
        {
            bail!("{} and {} can't both be set", other.place, setting.place);
        }
    }
    taken.extend(settings.iter().map(|setting| setting.arg.get_id()));
    Ok(settings)
}

impl Setting<'_> {
    /// Whether it says something else than that the option is not given.
    fn is_set(&self) -> bool {
        !matches!(self.value, Value::Switch(false))
    }

    /// Whether the option can have this value.
    fn check(&self) -> Result<()> {
        let words = self.words()?;
        // The others are not there, so it can't relate to them.
        let reset = || Resettable::<Id>::Reset;
        let alone = self.arg.clone().required(false).required_unless_present(reset());
        let alone = alone.conflicts_with(reset()).requires(reset());
        let parser = Command::new(TASK).no_binary_name(true).disable_help_flag(true).arg(alone);
        match parser.try_get_matches_from(words) {
            Ok(_) => Ok(()),
            Err(error) => Err(anyhow!("{}: {}", self.place, in_short(&error))),
        }
    }

    /// As it would be on the command line.
    fn words(&self) -> Result<Vec<OsString>> {
        let name = format!("--{}", self.arg.get_long().unwrap_or_default());
        let with_value = |value: &OsString| {
            let mut word = OsString::from(&name);
            word.push("=");
            word.push(value);
            word
        };
        let (is_switch, may_be_switch) = (is_switch(self.arg), may_be_switch(self.arg));
        Ok(match &self.value {
            Value::List(words) if self.arg.is_last_set() => {
                [&["--".to_owned()], &words[..]].concat().into_iter().map(OsString::from).collect()
            }
            Value::List(values) if self.arg.get_value_delimiter().is_some() => {
                vec![with_value(&values.join(",").into())]
            }
            Value::Switch(false) if is_switch || may_be_switch => Vec::new(),
            Value::Switch(true) if is_switch || may_be_switch => vec![name.into()],
            Value::Text(value) if !is_switch && !self.arg.is_last_set() => vec![with_value(value)],
            _ => bail!("{}: it must be {}", self.place, kind(self.arg)),
        })
    }
}

/// What the value of an option must be.
fn kind(arg: &Arg) -> &'static str {
    match (arg.is_last_set(), is_switch(arg)) {
        (true, _) => "a list of texts",
        (_, true) => "true or false",
        _ if arg.get_value_delimiter().is_some() => "a text or a list of texts",
        _ => "a text or a number",
    }
}

/// Whether the option has no value.
fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether the option may have a value, or none.
fn may_be_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0) && !arg.is_last_set()
}

fn is_nats(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(NatsArgs::HEADING)
}

/// Options that only this program's command line has.
fn is_setting(arg: &Arg) -> bool {
    !matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong)
}

fn parse_nats(settings: &[Setting<'_>]) -> Result<Option<NatsArgs>> {
    if settings.is_empty() {
        return Ok(None);
    }
    let words: Vec<_> = settings.iter().map(Setting::words).collect::<Result<_>>()?;
    let parser = <NatsArgs as clap::Args>::augment_args(Command::new(TASK).no_binary_name(true));
    let matches = parser.try_get_matches_from(words.concat())?;
    Ok(Some(NatsArgs::from_arg_matches(&matches)?))
}

/// The parser's message, without its advice about the command line.
fn in_short(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::ValueValidation
        && let Some(source) = std::error::Error::source(error)
    {
        return source.to_string();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}
