//! Where the NATS servers are, and how to log in to them. The command line says so, or the
//! environment, a file of settings, or a context of the `nats` program; what comes first in that
//! order counts.

mod context;
mod settings;
mod tls_files;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use self::settings::Place;
pub(crate) use self::settings::{Settings, variable};

/// A secret needn't be on the command line, where `ps` shows it: each of these can be in the
/// environment, under the name that the `nats` program gives it, or in one of its contexts.
#[derive(Clone, Args)]
#[command(next_help_heading = NatsArgs::HEADING)]
pub(crate) struct NatsArgs {
    /// The NATS server, or several separated by commas: nats://HOST:PORT, or tls://HOST:PORT for
    /// TLS and nothing else. USER:PASSWORD@ or TOKEN@ before HOST is a login. By default the server
    /// of the context, or else nats://127.0.0.1:4222. [env: NATS_URL]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    nats: Option<String>,
    /// The context of the nats program with the server and the login. By default the one that is
    /// selected there, if no server is named otherwise. [env: NATS_CONTEXT]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Log in as this user; without a password it is a token. [env: NATS_USER]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The user's password. [env: NATS_PASSWORD]
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Log in with a token. [env: NATS_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Log in with the JWT and the key in a credentials file. [env: NATS_CREDS]
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Log in with the nkey whose seed is in a file. [env: NATS_NKEY]
    #[arg(long, value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// Trust the servers whose certificates these authorities have signed, instead of those that
    /// the system trusts. Speaks TLS and nothing else. [env: NATS_CA]
    #[arg(long, alias = "tlsca", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to the server. Speaks TLS and nothing else. [env: NATS_CERT]
    #[arg(long, alias = "tlscert", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key. [env: NATS_KEY]
    #[arg(long, alias = "tlskey", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Begin with TLS, before the server has said anything: for servers that are set up so.
    #[arg(long, alias = "tlsfirst")]
    tls_first: bool,
    /// What a file of settings says, which comes after the environment.
    #[arg(skip)]
    in_file: Option<(PathBuf, Box<NatsArgs>)>,
    /// Put together once: files with a login may be pipes.
    #[arg(skip)]
    settings: OnceLock<Arc<Settings>>,
}

impl NatsArgs {
    /// Over these options in the help.
    pub(crate) const HEADING: &str = "NATS";

    /// Adds what the file at `path` says.
    pub(crate) fn add_file(&mut self, path: PathBuf, in_file: NatsArgs) {
        self.in_file = Some((path, Box::new(in_file)));
    }

    /// What these arguments, the environment and a context come to. Nothing is connected yet.
    pub(crate) fn settings(&self) -> Result<Arc<Settings>> {
        if let Some(settings) = self.settings.get() {
            return Ok(Arc::clone(settings));
        }
        let settings = Arc::new(self.clone().put_together()?);
        Ok(Arc::clone(self.settings.get_or_init(|| settings)))
    }

    fn put_together(mut self) -> Result<Settings> {
        let in_file = self.in_file.take();
        let mut context = self.context.clone().or(variable("NATS_CONTEXT")?);
        let mut places = vec![self.place("from the command line"), Place::environment()?];
        if let Some((path, in_file)) = in_file {
            context = context.or_else(|| in_file.context.clone());
            places.push(in_file.place(&format!("from {}", path.display())));
        }
        let context = match context {
            Some(name) => Some(context::named(&name)?),
            None if places.iter().any(Place::names_server) => None,
            None => context::selected()?,
        };
        places.extend(context);
        Settings::of(&places)
    }

    fn place(self, from: &str) -> Place {
        Place {
            from: from.to_owned(),
            is_lenient: false,
            servers: self.nats,
            user: self.user,
            password: self.password,
            token: self.token,
            creds: self.creds,
            nkey: self.nkey,
            ca: self.tls_ca,
            cert: self.tls_cert,
            key: self.tls_key,
            tls_first: self.tls_first,
        }
    }
}

impl std::fmt::Debug for NatsArgs {
    /// Without the secrets that may be in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsArgs").finish_non_exhaustive()
    }
}
