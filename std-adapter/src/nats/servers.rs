//! The servers to connect to, and the login that each server's URL names: it is taken out of the
//! URL at once, so that nothing that prints a server can print a secret.

use std::fmt;
use std::future::ready;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::connection::State;
use async_nats::{
    Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, ReconnectToServer, Server,
    ServerAddr, ToServerAddrs,
};
use percent_encoding::percent_decode_str;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::error_chain::ErrorChain;

/// The NATS servers that one or several URLs name, separated by commas where they are one text.
///
/// A URL is `nats://HOST:PORT`, or `tls://HOST:PORT` for a server that must be spoken to over TLS.
/// It may name a login: `nats://USER:PASSWORD@HOST` or `nats://TOKEN@HOST`, in which what is
/// special in a URL is percent-encoded. Logins are never printed.
///
/// ```
/// use graft_election::NatsServers;
///
/// let servers: NatsServers = "nats://me:s3cr%40t@one:4222, tls://two".parse()?;
/// assert!(servers.have_login());
/// assert_eq!(servers.to_string(), "nats://one:4222,tls://two");
/// # Ok::<(), graft_election::NatsServersError>(())
/// ```
#[derive(Clone)]
pub struct NatsServers {
    servers: Vec<Target>,
}

/// A server, and how to log in to it.
#[derive(Clone)]
struct Target {
    /// Without a login.
    addr: ServerAddr,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    User { name: String, password: String },
    Token(String),
}

impl NatsServers {
    /// The servers at `addrs`.
    ///
    /// # Errors
    ///
    /// [`NatsServersError`] if there is none, or an address is not that of a server that can be
    /// used.
    pub fn new(addrs: impl ToServerAddrs) -> Result<Self, NatsServersError> {
        let addrs = addrs.to_server_addrs().map_err(|_| NatsServersError::Invalid)?;
        Self::from_targets(addrs.map(Target::new))
    }

    fn from_targets(
        targets: impl Iterator<Item = Result<Target, NatsServersError>>,
    ) -> Result<Self, NatsServersError> {
        let servers: Vec<_> = targets.collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(NatsServersError::Empty) } else { Ok(Self { servers }) }
    }

    /// Whether the URL of any server names a login.
    pub fn have_login(&self) -> bool {
        self.servers.iter().any(|server| server.login.is_some())
    }

    /// The same servers without their logins.
    pub fn without_login(mut self) -> Self {
        for server in &mut self.servers {
            server.login = None;
        }
        self
    }

    /// Adds to the `options` how to log in, and whether to insist on TLS: one `tls` server is
    /// enough, since the others may have been learnt from it.
    pub(super) fn configure(&self, options: ConnectOptions) -> ConnectOptions {
        let options = match self.common_login() {
            Some(Some(Login::User { name, password })) => {
                options.user_and_password(name.clone(), password.clone())
            }
            Some(Some(Login::Token(token))) => options.token(token.clone()),
            Some(None) | None => options,
        };
        if self.servers.iter().any(|server| server.addr.tls_required()) {
            options.require_tls(true)
        } else {
            options
        }
    }

    /// The login for all servers, if it is the same.
    fn common_login(&self) -> Option<Option<&Login>> {
        let (first, others) = self.servers.split_first()?;
        let is_common = others.iter().all(|other| other.login == first.login);
        is_common.then_some(first.login.as_ref())
    }

    fn addrs(&self) -> Vec<ServerAddr> {
        self.servers.iter().map(|server| server.addr.clone()).collect()
    }
}

impl FromStr for NatsServers {
    type Err = NatsServersError;

    fn from_str(text: &str) -> Result<Self, NatsServersError> {
        let parse = |url: &str| {
            let url = url.trim();
            if let Some((scheme, _)) = url.split_once("://") {
                check_scheme(&scheme.to_ascii_lowercase())?;
            }
            let target = Target::new(url.parse().map_err(|_| NatsServersError::Invalid)?)?;
            Ok(if url.contains(":@") { target.with_empty_password() } else { target })
        };
        let urls: Vec<_> = text.split(',').collect();
        let of = urls.len();
        let at = |(index, url)| {
            parse(url).map_err(|error| match error {
                error if of == 1 => error,
                error => NatsServersError::At { number: index + 1, of, error: Box::new(error) },
            })
        };
        Self::from_targets(urls.into_iter().enumerate().map(at))
    }
}

impl ToServerAddrs for NatsServers {
    type Iter = std::vec::IntoIter<ServerAddr>;

    /// The servers without their logins.
    fn to_server_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.addrs().into_iter())
    }
}

impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", server.addr.as_url_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsServers({self})")
    }
}

impl Target {
    /// Takes the login out of `addr`. What a URL of a server does not have may be the rest of a
    /// password that is not percent-encoded.
    fn new(addr: ServerAddr) -> Result<Self, NatsServersError> {
        check_scheme(addr.scheme())?;
        let mut url = addr.into_inner();
        let is_plain =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !is_plain || url.host_str().is_none_or(str::is_empty) {
            return Err(NatsServersError::Invalid);
        }
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (token, None) => Some(Login::Token(decode(token)?)),
            (name, Some(password)) => {
                Some(Login::User { name: decode(name)?, password: decode(password)? })
            }
        };
        // These fail only for a URL without a host.
        let removed = url.set_username("").and_then(|()| url.set_password(None));
        let addr = removed.ok().and_then(|()| ServerAddr::from_url(url).ok());
        addr.map(|addr| Self { addr, login }).ok_or(NatsServersError::Invalid)
    }

    /// A parsed URL doesn't tell an empty password from none, which makes the user a token.
    fn with_empty_password(self) -> Self {
        match self.login {
            Some(Login::Token(name)) => {
                Self { login: Some(Login::User { name, password: String::new() }), ..self }
            }
            login => Self { login, ..self },
        }
    }
}

/// What has other characters than a scheme may be part of a secret.
fn check_scheme(scheme: &str) -> Result<(), NatsServersError> {
    match scheme {
        "nats" | "tls" => Ok(()),
        "" => Err(NatsServersError::Invalid),
        other if other.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            Err(NatsServersError::Scheme { scheme: other.to_owned() })
        }
        _ => Err(NatsServersError::Invalid),
    }
}

fn decode(text: &str) -> Result<String, NatsServersError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| NatsServersError::Invalid)?;
    Ok(decoded.into_owned())
}

/// Why servers can't be used. It never repeats the URL, which may have a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NatsServersError {
    /// There is no server.
    #[error("no NATS server is named")]
    Empty,
    /// This is not the URL of a NATS server.
    #[error(
        "the URL of a NATS server is nats://HOST:PORT or tls://HOST:PORT, with USER:PASSWORD@ or \
         TOKEN@ before HOST if need be; in these, a special character is percent-encoded, for \
         example , as %2C"
    )]
    Invalid,
    /// The URL has a scheme that is not spoken.
    #[error("{scheme}:// is not spoken: the URL of a NATS server begins with nats:// or tls://")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// One of several URLs is wrong.
    #[error("NATS server {number} of {of}: {error}")]
    At {
        /// Which one, counted from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// What is wrong with it.
        error: Box<NatsServersError>,
    },
}

/// Tries one server after the other, each with its own login, whatever the one before answered.
#[derive(Clone)]
pub(super) struct Rotation {
    state: Arc<Mutex<RotationState>>,
}

struct RotationState {
    /// The servers that were named, and those that a server has told of.
    targets: Vec<Target>,
    /// Whose turn it is.
    current: usize,
}

impl Rotation {
    /// Begins anywhere, so that the nodes of a cluster spread over the servers.
    pub(super) fn new(servers: &NatsServers) -> Self {
        let targets = servers.servers.clone();
        let random = SysRng.try_next_u32().unwrap_or_default();
        let current = usize::try_from(random).unwrap_or_default() % targets.len().max(1);
        Self { state: Arc::new(Mutex::new(RotationState { targets, current })) }
    }

    /// Options that have each attempt to connect go to the next server.
    pub(super) fn options(&self, servers: &NatsServers) -> ConnectOptions {
        let options = match servers.common_login() {
            Some(_) => ConnectOptions::new(),
            None => {
                let rotation = self.clone();
                ConnectOptions::with_auth_callback(move |_| ready(rotation.log_in()))
            }
        };
        let rotation = self.clone();
        options.reconnect_to_server_callback(move |pool, _| ready(rotation.next(&pool)))
    }

    /// The first connection, to the first server that takes it.
    pub(super) async fn connect(
        &self,
        servers: &NatsServers,
        options: &ConnectOptions,
    ) -> Result<(Client, bool), NatsConnectError> {
        let (mut refusals, mut is_login_refused) = (Vec::new(), false);
        for _ in &servers.servers {
            match async_nats::connect_with_options(servers.addrs(), options.clone()).await {
                Ok(client) => {
                    let is_connected = client.connection_state() == State::Connected;
                    return Ok((client, is_connected));
                }
                Err(error) => {
                    is_login_refused |= is_about_login(error.kind());
                    refusals.push(format!("{}: {}", self.current(), words_of(&error)));
                }
            }
        }
        Err(NatsConnectError::Refused { refusals, is_login_refused })
    }

    /// The server whose turn is next.
    fn next(&self, pool: &[Server]) -> Option<ReconnectToServer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let login = state.targets.get(state.current).and_then(|target| target.login.clone());
        for server in pool.iter().filter(|server| server.is_discovered) {
            if state.targets.iter().all(|target| target.addr != server.addr) {
                let (addr, login) = (server.addr.clone(), login.clone());
                state.targets.push(Target { addr, login });
            }
        }
        state.current = (state.current + 1) % state.targets.len().max(1);
        let target = state.targets.get(state.current)?;
        Some(ReconnectToServer { addr: target.addr.clone(), delay: None })
    }

    fn log_in(&self) -> Result<Auth, AuthError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let target = state.targets.get(state.current);
        let mut auth = Auth::new();
        match target.and_then(|target| target.login.clone()) {
            Some(Login::User { name, password }) => {
                (auth.username, auth.password) = (Some(name), Some(password));
            }
            Some(Login::Token(token)) => auth.token = Some(token),
            None => {}
        }
        Ok(auth)
    }

    fn current(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let target = state.targets.get(state.current);
        target.map(|target| target.addr.as_url_str().to_owned()).unwrap_or_default()
    }
}

/// What went wrong, said once: the client's errors repeat their causes.
fn words_of(error: &async_nats::ConnectError) -> String {
    use std::error::Error;
    match (error.kind(), error.source()) {
        (ConnectErrorKind::Authentication, _) => {
            "the key can't sign what the server sent".to_owned()
        }
        (ConnectErrorKind::TimedOut, _) => "the server does not answer".to_owned(),
        (_, Some(cause)) => {
            let words = ErrorChain(cause).to_string();
            match words.as_str() {
                "expected INFO, got nothing" => "the server says nothing, or only over TLS".into(),
                words if words.contains("corrupt message") => {
                    format!("the server does not speak TLS: {words}")
                }
                words => words.strip_prefix("nats: ").unwrap_or(words).to_owned(),
            }
        }
        (kind, None) => kind.to_string(),
    }
}

fn is_about_login(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication)
}

/// Why there is no connection to NATS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsConnectError {
    /// The servers can't be used.
    #[error(transparent)]
    Servers(#[from] NatsServersError),
    /// The options could not be made.
    #[error("the options for NATS can't be used")]
    Options(#[source] io::Error),
    /// No server took the connection.
    #[error("could not connect to {}", refusals.join("; "))]
    Refused {
        /// Each server that was tried, and why it was of no use.
        refusals: Vec<String>,
        /// Whether one of them refused the login, or asked for one.
        is_login_refused: bool,
    },
}
