//! What several places say about NATS, put together: the servers, one login, and TLS.

use std::env::{self, VarError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use graft_election::async_nats::ConnectOptions;
use graft_election::{NatsConnectError, NatsServers};

use super::tls_files;
use crate::text_file;

const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// What one place says.
#[derive(Default)]
pub(super) struct Place {
    /// Where this is, for messages: `from …`.
    pub(super) from: String,
    /// Whether several ways to log in are not an error: contexts are filled in by the `nats`
    /// program, which sets some fields twice, and has an order for them.
    pub(super) is_lenient: bool,
    pub(super) servers: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) creds: Option<PathBuf>,
    pub(super) nkey: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) tls_first: bool,
}

/// Where to connect to, and how to log in.
pub(crate) struct Settings {
    pub(crate) servers: NatsServers,
    login: Login,
    /// Which login that is, and where it comes from.
    login_name: String,
    ca: Option<PathBuf>,
    cert_and_key: Option<(PathBuf, PathBuf)>,
    tls_first: bool,
}

enum Login {
    /// The servers' URLs have it, or there is none.
    OfServers,
    User {
        name: String,
        password: String,
    },
    Token(String),
    /// The contents of a credentials file.
    Credentials(String),
    /// The seed of an nkey.
    Nkey(String),
}

impl Place {
    /// What the environment says, under the names that the `nats` program uses.
    pub(super) fn environment() -> Result<Self> {
        let path = |name| Ok::<_, Error>(variable(name)?.map(PathBuf::from));
        Ok(Self {
            from: "from the environment".to_owned(),
            is_lenient: false,
            servers: variable("NATS_URL")?,
            user: variable("NATS_USER")?,
            password: variable("NATS_PASSWORD")?,
            token: variable("NATS_TOKEN")?,
            creds: path("NATS_CREDS")?,
            nkey: path("NATS_NKEY")?,
            ca: path("NATS_CA")?,
            cert: path("NATS_CERT")?,
            key: path("NATS_KEY")?,
            tls_first: false,
        })
    }

    pub(super) fn names_server(&self) -> bool {
        self.servers.is_some()
    }

    /// The one login of this place, if it has one, and its name; `password` is the user's.
    fn login(
        &self,
        servers: Option<&NatsServers>,
        password: Option<&str>,
    ) -> Result<Option<(Login, &'static str)>> {
        let url = servers.filter(|servers| servers.have_login());
        // In the order in which the `nats` program takes them.
        let ways = [
            (self.user.is_some(), "a user"),
            (self.creds.is_some(), "a credentials file"),
            (self.nkey.is_some(), "an nkey"),
            (self.token.is_some(), "a token"),
            (url.is_some(), "a login in the URL"),
        ];
        let named: Vec<_> = ways.iter().filter(|(is_named, _)| *is_named).collect();
        if let ([(_, first), (_, second), ..], false) = (&named[..], self.is_lenient) {
            bail!("{first} and {second} {}: only one can log in to NATS", self.from);
        }
        let login = match (&self.user, &self.creds, &self.nkey, &self.token) {
            (Some(name), ..) => match (password, &self.token) {
                (Some(password), _) => {
                    let (name, password) = (name.clone(), password.to_owned());
                    (Login::User { name, password }, "the user and password")
                }
                (None, Some(token)) => (Login::Token(token.clone()), "the token"),
                (None, None) => (Login::Token(name.clone()), "the user, as a token,"),
            },
            (None, Some(file), ..) => (credentials(file)?, "the credentials file"),
            (None, None, Some(file), _) => (nkey(file)?, "the nkey"),
            (None, None, None, Some(token)) => (Login::Token(token.clone()), "the token"),
            (None, None, None, None) if url.is_some() => (Login::OfServers, "the login in the URL"),
            (None, None, None, None) => return Ok(None),
        };
        Ok(Some(login))
    }
}

impl Settings {
    /// What `places` say: of each thing, what the first of them says that says anything about it.
    pub(super) fn of(places: &[Place]) -> Result<Self> {
        let first = |get: fn(&Place) -> Option<&PathBuf>| places.iter().find_map(get).cloned();
        let password = places.iter().find_map(|place| place.password.as_deref());
        let mut named = None;
        let mut found = None;
        for place in places {
            let servers = place.servers.as_deref().map(|text| parse_servers(text, &place.from));
            let servers = servers.transpose()?;
            if found.is_none()
                && let Some((login, way)) = place.login(servers.as_ref(), password)?
            {
                found = Some((login, format!("{way} {}", place.from)));
            }
            // A login that comes before this URL's, or from elsewhere, takes its place.
            let is_login_elsewhere = !matches!(found, None | Some((Login::OfServers, _)));
            let servers = servers.map(|servers| match is_login_elsewhere {
                true => servers.without_login(),
                false => servers,
            });
            named = named.or(servers);
        }
        let servers = match named {
            Some(servers) => servers,
            None => parse_servers(DEFAULT_SERVER, "by default")?,
        };
        let (login, login_name) = match found {
            Some((login, name)) => (login, format!("logged in with {name}")),
            None => (Login::OfServers, "no login was given".to_owned()),
        };
        let ca = first(|place| place.ca.as_ref());
        let cert = first(|place| place.cert.as_ref());
        let cert_and_key = match (cert, first(|place| place.key.as_ref())) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => bail!("a TLS certificate was given without its private key"),
            (None, Some(_)) => bail!("a private key for TLS was given without its certificate"),
        };
        let tls_first = places.iter().any(|place| place.tls_first);
        let settings = Self { servers, login, login_name, ca, cert_and_key, tls_first };
        if let Some(ca) = &settings.ca {
            tls_files::check_authorities(ca)?;
        }
        if let Some((cert, key)) = &settings.cert_and_key {
            tls_files::check_certificate(cert, key)?;
        }
        Ok(settings)
    }

    /// Adds all this to the `options` of a connection.
    pub(crate) fn configure(&self, options: ConnectOptions) -> io::Result<ConnectOptions> {
        let options = match &self.login {
            Login::OfServers => options,
            Login::User { name, password } => {
                options.user_and_password(name.clone(), password.clone())
            }
            Login::Token(token) => options.token(token.clone()),
            Login::Credentials(credentials) => options.credentials(credentials)?,
            Login::Nkey(seed) => options.nkey(seed.clone()),
        };
        // As in the clients of NATS in other languages: who says whom to trust wants TLS.
        let options = match self.ca.is_some() || self.cert_and_key.is_some() || self.tls_first {
            true => options.require_tls(true),
            false => options,
        };
        let options = match &self.ca {
            Some(ca) => options.add_root_certificates(ca.clone()),
            None => options,
        };
        let options = match &self.cert_and_key {
            Some((cert, key)) => options.add_client_certificate(cert.clone(), key.clone()),
            None => options,
        };
        Ok(if self.tls_first { options.tls_first() } else { options })
    }

    /// Adds to an error of connecting which login was tried.
    pub(crate) fn explain(&self, error: NatsConnectError) -> Error {
        match error {
            NatsConnectError::Refused { is_login_refused: true, .. } => {
                anyhow!("{error} ({})", self.login_name)
            }
            error => error.into(),
        }
    }
}

/// A variable of the environment; an empty one is not set.
pub(crate) fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        // It may be a secret.
        Err(VarError::NotUnicode(_)) => bail!("{name} in the environment is not UTF-8"),
    }
}

fn parse_servers(text: &str, from: &str) -> Result<NatsServers> {
    text.parse().with_context(|| format!("the NATS server {from} can't be used"))
}

fn credentials(path: &Path) -> Result<Login> {
    let text = text_file::read(path)
        .with_context(|| format!("could not read the NATS credentials in {}", path.display()))?;
    // The error has nothing that the file's name doesn't say better.
    if ConnectOptions::with_credentials(&text).is_err() {
        bail!("{} is not a credentials file with a JWT and an nkey", path.display());
    }
    Ok(Login::Credentials(text))
}

fn nkey(path: &Path) -> Result<Login> {
    let text = text_file::read(path)
        .with_context(|| format!("could not read the nkey in {}", path.display()))?;
    // A user's seed begins so. There may be lines of decoration around it.
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    match seed.filter(|seed| nkeys::KeyPair::from_seed(seed).is_ok()) {
        Some(seed) => Ok(Login::Nkey(seed.to_owned())),
        None => bail!("{} does not hold the seed of a user's nkey", path.display()),
    }
}
