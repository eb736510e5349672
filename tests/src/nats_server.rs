//! A real nats-server, for one test alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A running nats-server on ports of its own; it ends with the value.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    port: u16,
    monitoring_port: u16,
    /// Where JetStream keeps its data, if the server has it.
    store: Option<TempDir>,
}

impl NatsServer {
    /// Starts a server and waits until it is ready.
    pub fn start() -> Self {
        Self::start_on(None, None, None)
    }

    /// Starts a server with JetStream, whose data goes with it.
    pub fn start_with_jetstream() -> Self {
        Self::start_on(None, None, Some(tempfile::tempdir().expect("a directory")))
    }

    /// Starts a server with the configuration file at `config`.
    pub fn start_with(config: &Path) -> Self {
        Self::start_on(None, Some(config), None)
    }

    /// Stops the server and waits until it is gone.
    pub fn stop(mut self) -> StoppedNatsServer {
        self.end();
        StoppedNatsServer { port: self.port, store: self.store.take() }
    }

    /// Has the server fall silent without closing its connections.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Has a server that was paused go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Has the server read its configuration file again.
    pub fn reload(&self) {
        self.signal("-HUP");
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// How many subscriptions the server holds for all clients.
    pub fn subscriptions(&self) -> u64 {
        self.monitor("/varz")["subscriptions"].as_u64().expect("a number of subscriptions")
    }

    /// How many clients are connected.
    pub fn connections(&self) -> u64 {
        self.monitor("/varz")["connections"].as_u64().expect("a number of connections")
    }

    fn start_on(port: Option<u16>, config: Option<&Path>, store: Option<TempDir>) -> Self {
        let port = port.map_or("-1".to_owned(), |port| port.to_string());
        let mut process = Command::new(program())
            .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", "-1"])
            .args(config.iter().flat_map(|config| [Path::new("--config"), config]))
            .args(store.iter().flat_map(|store| {
                [Path::new("--jetstream"), Path::new("--store_dir"), store.path()]
            }))
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server starts");
        let log = process.stderr.take().expect("a pipe");
        let mut lines = BufReader::new(log).lines();
        let (mut port, mut monitoring_port) = (None, None);
        for line in lines.by_ref() {
            let line = line.expect("a line of nats-server's log");
            if line.contains("Listening for client connections on") {
                port = Some(port_at_the_end_of(&line));
            } else if line.contains("Starting http monitor on") {
                monitoring_port = Some(port_at_the_end_of(&line));
            } else if line.contains("Server is ready") {
                break;
            }
        }
        // A full pipe would hold the server up.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            port: port.expect("nats-server names its port"),
            monitoring_port: monitoring_port.expect("nats-server names its monitoring port"),
            store,
        }
    }

    fn monitor(&self, path: &str) -> Value {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.monitoring_port)).expect("the monitor answers");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("the monitor hears");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the monitor answers with text");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        serde_json::from_str(body).expect("the monitor answers with JSON")
    }

    fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &process]).status().expect("kill starts");
        assert!(status.success(), "kill says {status}");
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that has been stopped and can come back where it was.
#[derive(Debug)]
pub struct StoppedNatsServer {
    port: u16,
    store: Option<TempDir>,
}

impl StoppedNatsServer {
    /// Starts it again on the same port, with the data that it had.
    pub fn restart(self) -> NatsServer {
        NatsServer::start_on(Some(self.port), None, self.store)
    }

    /// Starts it again with the configuration file at `config`.
    pub fn restart_with(self, config: &Path) -> NatsServer {
        NatsServer::start_on(Some(self.port), Some(config), self.store)
    }
}

fn port_at_the_end_of(line: &str) -> u16 {
    let (_, port) = line.rsplit_once(':').expect("an address and a port");
    port.trim().parse().expect("a port")
}

/// The server that `cargo xtask test` installs, unless the environment or the path names another.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NATS_SERVER") {
        return program.into();
    }
    let installed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nats/bin/nats-server");
    if installed.exists() {
        return installed;
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|directory| directory.join("nats-server"))
            .find(|program| program.exists())
    });
    on_path.expect("nats-server is missing: `cargo xtask test` installs it")
}
