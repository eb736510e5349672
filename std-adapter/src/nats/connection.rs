//! The connection to NATS: the options that an election needs, and how it is watched.

use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions};
use tokio::time::{Interval, MissedTickBehavior};

use super::changes::{Changes, Sender};
use super::servers::{NatsConnectError, NatsServers, Rotation};
use crate::transport::Connection;

/// How often a connection that belongs to someone else is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A server that says nothing for three of these is taken for lost.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How many messages of a subject may wait for the node: all voters' answers to one heartbeat.
/// Older ones are of no use to an election, and of the largest ones these are 64 MB.
const SUBSCRIPTION_CAPACITY: usize = 64;

/// Has a connection notice in time what an election must know.
fn with_defaults(options: ConnectOptions) -> ConnectOptions {
    options
        .name("graft")
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(connect_delay)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
}

/// How long to wait before the `attempt`-th attempt to connect since there was a connection, the
/// first of all included: an election can't wait for long.
fn connect_delay(attempt: usize) -> Duration {
    let failed = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_millis(20).saturating_mul(failed).min(Duration::from_millis(500))
}

/// Makes a connection to one of the `servers` with what `configure` adds to the options, and
/// watches it.
pub(crate) async fn connect_watched(
    servers: &NatsServers,
    configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
) -> Result<(Client, Watched), NatsConnectError> {
    let changes = Changes::default();
    let sender = Sender(changes.clone());
    let watch = |options: ConnectOptions| {
        options.event_callback(move |event| {
            sender.send(event);
            std::future::ready(())
        })
    };
    let (client, is_connected) = connect(servers, |options| Ok(watch(configure(options)?))).await?;
    Ok((client, Watched::Own { changes, is_connected }))
}

async fn connect(
    servers: &NatsServers,
    configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
) -> Result<(Client, bool), NatsConnectError> {
    let rotation = Rotation::new(servers);
    let options = servers.configure(with_defaults(rotation.options(servers)));
    let options = configure(options).map_err(NatsConnectError::Options)?;
    rotation.connect(servers, &options).await
}

impl NatsServers {
    /// Connects to one of the servers for something else than an election, with the login that is
    /// theirs, and with what `configure` adds to the options.
    ///
    /// # Errors
    ///
    /// What `configure` returns; [`NatsConnectError`] if no server takes the connection.
    pub async fn connect(
        &self,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Client, NatsConnectError> {
        connect(self, configure).await.map(|(client, _)| client)
    }
}

/// How changes of a connection are noticed.
#[derive(Debug)]
pub(crate) enum Watched {
    /// The connection is the node's own, reports its changes, and ends with the node.
    Own { changes: Changes, is_connected: bool },
    /// It is someone else's, and looked at now and then.
    Borrowed { poll: Interval, is_connected: bool },
    /// It is gone for good.
    Gone,
}

impl Watched {
    /// Watches a connection that belongs to someone else.
    pub(super) fn borrowed() -> Self {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Borrowed { poll, is_connected: true }
    }

    /// Waits for the next change. Cancel-safe.
    pub(crate) async fn change(&mut self, client: &Client) -> Connection {
        loop {
            match self {
                Self::Own { changes, is_connected } => match changes.next().await {
                    // The first connection is not a change.
                    Some(Connection::Restored) if *is_connected => {}
                    Some(change) => {
                        match change {
                            Connection::Restored => *is_connected = true,
                            Connection::Lost(_) => *is_connected = false,
                            _ => {}
                        }
                        return change;
                    }
                    None => *self = Self::Gone,
                },
                Self::Borrowed { poll, is_connected } => {
                    poll.tick().await;
                    let was_connected = *is_connected;
                    *is_connected = client.connection_state() == State::Connected;
                    match (was_connected, *is_connected) {
                        (false, true) => return Connection::Restored,
                        (true, false) => return Connection::Lost("disconnected".into()),
                        _ => {}
                    }
                }
                Self::Gone => return std::future::pending().await,
            }
        }
    }

    /// Closes the connection if it is the node's own, and watches it no more.
    pub(crate) async fn close(&mut self, client: &Client) {
        if let Self::Own { changes, .. } = self {
            let _ = client.drain().await;
            while let Some(change) = changes.next().await {
                if let Connection::Closed(_) = change {
                    break;
                }
            }
        }
        *self = Self::Gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failed_attempts_to_connect_delay_the_next() {
        let delays = [1, 2, 3, 26, 27, usize::MAX].map(connect_delay);
        assert_eq!(delays, [0, 20, 40, 500, 500, 500].map(Duration::from_millis));
    }
}
