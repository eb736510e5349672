//! A bridge that runs.

use graft_election::{Bridge, BridgeCounts, BridgeEvent, BridgeRates, Mode, NodeId, SerialLine};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::boards::BOARDS_CLUSTER;
use crate::bus::Member;
use crate::cluster::PATIENCE;
use crate::nats_server::NatsServer;

/// A bridge in a task of its own, and what it reports. It is of the cluster `c`, unless it is for
/// boards.
#[derive(Debug)]
pub struct RunningBridge {
    stop: oneshot::Sender<()>,
    carried: JoinHandle<BridgeCounts>,
    events: mpsc::UnboundedReceiver<BridgeEvent>,
}

impl RunningBridge {
    /// Rates that no cluster reaches.
    pub const FAST: BridgeRates = BridgeRates { to_nats: 100_000, to_line: 10_000_000 };

    /// Starts a bridge between `member`'s place on a bus and `server`.
    pub async fn start(member: &Member, server: &NatsServer, rates: BridgeRates) -> Self {
        Self::run(connect("c", member, server, rates).await)
    }

    /// Starts one for the cluster of the emulated boards.
    pub async fn start_for_boards(member: &Member, server: &NatsServer) -> Self {
        Self::run(connect(BOARDS_CLUSTER, member, server, Self::FAST).await)
    }

    /// Starts one on a line of this name.
    pub async fn start_on_line(member: &Member, server: &NatsServer, name: &NodeId) -> Self {
        Self::run(connect("c", member, server, Self::FAST).await.with_line_name(name))
    }

    /// Starts one for nodes on the line that are in this mode.
    pub async fn start_in(member: &Member, server: &NatsServer, mode: Mode) -> Self {
        Self::run(connect("c", member, server, Self::FAST).await.with_mode(mode))
    }

    fn run(bridge: Bridge) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (sender, events) = mpsc::unbounded_channel();
        let carried = tokio::spawn(bridge.run(
            async {
                // Whoever drops the sender doesn't stop it.
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            },
            move |event| {
                // Nobody may be listening.
                let _ = sender.send(event);
            },
        ));
        Self { stop, carried, events }
    }

    /// Has it close, and returns what it has counted.
    pub async fn stop(self) -> BridgeCounts {
        self.stop.send(()).expect("it runs");
        timeout(PATIENCE, self.carried).await.expect("it closes").expect("it doesn't panic")
    }

    /// Ends it at once.
    pub async fn kill(self) {
        self.carried.abort();
        assert!(self.carried.await.is_err_and(|error| error.is_cancelled()), "it ran");
    }

    /// Waits until it reports what is meant.
    pub async fn wait_for(&mut self, is_meant: impl Fn(&BridgeEvent) -> bool) {
        let found = async { while !is_meant(&self.events.recv().await.expect("it runs")) {} };
        timeout(PATIENCE, found).await.expect("the event comes");
    }
}

async fn connect(
    cluster: &str,
    member: &Member,
    server: &NatsServer,
    rates: BridgeRates,
) -> Bridge {
    let line = SerialLine::Unix(member.socket().to_owned());
    Bridge::connect(cluster, line, server.url(), rates).await.expect("both sides")
}
