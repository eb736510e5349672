//! What Prometheus collects.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use graft_election_core::State;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::answer::Answer;
use super::status::mode_name;
use crate::counts::{Counts, DropCause};
use crate::events::Status;
use crate::node::Reader;
use crate::times::Times;
use crate::transport::ConnectionState;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn metrics(node: &Reader) -> Answer {
    let lease_left = node.lease().map_or(Duration::ZERO, |(_, left)| left);
    let (status, mode) = (node.status(), mode_name(node.mode()));
    let own = [
        ("cluster".into(), status.cluster.name.clone().into()),
        ("node".into(), status.id.to_string().into()),
    ];
    let snapshot = Snapshot { mode, lease_left, counts: node.counts(), status: (*status).clone() };
    let mut registry = Registry::with_prefix_and_labels("graft", own.into_iter());
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => Answer::new(OPEN_METRICS, text),
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The node at one instant.
#[derive(Debug)]
struct Snapshot {
    mode: &'static str,
    lease_left: Duration,
    counts: Counts,
    status: Status,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.write_status(&mut writer)?;
        self.write_elections(&mut writer)?;
        self.write_work(&mut writer)
    }
}

impl Snapshot {
    fn write_status(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Self { mode, status, .. } = self;
        writer.info("build", "The library's version and the node's mode", mode)?;
        writer.gauge(
            "is_leader",
            "1 while the node leads, with or without a lease, else 0",
            None,
            flag(status.state == State::Leader),
        )?;
        writer.gauge(
            "lease_remaining",
            "How long the node's lease lasts if it is not renewed; 0 without one",
            Some(&Unit::Seconds),
            self.lease_left.as_secs_f64(),
        )?;
        let has_leader = flag(status.leader.is_some());
        writer.gauge("has_leader", "1 while the node knows a leader, else 0", None, has_leader)?;
        let is_paused = flag(status.is_paused);
        writer.gauge("is_paused", "1 while an operator has paused the node", None, is_paused)?;
        writer.gauge("term", "The node's term", None, as_float(status.term))?;
        let size = u64::try_from(status.cluster.size).unwrap_or(u64::MAX);
        writer.gauge("cluster_size", "How many voters there are", None, as_float(size))?;
        let states = ConnectionState::ALL.map(|it| (it.name(), flag(it == status.connection)));
        writer.gauges("connection", "1 for the state that the connection has", "state", &states)
    }

    fn write_elections(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counts = &self.counts;
        writer.counters(
            "leader_changes",
            "Changes to another leader, or to none",
            "reason",
            by_name(&counts.leader_changes, |reason| reason.name()),
        )?;
        writer.counter(
            "leaderless",
            "How long the node has known no leader",
            Some(&Unit::Seconds),
            counts.leaderless.as_secs_f64(),
        )?;
        writer.counters(
            "campaigns",
            "Terms in which the node asked for votes",
            "reason",
            by_name(&counts.campaigns, |reason| reason.name()),
        )?;
        let won = as_float(counts.elections_won);
        writer.counter("elections_won", "Campaigns that made the node the leader", None, won)?;
        writer.counters(
            "step_downs",
            "Leaderships of the node that ended",
            "reason",
            by_name(&counts.step_downs, |reason| reason.name()),
        )?;
        writer.counters(
            "refusals",
            "Votes, pre-votes and heartbeats that the node refused",
            "reason",
            by_name(&counts.refusals, |refusal| refusal.name()),
        )
    }

    fn write_work(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counts = &self.counts;
        writer.histogram(
            "acknowledgement",
            "How long after its heartbeats the leader received acknowledgements",
            &counts.acknowledgements,
        )?;
        writer.histogram("save", "How long the node took to store its vote", &counts.saves)?;
        let failed = as_float(counts.saves_failed);
        writer.counter("save_failures", "Times that the vote could not be stored", None, failed)?;
        let mut drops: BTreeMap<_, _> = DropCause::ALL.map(|cause| (cause.name(), 0)).into();
        drops.extend(by_name(&counts.drops, |cause| cause.name()));
        writer.counters("messages_dropped", "Messages that were dropped", "cause", drops)
    }
}

/// Writes metrics, with their types and what they are.
struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    fn info(&mut self, name: &str, help: &str, mode: &str) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&[("version", env!("CARGO_PKG_VERSION")), ("mode", mode)])
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, f64)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            metric.encode_family(&[(label, *of)])?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: BTreeMap<&str, u64>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Times) -> fmt::Result {
        let seconds = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
        let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |it| it.as_secs_f64());
        let buckets: Vec<_> = times.buckets().map(|(it, count)| (bound(it), count)).collect();
        let sum = times.sum().as_secs_f64();
        metric.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
    }
}

/// The counts by the names of what is counted, in their order.
fn by_name<K: Copy>(
    counts: &HashMap<K, u64>,
    name: impl Fn(K) -> &'static str,
) -> BTreeMap<&'static str, u64> {
    counts.iter().map(|(key, count)| (name(*key), *count)).collect()
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

/// The nearest number that Prometheus has: all of its values are floats.
#[allow(clippy::cast_precision_loss, reason = "Prometheus loses it as well")]
fn as_float(count: u64) -> f64 {
    count as f64
}
