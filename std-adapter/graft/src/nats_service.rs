//! The node as a NATS service, which `nats micro` and other programs find and ask.
//!
//! It has a connection of its own. On the node's, many questions would fill the queue in which its
//! heartbeats wait.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use async_nats::service::{Service, ServiceExt};
use async_nats::{Client, Event};
use futures_util::StreamExt;
use graft_election::{Node, Status};
use serde_json::Value;

use crate::exit_status::{ExitStatus, ExitsWith};
use crate::nats_args::NatsArgs;
use crate::report::print_error;

/// The service's name, under which all nodes of all clusters are found.
const NAME: &str = "graft";

/// The endpoint that tells a node's status, whose statistics have it as well.
const ENDPOINT: &str = "status";

/// A connection for the service of a node that has yet to start.
#[derive(Debug)]
pub(crate) struct NatsService {
    client: Client,
}

impl NatsService {
    /// Connects as the node does.
    ///
    /// # Errors
    ///
    /// Those of the node's own connection.
    pub(crate) async fn connect(nats: &NatsArgs) -> Result<Self> {
        let nats = nats.settings().exits_with(ExitStatus::Configuration)?;
        let connected = nats
            .servers
            .connect(|options| Ok(nats.configure(options)?.event_callback(report)))
            .await
            .map_err(|error| nats.explain(error));
        Ok(Self { client: connected.exits_with(ExitStatus::Connection)? })
    }

    /// Answers for this node from now on, for as long as the program runs.
    ///
    /// # Errors
    ///
    /// The connection was lost meanwhile, for good.
    pub(crate) async fn serve(self, node: &Node) -> Result<()> {
        let Status { id, cluster, .. } = &*node.status();
        let names = [("cluster", &*cluster.name), ("node", id.as_str())];
        let metadata = names.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (for_statistics, for_requests) = (node.watch(), node.watch());
        let service = self
            .client
            .service_builder()
            .description("A node of a graft cluster")
            .metadata(HashMap::from(metadata))
            .stats_handler(move |_, _| as_json(&for_statistics.borrow()))
            .start(NAME, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(not_started)?;
        let mut endpoint = service
            .endpoint_builder()
            .name(ENDPOINT)
            // Each subject is one node's.
            .add(format!("graft_status.{}.{id}", cluster.name))
            .await
            .map_err(not_started)?;
        tokio::spawn(async move {
            // It answers for as long as this is there.
            let _service: Service = service;
            while let Some(request) = endpoint.next().await {
                let status = as_json(&for_requests.borrow()).to_string();
                // Whoever asked may be gone.
                let _ = request.respond(Ok(status.into())).await;
            }
        });
        self.client.flush().await.context("could not start the NATS service")
    }
}

fn not_started(error: async_nats::Error) -> anyhow::Error {
    anyhow!(error).context("could not start the NATS service")
}

fn as_json(status: &Status) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

/// Reports what the server refuses; the rest is the node's connection's to report.
async fn report(event: Event) {
    if let Event::ServerError(error) = event {
        print_error(format_args!("the NATS service: {error}"));
    }
}
