//! The node itself in words.

use dunlin_edge_node::console::{LogUsage, NodeView};
use dunlin_link::{
    UnixMillis,
    health::{DiskWrites, Sealing},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    amount::bytes_text,
    tabs::{self, Layout},
};
use dunlin_api::time::human_duration;

/// The description.
pub(super) fn described(node: &NodeView, now: Timestamp) -> String {
    let mut text = String::new();
    let mut field = |level: usize, name: &str, value: &str| {
        text.push_str(&"  ".repeat(level));
        text.push_str(&format!("{name}:\t{value}\n"));
    };
    field(0, "Name", &node.name);
    field(0, "Version", &node.facts.version);
    field(0, "Runtime", &node.facts.runtime_version);
    field(0, "Agent", &format!("started {}, start number {}", ago(node.started_at, now), node.starts));
    contact(node, now, &mut field);
    assignment(node, &mut field);
    waiting(node, &mut field);
    machine(node, &mut field);
    field(0, "Terminating", &if node.tombstones.is_empty() { "<none>".to_owned() } else { String::new() });
    for tombstone in &node.tombstones {
        let name = format!("{}/{}", tombstone.namespace, tombstone.name);
        field(
            1,
            &name,
            &format!("deleted {}, grace {}s", ago(tombstone.requested_at, now), tombstone.grace_seconds),
        );
    }
    if !node.rejected_manifests.is_empty() {
        field(0, "Rejected Manifests", "");
    }
    for (file, reason) in &node.rejected_manifests {
        field(1, file, reason);
    }
    tabs::align(&text, Layout::DESCRIPTION)
}

fn contact(node: &NodeView, now: Timestamp, field: &mut impl FnMut(usize, &str, &str)) {
    let contact = match (node.connected_since, node.last_contact) {
        (Some(since), _) => format!("connected for {}", span(since, now)),
        (None, Some(last)) => format!("not connected; last contact {}", ago(last, now)),
        (None, None) => "not connected since the agent started".to_owned(),
    };
    field(0, "Coordinator", &contact);
    let health = &node.health;
    let offset = health.clock_offset_ms.map_or_else(
        || "not known: no contact since the agent started".to_owned(),
        |offset| format!("{offset} ms to the coordinator's"),
    );
    let verdict = if health.clock_synchronized { "synchronized" } else { "not synchronized" };
    field(0, "Clock", &format!("{now:.0}, {verdict}, {offset}"));
}

fn assignment(node: &NodeView, field: &mut impl FnMut(usize, &str, &str)) {
    let pods = &node.health.pods;
    field(0, "Assignment", "");
    field(1, "Revision", &node.applied_revision.to_string());
    field(1, "Restore Generation", &node.restore_generation.to_string());
    field(
        1,
        "Pods",
        &format!(
            "{} assigned, {} static, {} held, {} terminating",
            pods.assigned, pods.fixed, pods.held, pods.buried
        ),
    );
    let sealed = match node.health.sealing {
        Sealing::Sealed => "sealed to this node's key",
        Sealing::Unsealed => "as they are, in a folder of its owner's alone",
    };
    field(1, "Secrets", sealed);
}

fn waiting(node: &NodeView, field: &mut impl FnMut(usize, &str, &str)) {
    let (outbox, queues) = (&node.health.outbox, &node.queues);
    field(0, "Waiting", "");
    let mut statuses = outbox.reports.to_string();
    if !node.unreported.is_empty() {
        let shown: Vec<&str> = node.unreported.iter().take(UNREPORTED_SHOWN).map(String::as_str).collect();
        let more = node.unreported.len().saturating_sub(UNREPORTED_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        statuses.push_str(&format!(": {}{more}", shown.join(", ")));
    }
    field(1, "Statuses", &statuses);
    field(
        1,
        "Events",
        &format!("{}, {} dropped since the agent started", outbox.events, outbox.events_dropped),
    );
    field(1, "Modules to fetch", &queues.fetches.to_string());
    field(1, "Changes to commit", &queues.changes.to_string());
    field(1, "Writes under way", &queues.writes.to_string());
    field(1, "Requests to the runner", &queues.requests.to_string());
}

fn machine(node: &NodeView, field: &mut impl FnMut(usize, &str, &str)) {
    let health = &node.health;
    field(0, "Machine", "");
    field(
        1,
        "Uptime",
        &human_duration(SignedDuration::from_millis(i64::try_from(health.uptime_ms).unwrap_or(i64::MAX))),
    );
    let (free, total) = (bytes_text(health.disk_free.0), bytes_text(health.disk_total.0));
    field(1, "Free Disk", &format!("{free} of {total}"));
    field(1, "Logs", &logs(&node.logs));
    let (agent, runner) = node.memory_bytes;
    let memory = |bytes: Option<u64>| bytes.map_or_else(|| "none of its own".to_owned(), bytes_text);
    field(1, "Memory", &format!("agent {}, runner {}", memory(agent), memory(runner)));
    let writes = |writes: Option<DiskWrites>| {
        writes.map_or_else(
            || "not known".to_owned(),
            |writes| {
                let span = i64::try_from(writes.span_ms).unwrap_or(i64::MAX);
                format!(
                    "{} in {}",
                    bytes_text(writes.bytes),
                    human_duration(SignedDuration::from_millis(span))
                )
            },
        )
    };
    field(
        1,
        "Disk Writes",
        &format!("agent {}, runner {}", writes(health.agent_writes), writes(health.runner_writes)),
    );
    if let Some(milli) = health.temperature_milli {
        let throttled = if health.throttled == Some(true) { ", throttled" } else { "" };
        field(1, "Temperature", &format!("{}.{} C{throttled}", milli / 1000, milli.abs() % 1000 / 100));
    }
}

fn logs(usage: &LogUsage) -> String {
    let LogUsage { bytes, bytes_max, dropped_files, dropped_bytes } = *usage;
    let mut text = format!("{} of at most {}", bytes_text(bytes), bytes_text(bytes_max));
    if dropped_files > 0 {
        let dropped = bytes_text(dropped_bytes);
        text.push_str(&format!(", {dropped_files} old files ({dropped}) dropped since the agent started"));
    }
    text
}

fn ago(at: UnixMillis, now: Timestamp) -> String {
    format!("{} ago", span(at, now))
}

fn span(at: UnixMillis, now: Timestamp) -> String {
    human_duration(SignedDuration::from_millis(now.as_millisecond().saturating_sub(at.0)))
}

/// Pods named one by one.
const UNREPORTED_SHOWN: usize = 10;
