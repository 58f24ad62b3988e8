//! The links of nodes: who is connected, since when, how far behind, and how the machine fares.

use dunlin_api::Status;
use dunlin_link::{
    UnixMillis,
    health::{DiskWrites, Health, Sealing},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{may_list_nodes, not_served};
use crate::{
    service::{ApiService, User, response::Response},
    sessions::{LinkFacts, LinkKind},
};

impl ApiService {
    /// Whoever may list nodes may know how they are connected.
    pub(super) async fn list_node_links(&self, user: &User) -> Result<Response, Status> {
        may_list_nodes(self, user).await?;
        let sessions = self.inner.attached.sessions.get().ok_or_else(not_served)?;
        let items: Vec<Value> = sessions.links().iter().map(described).collect();
        Ok(Response::json(200, &json!({"items": items})))
    }
}

fn described(link: &LinkFacts) -> Value {
    let traffic = &link.traffic;
    json!({
        "node": link.node.as_str(),
        "connectedSince": link.connected_since.and_then(time),
        "lastContact": time(link.last_contact),
        "sessions": link.sessions,
        "protocol": link.protocol,
        "appliedRevision": link.applied.map(|revision| revision.0),
        "wantedRevision": link.wanted.0,
        "inStep": link.is_in_step,
        "clockOffsetMilliseconds": link.clock_offset_ms,
        "certificateEnd": time(link.certificate_end),
        "kind": match traffic.kind {
            LinkKind::Quic => "quic",
            LinkKind::Tcp => "tcp",
        },
        "peer": traffic.peer.to_string(),
        "bytesIn": traffic.bytes_in,
        "bytesOut": traffic.bytes_out,
        "roundTripMicroseconds": u64::try_from(traffic.rtt.as_micros()).unwrap_or(u64::MAX),
        "health": link.health.as_ref().map(|(health, at)| health_of(health, *at)),
    })
}

fn health_of(health: &Health, received_at: UnixMillis) -> Value {
    let writes = |writes: Option<DiskWrites>| {
        writes.map(|writes| json!({"bytes": writes.bytes, "overSeconds": writes.span_ms / 1000}))
    };
    json!({
        "receivedAt": time(received_at),
        "uptimeSeconds": health.uptime_ms / 1000,
        "diskTotalBytes": health.disk_total.0,
        "diskFreeBytes": health.disk_free.0,
        "diskWrites": {
            "agent": writes(health.agent_writes),
            "runner": writes(health.runner_writes),
            "bytesPerDay": health.writes_per_day().map(|bytes| bytes.0),
        },
        "clock": {"offsetMilliseconds": health.clock_offset_ms, "synchronized": health.clock_synchronized},
        "temperatureMilliCelsius": health.temperature_milli,
        "throttled": health.throttled,
        "pods": {
            "assigned": health.pods.assigned,
            "static": health.pods.fixed,
            "held": health.pods.held,
            "terminating": health.pods.buried,
        },
        "outbox": {
            "reports": health.outbox.reports,
            "events": health.outbox.events,
            "eventsDropped": health.outbox.events_dropped,
        },
        "secretsSealed": health.sealing == Sealing::Sealed,
    })
}

fn time(at: UnixMillis) -> Option<String> {
    Timestamp::from_millisecond(at.0).ok().map(dunlin_api::time::format_time)
}
