//! The contexts of the `nats` program: files in its configuration directory, each with a server and
//! a login, of which one may be selected.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::settings::Place;
use crate::text_file;

/// What a context's file says. The `nats` program writes an empty text for what is not set.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    ca: String,
    cert: String,
    key: String,
    tls_first: bool,
    nsc: String,
    user_jwt: String,
    socks_proxy: String,
}

/// The context of this name, or in the file at this path, which ends in `.json`.
pub(super) fn named(name: &str) -> Result<Place> {
    let file = Path::new(name);
    if file.extension().is_some_and(|extension| extension == "json") && file.is_file() {
        return read(name, file);
    }
    if name.is_empty() || name.contains("..") || name.contains('/') {
        bail!("{name:?} is not the name of a NATS context");
    }
    let path = directory()?.join("context").join(format!("{name}.json"));
    read(name, &path)
}

/// The context that is selected, if there is one.
pub(super) fn selected() -> Result<Option<Place>> {
    // Without a home there are no contexts, which is no reason not to start.
    let Ok(directory) = directory() else { return Ok(None) };
    let path = directory.join("context.txt");
    match text_file::read(&path) {
        Ok(name) if name.trim().is_empty() => Ok(None),
        Ok(name) => named(name.trim()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

fn read(name: &str, path: &Path) -> Result<Place> {
    let context = || format!("could not read the NATS context {name} in {}", path.display());
    let text = text_file::read(path).with_context(context)?;
    // The error would repeat a value that has the wrong type.
    let Some(file) = parse(&text) else {
        bail!("the NATS context {name} in {} is not valid JSON of a context", path.display());
    };
    for (is_set, key) in [
        (!file.nsc.is_empty(), "nsc"),
        (!file.user_jwt.is_empty(), "user_jwt"),
        (!file.socks_proxy.is_empty(), "socks_proxy"),
    ] {
        if is_set {
            bail!("the NATS context {name} sets {key}, which this program does not support");
        }
    }
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let file_at = |path: String| text(path).map(in_home);
    Ok(Place {
        from: format!("from the NATS context {name}"),
        is_lenient: true,
        servers: text(file.url),
        user: text(file.user),
        password: text(file.password),
        token: text(file.token),
        creds: file_at(file.creds),
        nkey: file_at(file.nkey),
        ca: file_at(file.ca),
        cert: file_at(file.cert),
        key: file_at(file.key),
        tls_first: file.tls_first,
    })
}

/// A context is an object, and a `null` in it is something that is not set, as the `nats` program
/// reads it.
fn parse(text: &str) -> Option<File> {
    let mut object: Map<String, Value> = serde_json::from_str(text).ok()?;
    object.retain(|_, value| !value.is_null());
    File::deserialize(Value::Object(object)).ok()
}

/// The `nats` program's configuration directory.
fn directory() -> Result<PathBuf> {
    let configuration = match env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => env::home_dir().context("there is no home directory")?.join(".config"),
    };
    Ok(configuration.join("nats"))
}

/// A path in which `~` stands for the home directory.
fn in_home(path: String) -> PathBuf {
    match (path.strip_prefix("~/"), env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}
