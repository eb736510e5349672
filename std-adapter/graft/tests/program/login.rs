//! `graft run` and `graft bridge` log in to nats-servers that are set up for it, and never print a
//! secret.

mod authority;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::authority::{Authority, Certificates};
use crate::nats_server::NatsServer;
use crate::process::text;

/// What must never be printed: characters that a URL has to have encoded are among them.
const PASSWORD: &str = "s3cret:/p@ss,w%rd";
const PASSWORD_ENCODED: &str = "s3cret%3A%2Fp%40ss%2Cw%25rd";
const TOKEN: &str = "t0ken-of-this-test";

/// A server, and what a client of it needs.
struct Site {
    directory: TempDir,
    server: NatsServer,
}

/// What one run of the program is given.
#[derive(Default)]
struct Given<'g> {
    arguments: &'g [&'g str],
    environment: &'g [(&'g str, &'g str)],
}

/// What came of it.
struct Outcome {
    is_success: bool,
    /// Both of its outputs.
    printed: String,
}

impl Site {
    fn new(configuration: &str) -> Self {
        Self::with(|_| configuration.to_owned())
    }

    /// A server whose configuration needs files in the directory.
    fn with(configure: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.conf");
        fs::write(&file, configure(directory.path())).unwrap();
        let server = NatsServer::start_with(&file);
        Self { directory, server }
    }

    /// The server as `SCHEME://LOGIN@HOST:PORT`.
    fn url(&self, scheme: &str, login: &str) -> String {
        self.server.url().replace("nats://", &format!("{scheme}://{login}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn program(&self, arguments: &[&str], given: &Given<'_>) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graft"));
        program
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .envs(given.environment.iter().copied())
            .args(arguments)
            .args(given.arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        program
    }

    /// Runs a node that leads as soon as it can.
    #[track_caller]
    fn run(&self, given: &Given<'_>) -> Outcome {
        let node = ["run", "--cluster", "c", "--size", "1", "--vote-file", "vote"];
        let mut program = self.program(&node, given);
        let output = program.args(["--", "echo", "leads"]).output().unwrap();
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        for secret in [PASSWORD, PASSWORD_ENCODED, TOKEN, "s3cret", "SUA"] {
            assert!(!printed.contains(secret), "{secret} was printed: {printed}");
        }
        Outcome { is_success: output.status.success(), printed }
    }

    #[track_caller]
    fn leads(&self, given: &Given<'_>) {
        let Outcome { is_success, printed } = self.run(given);
        assert!(is_success && printed.contains("leads\n"), "{printed}");
    }

    /// The one line that says why the program can't run.
    #[track_caller]
    fn fails(&self, given: &Given<'_>) -> String {
        let Outcome { is_success, printed } = self.run(given);
        assert!(!is_success && printed.lines().count() == 1, "{printed}");
        let port = self.server.url().rsplit_once(':').unwrap().1.to_owned();
        printed.trim_end().replace(&port, "PORT")
    }

    /// Runs a bridge until it says between what it carries messages.
    #[track_caller]
    fn bridges(&self, given: &Given<'_>) -> String {
        let _line = UnixListener::bind(self.path("line")).unwrap();
        let bridge = ["bridge", "--cluster", "c", "--serial", "unix:line"];
        let mut program = self.program(&bridge, given);
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let (mut first, mut stdout) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        stdout.read_line(&mut first).unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        first
    }
}

fn arguments<'g>(arguments: &'g [&'g str]) -> Given<'g> {
    Given { arguments, ..Given::default() }
}

fn user_site() -> Site {
    Site::new(&format!(r#"authorization {{ user: "me", password: "{PASSWORD}" }}"#))
}

#[test]
fn a_user_and_password_log_in_from_wherever_they_come() {
    let site = user_site();
    let bare = site.server.url();
    let url = site.url("nats", &format!("me:{PASSWORD_ENCODED}@"));
    let without_scheme = url.trim_start_matches("nats://");
    site.leads(&arguments(&["--nats", &url]));
    site.leads(&arguments(&["--nats", without_scheme]));
    site.leads(&arguments(&["--nats", &site.url("NATS", &format!("me:{PASSWORD_ENCODED}@"))]));
    site.leads(&arguments(&["--nats", &bare, "--user", "me", "--password", PASSWORD]));
    let environment = [("NATS_URL", &*bare), ("NATS_USER", "me"), ("NATS_PASSWORD", PASSWORD)];
    site.leads(&Given { environment: &environment, ..Given::default() });
    // What the command line says counts, and the rest comes from the environment.
    site.leads(&Given {
        arguments: &["--user", "me"],
        environment: &[("NATS_URL", &site.url("nats", "you:wrong@")), ("NATS_PASSWORD", PASSWORD)],
    });
    site.leads(&Given { arguments: &["--nats", &url], environment: &[("NATS_TOKEN", "another")] });
}

/// It is another login than a token.
#[test]
fn a_user_may_have_an_empty_password() {
    let site = Site::new(r#"authorization { users: [{ user: "me", password: "" }] }"#);
    site.leads(&arguments(&["--nats", &site.url("nats", "me:@")]));
    site.leads(&arguments(&["--nats", &site.server.url(), "--user", "me", "--password", ""]));
    site.fails(&arguments(&["--nats", &site.url("nats", "me@")]));
}

#[test]
fn contexts_of_the_nats_program_log_in() {
    let site = user_site();
    let context = serde_json::json!({
        "description": "", "url": site.server.url(), "user": "me", "password": PASSWORD,
        "token": "", "creds": "", "nkey": "", "cert": "", "key": "", "ca": "", "nsc": "",
        "jetstream_domain": "", "inbox_prefix": "", "tls_first": false,
    });
    site.write("config/nats/context/mine.json", &context.to_string());
    site.leads(&arguments(&["--context", "mine"]));
    site.leads(&Given { environment: &[("NATS_CONTEXT", "mine")], ..Given::default() });
    let mut with_nulls = context.clone();
    with_nulls["creds"] = serde_json::Value::Null;
    site.write("config/nats/context/nulls.json", &with_nulls.to_string());
    site.leads(&arguments(&["--context", "nulls"]));
    site.write("config/nats/context/list.json", "[]");
    let list = site.fails(&arguments(&["--context", "list"]));
    assert!(list.ends_with("is not valid JSON of a context"), "{list}");

    site.write("config/nats/context.txt", "mine\n");
    site.leads(&Given::default());
    // A server that is named otherwise isn't sent the login of a context that nobody named.
    assert_eq!(
        site.fails(&arguments(&["--nats", &site.server.url()])),
        "graft: could not connect to nats://127.0.0.1:PORT: authorization violation (no \
         login was given)"
    );
    let gone = site.fails(&arguments(&["--context", "gone"]));
    assert!(gone.starts_with("graft: could not read the NATS context gone in "), "{gone}");
    assert!(gone.ends_with("gone.json: No such file or directory (os error 2)"), "{gone}");
    let wrong = format!(r#"{{ "url": "nats://h", "password": ["{PASSWORD}"] }}"#);
    site.write("config/nats/context/wrong.json", &wrong);
    let wrong = site.fails(&arguments(&["--context", "wrong"]));
    assert!(wrong.ends_with("is not valid JSON of a context"), "{wrong}");
    site.fails(&arguments(&["--context", "../mine"]));
}

#[test]
fn right_wrong_and_missing_logins_are_told_apart_once() {
    let site = user_site();
    for (login, told) in [
        ("", "no login was given"),
        ("me:wrong@", "logged in with the login in the URL from the command line"),
        (TOKEN, "logged in with the login in the URL from the command line"),
    ] {
        let login = if login == TOKEN { format!("{TOKEN}@") } else { login.to_owned() };
        assert_eq!(
            site.fails(&arguments(&["--nats", &site.url("nats", &login)])),
            format!(
                "graft: could not connect to nats://127.0.0.1:PORT: authorization violation \
                 ({told})"
            )
        );
    }
    let given = ["--nats", &site.server.url(), "--user", "me", "--token", TOKEN];
    assert_eq!(
        site.fails(&arguments(&given)),
        "graft: a user and a token from the command line: only one can log in to NATS"
    );
}

#[test]
fn each_server_is_sent_the_login_that_its_own_url_names() {
    let (one, other) = (user_site(), Site::new(&format!("authorization {{ token: {TOKEN} }}")));
    let right = one.url("nats", &format!("me:{PASSWORD_ENCODED}@"));
    let also_right = other.url("nats", &format!("{TOKEN}@"));
    let refused = [one.url("nats", "me:wrong@"), other.server.url(), one.server.url()];
    for right in [right, also_right] {
        // Whichever is tried first.
        let servers = format!("{},{right}", refused.join(", "));
        one.leads(&arguments(&["--nats", &servers]));
    }
    let told = one.fails(&arguments(&["--nats", &refused.join(",")]));
    assert_eq!(told.matches("authorization violation").count(), 3, "{told}");
}

#[test]
fn a_token_logs_in_from_wherever_it_comes() {
    let site = Site::new(&format!("authorization {{ token: {TOKEN} }}"));
    let bare = site.server.url();
    site.leads(&arguments(&["--nats", &site.url("nats", &format!("{TOKEN}@"))]));
    site.leads(&arguments(&["--nats", &bare, "--token", TOKEN]));
    let environment = [("NATS_URL", &*bare), ("NATS_TOKEN", TOKEN)];
    site.leads(&Given { environment: &environment, ..Given::default() });
    let environment = [("NATS_URL", &*bare), ("NATS_USER", TOKEN)];
    site.leads(&Given { environment: &environment, ..Given::default() });
}

#[test]
fn an_nkey_logs_in() {
    let key = nkeys::KeyPair::new_user();
    let site = Site::new(&format!("authorization {{ users: [{{ nkey: {} }}] }}", key.public_key()));
    site.write("user.nk", &format!("-----BEGIN USER NKEY SEED-----\n{}\n", key.seed().unwrap()));
    site.write("other.nk", &nkeys::KeyPair::new_user().seed().unwrap());
    site.write("no.nk", "SUAnonsense");
    let url = site.server.url();
    site.leads(&arguments(&["--nats", &url, "--nkey", "user.nk"]));
    let environment = [("NATS_URL", &*url), ("NATS_NKEY", "user.nk")];
    site.leads(&Given { environment: &environment, ..Given::default() });
    let refused = site.fails(&arguments(&["--nats", &url, "--nkey", "other.nk"]));
    assert!(refused.ends_with("(logged in with the nkey from the command line)"), "{refused}");
    assert_eq!(
        site.fails(&arguments(&["--nats", &url, "--nkey", "no.nk"])),
        "graft: no.nk does not hold the seed of a user's nkey"
    );
    assert_eq!(
        site.fails(&arguments(&["--nats", &url, "--nkey", "gone.nk"])),
        "graft: could not read the nkey in gone.nk: No such file or directory (os error 2)"
    );
}

#[test]
fn a_credentials_file_logs_in() {
    let authority = Authority::new();
    let site = Site::new(&authority.server_configuration());
    site.write("user.creds", &authority.credentials());
    site.write("other.creds", &Authority::new().credentials());
    site.write("no.creds", "nothing");
    let url = site.server.url();
    site.leads(&arguments(&["--nats", &url, "--creds", "user.creds"]));
    let environment = [("NATS_URL", &*url), ("NATS_CREDS", "user.creds")];
    site.leads(&Given { environment: &environment, ..Given::default() });
    let context = serde_json::json!({ "url": url, "creds": site.path("user.creds") });
    site.write("config/nats/context/jwt.json", &context.to_string());
    site.leads(&arguments(&["--context", "jwt"]));
    let refused = site.fails(&arguments(&["--nats", &url, "--creds", "other.creds"]));
    let told =
        "authorization violation (logged in with the credentials file from the command line)";
    assert!(refused.ends_with(told), "{refused}");
    assert_eq!(
        site.fails(&arguments(&["--nats", &url, "--creds", "no.creds"])),
        "graft: no.creds is not a credentials file with a JWT and an nkey"
    );
}

#[test]
fn a_server_that_a_private_authority_has_signed_is_trusted_if_told_so() {
    let certificates = Certificates::new();
    let site = Site::with(|directory| certificates.server_configuration(directory, ""));
    let (nats, tls) = (site.server.url(), site.url("tls", ""));
    site.leads(&arguments(&["--nats", &tls, "--tls-ca", "ca.pem"]));
    site.leads(&arguments(&["--nats", &nats, "--tls-ca", "ca.pem"]));
    let environment = [("NATS_URL", &*nats), ("NATS_CA", "ca.pem")];
    site.leads(&Given { environment: &environment, ..Given::default() });
    // Nobody told it to trust this one, or that one.
    site.fails(&arguments(&["--nats", &tls]));
    certificates.write_another_authority(&site.path("other.pem"));
    let told = site.fails(&arguments(&["--nats", &tls, "--tls-ca", "other.pem"]));
    assert_eq!(told.matches("invalid peer certificate").count(), 1, "{told}");
    assert_eq!(
        site.fails(&arguments(&["--nats", &tls, "--tls-ca", "server.conf"])),
        "graft: server.conf has no certificate in PEM form"
    );
    site.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let told = site.fails(&arguments(&["--nats", &tls, "--tls-ca", "torn.pem"]));
    assert!(told.starts_with("graft: torn.pem has a certificate that can't be used: "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_certificate_of_the_client_logs_in() {
    let certificates = Certificates::new();
    let site = Site::with(|directory| {
        certificates.server_configuration(directory, "ca_file: ca.pem, verify: true")
    });
    let url = site.url("tls", "");
    let given =
        ["--nats", &url, "--tls-ca", "ca.pem", "--tls-cert", "me.pem", "--tls-key", "me.key"];
    site.leads(&arguments(&given));
    let environment = [("NATS_CA", "ca.pem"), ("NATS_CERT", "me.pem"), ("NATS_KEY", "me.key")];
    site.leads(&Given { arguments: &given[..2], environment: &environment });
    let context = serde_json::json!({ "url": url, "ca": site.path("ca.pem"),
        "cert": site.path("me.pem"), "key": site.path("me.key") });
    site.write("config/nats/context/tls.json", &context.to_string());
    site.leads(&arguments(&["--context", "tls"]));
    let told = site.fails(&arguments(&given[..4]));
    assert!(told.ends_with("CertificateRequired"), "{told}");
    assert_eq!(
        site.fails(&arguments(&given[..6])),
        "graft: a TLS certificate was given without its private key"
    );
    // A file that is damaged, or that belongs to another, is named.
    site.write("torn.key", "-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----\n");
    let damaged = site.fails(&arguments(&[&given[..6], &["--tls-key", "torn.key"]].concat()));
    assert!(damaged.starts_with("graft: torn.key is damaged: "), "{damaged}");
    let swapped = site.fails(&arguments(&[&given[..6], &["--tls-key", "server.key"]].concat()));
    let which = "graft: the certificate in me.pem and the key in server.key can't be used: ";
    assert!(swapped.starts_with(which), "{swapped}");
}

#[test]
fn a_server_that_begins_with_tls_is_served_if_told_so() {
    let certificates = Certificates::new();
    let first = "handshake_first: true";
    let site = Site::with(|directory| certificates.server_configuration(directory, first));
    let url = site.server.url();
    site.leads(&arguments(&["--nats", &url, "--tls-ca", "ca.pem", "--tls-first"]));
    let context = serde_json::json!({ "url": url, "ca": site.path("ca.pem"), "tls_first": true });
    site.write("config/nats/context/first.json", &context.to_string());
    site.leads(&arguments(&["--context", "first"]));
    let told = site.fails(&arguments(&["--nats", &url, "--tls-ca", "ca.pem"]));
    assert!(told.ends_with("the server says nothing, or only over TLS"), "{told}");
}

#[test]
fn what_is_to_be_tls_is_never_spoken_in_plain_text() {
    let site = user_site();
    let url = site.url("tls", &format!("me:{PASSWORD_ENCODED}@"));
    let told = site.fails(&arguments(&["--nats", &url]));
    assert!(told.contains("the server does not speak TLS"), "{told}");
    for scheme in ["ws", "wss", "http", "amqp"] {
        let url = site.url(scheme, &format!("me:{PASSWORD_ENCODED}@"));
        assert_eq!(
            site.fails(&arguments(&["--nats", &url])),
            format!(
                "graft: the NATS server from the command line can't be used: {scheme}:// is not \
                 spoken: the URL of a NATS server begins with nats:// or tls://"
            )
        );
    }
}

#[test]
fn a_url_that_can_not_be_read_is_not_repeated() {
    let site = user_site();
    for url in [
        "nats://me:s3cret,x@127.0.0.1:1",
        "nats://me:s3cret/x@127.0.0.1:1",
        "nats://me:1#s3cret@127.0.0.1:1",
        "nats://me:1?s3cret@127.0.0.1:1",
        "nats://s3cret/x@127.0.0.1:1",
        "nats://127.0.0.1:1?creds=s3cret",
        "me:s3cret://x@127.0.0.1:1",
        "nats://me:s3cret@:1",
        "nats://me:s3cret%ff@127.0.0.1:1",
    ] {
        let told = site.fails(&arguments(&["--nats", url]));
        assert!(told.contains("is percent-encoded"), "{url}: {told}");
    }
}

#[test]
fn a_bridge_logs_in_and_prints_no_login() {
    let site = user_site();
    let url = site.url("nats", &format!("me:{PASSWORD_ENCODED}@"));
    let first = site.bridges(&arguments(&["--nats", &url]));
    let told = format!("carries c between unix:line and {}\n", site.server.url());
    assert!(first.ends_with(&told), "{first}");

    let bridge = ["bridge", "--cluster", "c", "--serial", "unix:line"];
    let refused = site.program(&bridge, &arguments(&["--nats", &site.url("nats", "me:s3cret@")]));
    let refused = { refused }.output().unwrap();
    assert!(!refused.status.success());
    let told = text(&refused.stderr);
    assert!(told.starts_with("graft: could not start the bridge: could not connect to nats"));
    assert!(told.contains("authorization violation (logged in with"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}
