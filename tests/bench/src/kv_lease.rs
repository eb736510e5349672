//! A lease in JetStream: a key with a time to live, which its holder renews, and which the others
//! try to create. It is as small as such a thing can be, and has no token to pass on.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream::kv::{Config, Store};
use async_nats::jetstream::stream::StorageType;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// How long the key lives.
const TTL: Duration = Duration::from_secs(1);

/// How often the others try.
const RETRY: Duration = Duration::from_millis(100);

/// The key.
const KEY: &str = "lease";

/// Runs the command whenever this name has the lease, until the process is told to end.
///
/// # Errors
///
/// The server can't be reached, or the command can't be run.
pub async fn contend(server: &str, bucket: &str, name: &str, command: &[String]) -> Result<()> {
    let client = async_nats::connect(server).await?;
    let context = async_nats::jetstream::new(client);
    let config = Config {
        bucket: bucket.to_owned(),
        max_age: TTL,
        storage: StorageType::Memory,
        ..Config::default()
    };
    let store = context.create_key_value(config).await?;
    let mut end = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            held = hold(&store, name, command) => held?,
            _ = end.recv() => {
                // Only its holder has anything to give back.
                let holder = store.get(KEY).await?;
                if holder.is_some_and(|holder| holder.as_ref() == name.as_bytes()) {
                    store.delete(KEY).await?;
                }
                return Ok(());
            }
        }
        sleep(RETRY).await;
    }
}

/// Tries to have the lease, and returns when it is lost, or can't be had. The command ends with it.
async fn hold(store: &Store, name: &str, command: &[String]) -> Result<()> {
    let Ok(mut revision) = store.create(KEY, name.to_owned().into()).await else {
        return Ok(());
    };
    let _child = start(command)?;
    loop {
        sleep(TTL / 3).await;
        match timeout(TTL / 3, store.update(KEY, name.to_owned().into(), revision)).await {
            Ok(Ok(next)) => revision = next,
            _ => return Ok(()),
        }
    }
}

fn start(command: &[String]) -> Result<Child> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut command = Command::new(program);
    Ok(command.args(arguments).kill_on_drop(true).spawn()?)
}
