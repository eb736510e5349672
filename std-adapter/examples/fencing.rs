//! Fencing: the late write of a leader that was paused is refused, since its token is too low.
//!
//! ```sh
//! nats-server --jetstream &
//! cargo run --example fencing -- nats://127.0.0.1:4222
//! ```
//!
//! # Why a lease is not enough
//!
//! While a lease is valid, no other node has one. But checking the lease and writing are two steps,
//! and a process can be paused between any two instructions for any length of time: by the
//! scheduler, by a page that must come from disk, by a move of its virtual machine. A leader checks
//! its lease, finds it valid, and is paused; the lease ends, another node leads and writes; then
//! the first goes on, and writes. What it sent just before the pause may arrive just as late. No
//! check on the writer's side helps, however late it is made. Only the store can refuse.
//!
//! # What this does
//!
//! The store is one key of a NATS key-value bucket. Its value holds the payload together with the
//! token of the leadership in which it was written. The server has no notion of tokens, but it has
//! revisions: `update` writes only if the key is still at the revision that the writer names. A
//! revision alone is not a token, since anyone who reads the latest one may write. Together they
//! fence:
//!
//! * A new leader *claims* the key before it does anything else: it reads the entry, gives up if
//!   the token there is higher than its own, and otherwise writes its own token, on condition that
//!   the revision is still the one that it has read. If another write came in between, it reads
//!   again.
//! * From then on it writes on condition of the revision of its own last write, and never reads.
//!
//! So the token that was compared is the one that is replaced, and a claim outdates the revisions
//! that all earlier leaders know. They can learn the new one only by reading, and then they find
//! the higher token.
//!
//! # What that guarantees
//!
//! Once a leader has claimed the key, no write of an earlier leader takes effect, however late it
//! arrives. One that arrives before the claim does take effect, and the claim has seen it: nothing
//! is overwritten unread. This holds without any bound on pauses, delays or clocks, and even if two
//! nodes believe that they lead. It requires tokens that rise with each leadership (rule I5), hence
//! vote files that live as long as the bucket, and that every writer of the key follows both rules.
//!
//! Without the lease all this would be just as safe. The lease keeps two leaders from working
//! against each other and getting nothing done; the token keeps them from doing harm.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::{self, kv};
use graft_election::{
    ClusterInfo, ErrorChain, Leadership, MemoryVotes, NatsTransport, Node, NodeId,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const VOTERS: [&str; 3] = ["n1", "n2", "n3"];

/// The bucket that the example makes.
pub const BUCKET: &str = "fencing-example";

/// The one key in it.
pub const KEY: &str = "ledger";

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("fencing: give the URL of a NATS server with JetStream");
        return ExitCode::from(2);
    };
    match play(&url, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fencing: {}", ErrorChain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What is written: a payload, and in whose leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The fencing token.
    pub token: u64,
    /// What the leader wanted to store.
    pub payload: String,
}

/// A key that was claimed in one leadership, and can no longer be written in any earlier one.
struct Claim<'s> {
    store: &'s kv::Store,
    token: u64,
    /// The revision of this leader's own last write.
    revision: u64,
}

impl<'s> Claim<'s> {
    /// Claims the key; `None` if a later leader has claimed it.
    async fn make(store: &'s kv::Store, token: u64) -> Result<Option<Self>, Failure> {
        loop {
            let (found, revision) = read(store).await?;
            if found.token > token {
                return Ok(None);
            }
            let claimed = Value { token, ..found };
            if let Some(revision) = write_at(store, &claimed, revision).await? {
                return Ok(Some(Self { store, token, revision }));
            }
        }
    }

    /// Writes `payload`; false if it was refused, because a later leader has claimed the key.
    ///
    /// After an error it is unknown whether it was written. Claim the key again then.
    async fn write(&mut self, payload: String) -> Result<bool, Failure> {
        let value = Value { token: self.token, payload };
        let written = write_at(self.store, &value, self.revision).await?;
        self.revision = written.unwrap_or(self.revision);
        Ok(written.is_some())
    }
}

/// The key's value and revision. A key that was never written has revision 0.
async fn read(store: &kv::Store) -> Result<(Value, u64), Failure> {
    match store.entry(KEY).await? {
        Some(entry) => Ok((serde_json::from_slice(&entry.value)?, entry.revision)),
        None => Ok((Value::default(), 0)),
    }
}

/// Writes the key if it is still at `revision`, and returns its new revision; otherwise `None`.
async fn write_at(store: &kv::Store, value: &Value, revision: u64) -> Result<Option<u64>, Failure> {
    let bytes = serde_json::to_vec(value)?.into();
    match store.update(KEY, bytes, revision).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Has three nodes play the story on the server at `url`, and prints it to `output`.
///
/// # Errors
///
/// Whatever goes wrong, and if the late write was not refused.
pub fn play(url: &str, output: &mut impl Write) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = runtime.block_on(new_store(url))?;
    let (events, story) = channel();
    let (resume, paused) = channel();
    let the_pause = Mutex::new(Some(paused));
    let (end, ending) = watch::channel(());
    std::thread::scope(|threads| {
        for id in VOTERS {
            let node = NodeThread { id, events: events.clone(), the_pause: &the_pause };
            let ending = ending.clone();
            threads.spawn(move || node.run(url, ending));
        }
        drop(events);
        // Dropped at the end, whatever happens, so that no thread waits any longer.
        let (resume, _end) = (resume, end);

        let mut paused_token = None;
        for event in story {
            match event? {
                Event::Leads { id, token } => {
                    writeln!(
                        output,
                        "{id} leads, has claimed the key with token {token}, and writes"
                    )?;
                    if paused_token.is_some_and(|paused| paused < token) {
                        // The paused node may have gone on, and no longer listens.
                        let _ = resume.send(());
                    }
                }
                Event::Paused { id, token } => {
                    writeln!(output, "{id} finds its lease valid, and is paused before it writes")?;
                    paused_token = Some(token);
                }
                Event::WroteLate { id, token, got_through } => {
                    let outcome = if got_through { "GOT THROUGH" } else { "was refused" };
                    writeln!(output, "{id} goes on: its late write with token {token} {outcome}")?;
                    let (Value { token, payload }, _) = runtime.block_on(read(&store))?;
                    writeln!(output, "the store holds token {token}: {payload}")?;
                    return if got_through {
                        Err("the late write got through".into())
                    } else {
                        Ok(())
                    };
                }
            }
        }
        Err("all nodes have closed".into())
    })
}

/// What the nodes report.
enum Event {
    Leads { id: &'static str, token: u64 },
    Paused { id: &'static str, token: u64 },
    WroteLate { id: &'static str, token: u64, got_through: bool },
}

/// A thread that plays a process. The node does everything on it, so that nothing is done while it
/// is blocked, as in a process that is paused.
struct NodeThread<'t> {
    id: &'static str,
    events: Sender<Result<Event, Failure>>,
    /// The pause ends when something is received. The first node to lead takes it.
    the_pause: &'t Mutex<Option<Receiver<()>>>,
}

impl NodeThread<'_> {
    /// Runs a node until the other end of `ending` is dropped.
    fn run(&self, url: &str, mut ending: watch::Receiver<()>) {
        let live = async {
            let client = async_nats::connect(url).await?;
            let store = jetstream::new(client.clone()).get_key_value(BUCKET).await?;
            let voters = VOTERS.map(NodeId::new).into_iter().collect::<Result<Vec<_>, _>>()?;
            let node = Node::builder(ClusterInfo::new("fencing", VOTERS.len()))
                .id(NodeId::new(self.id)?)
                .voters(voters)
                // Its votes are forgotten with it, so each start is the first.
                .first_record()
                .start(NatsTransport::from_client(client), MemoryVotes::new())
                .await?;
            let led = tokio::select! {
                led = self.lead(&node, &store) => led,
                _ = ending.changed() => Ok(()),
            };
            node.close().await;
            led
        };
        let lived = runtime().and_then(|runtime| runtime.block_on(live));
        if let Err(failure) = lived {
            self.report(Err(failure));
        }
    }

    /// Acts whenever the node leads. `Node::run_while_leader` would drop this when the lease is
    /// about to end. But it can't while the process is paused, nor can it call back what has been
    /// sent.
    async fn lead(&self, node: &Node, store: &kv::Store) -> Result<(), Failure> {
        while let Some(leadership) = node.wait_for_leadership().await {
            let (id, token) = (self.id, leadership.token());
            if let Some(mut claim) = Claim::make(store, token).await?
                && claim.write(format!("written by {id}")).await?
            {
                self.report(Ok(Event::Leads { id, token }));
                if self.is_valid_until_paused(&leadership) {
                    let got_through = claim.write(format!("written LATE by {id}")).await?;
                    self.report(Ok(Event::WroteLate { id, token, got_through }));
                }
            }
            leadership.ended().await;
        }
        Ok(())
    }

    /// What a careful leader checks just before it writes. The first whose lease is valid is
    /// paused.
    fn is_valid_until_paused(&self, leadership: &Leadership) -> bool {
        if !leadership.is_valid() {
            return false;
        }
        let Some(pause) = self.the_pause.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return false;
        };
        self.report(Ok(Event::Paused { id: self.id, token: leadership.token() }));
        pause.recv().is_ok()
    }

    fn report(&self, event: Result<Event, Failure>) {
        // At the end of the story there is no receiver.
        let _ = self.events.send(event);
    }
}

/// An empty store: the votes of this example are forgotten when it ends, and its tokens start over.
async fn new_store(url: &str) -> Result<kv::Store, Failure> {
    let client = async_nats::connect(url)
        .await
        .map_err(|error| format!("could not connect to {url}: {error}"))?;
    let context = jetstream::new(client);
    // There may be none.
    let _ = context.delete_key_value(BUCKET).await;
    let store = context
        .create_key_value(kv::Config { bucket: BUCKET.into(), ..Default::default() })
        .await
        .map_err(|error| {
            format!("could not make a bucket, for which JetStream is needed: {error}")
        })?;
    Ok(store)
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

type Failure = Box<dyn Error + Send + Sync>;
