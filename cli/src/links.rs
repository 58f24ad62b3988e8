//! The links of nodes, as the coordinator tells them beside the Node objects: more columns of a table, a section of a description.

use std::collections::HashMap;

use dunlin_api::time::human_duration;
use dunlin_link::health::RATE_SPAN_MIN;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    amount::bytes_text,
    document::{items, text},
    session::Session,
};

/// What is known of nodes' links, by node.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<String, Value>);

impl Links {
    /// Asks the coordinator. One that does not tell, or not to this user, has none to show: the objects themselves still are.
    pub(crate) async fn fetch(session: &Session) -> Self {
        let answer = session.api.get(NODE_LINKS, &[]).await.unwrap_or_default();
        Self::of(&answer)
    }

    /// From the coordinator's answer.
    pub(crate) fn of(answer: &Value) -> Self {
        let links = items(answer, &["items"]).iter();
        Self(links.map(|link| (text(link, &["node"]).to_owned(), link.clone())).collect())
    }

    /// What is known of one node's link.
    pub(crate) fn link(&self, node: &str) -> Option<&Value> {
        self.0.get(node)
    }

    /// Adds the columns of links to a table of nodes, as columns of lower priority.
    pub(crate) fn widen(&self, table: &mut Value, now: Timestamp) {
        if let Some(definitions) = table["columnDefinitions"].as_array_mut() {
            definitions.extend(COLUMNS.map(|name| json!({"name": name, "type": "string", "priority": 1})));
        }
        for row in table["rows"].as_array_mut().into_iter().flatten() {
            let name = row["cells"][0].as_str().unwrap_or_default();
            let cells =
                self.0.get(name).map_or_else(|| COLUMNS.map(|_| UNKNOWN.to_owned()), |link| cells(link, now));
            if let Some(row) = row["cells"].as_array_mut() {
                row.extend(cells.map(Value::from));
            }
        }
    }
}

/// The lines of a node's description: name and value.
pub(crate) fn described(link: &Value, now: Timestamp) -> Vec<(&'static str, String)> {
    let health = &link["health"];
    let mut lines = vec![
        ("State", state(link, now)),
        ("Last Contact", last_contact(link, now)),
        ("Transport", transport(link)),
        ("Bytes", format!("{} in, {} out", size(&link["bytesIn"]), size(&link["bytesOut"]))),
        ("Protocol", format!("version {}", link["protocol"])),
        ("Revision", revision_in_words(link)),
        ("Clock Offset", clock(link)),
        ("Certificate", certificate(link, now)),
    ];
    if health.is_object() {
        lines.extend(described_health(health, now));
    }
    lines
}

fn described_health(health: &Value, now: Timestamp) -> Vec<(&'static str, String)> {
    let (pods, outbox) = (&health["pods"], &health["outbox"]);
    let mut lines = vec![
        ("Uptime", seconds(&health["uptimeSeconds"])),
        ("Free Disk", format!("{} of {}", size(&health["diskFreeBytes"]), size(&health["diskTotalBytes"]))),
        ("Disk Writes", writes(&health["diskWrites"])),
        (
            "Clock",
            if is_true(&health["clock"]["synchronized"]) { "synchronized" } else { "not synchronized" }
                .into(),
        ),
        (
            "Pods",
            format!(
                "{} assigned, {} static, {} held, {} terminating",
                pods["assigned"], pods["static"], pods["held"], pods["terminating"]
            ),
        ),
        (
            "Waiting",
            format!(
                "{} statuses, {} events; {} events dropped",
                outbox["reports"], outbox["events"], outbox["eventsDropped"]
            ),
        ),
        ("Secrets", if is_true(&health["secretsSealed"]) { "sealed" } else { "not sealed" }.into()),
    ];
    if let Some(milli) = health["temperatureMilliCelsius"].as_i64() {
        let throttled = if is_true(&health["throttled"]) { ", throttled" } else { "" };
        lines.push(("Temperature", format!("{}.{} C{throttled}", milli / 1000, milli % 1000 / 100)));
    } else if is_true(&health["throttled"]) {
        lines.push(("Temperature", "throttled".to_owned()));
    }
    lines.push(("Told", ago(&health["receivedAt"], now)));
    lines
}

fn cells(link: &Value, now: Timestamp) -> [String; COLUMNS.len()] {
    let health = &link["health"];
    let contact = if link["connectedSince"].is_string() { "now".to_owned() } else { last_contact(link, now) };
    [
        contact,
        revision(link),
        clock(link),
        writes_per_day(&health["diskWrites"]),
        size(&health["diskFreeBytes"]),
        text(link, &["kind"]).to_owned(),
        format!("{}/{}", size(&link["bytesIn"]), size(&link["bytesOut"])),
    ]
}

fn state(link: &Value, now: Timestamp) -> String {
    let sessions = link["sessions"].as_u64().unwrap_or_default();
    let state = match time(&link["connectedSince"]) {
        Some(since) => format!("connected for {}", human_duration(now.duration_since(since))),
        None => "silent".to_owned(),
    };
    format!("{state}, {sessions} session{}", if sessions == 1 { "" } else { "s" })
}

fn last_contact(link: &Value, now: Timestamp) -> String {
    ago(&link["lastContact"], now)
}

fn transport(link: &Value) -> String {
    let micros = link["roundTripMicroseconds"].as_u64().unwrap_or_default();
    let (whole, tenth) = (micros / 1000, micros % 1000 / 100);
    format!("{} from {}, {whole}.{tenth} ms round trip", text(link, &["kind"]), text(link, &["peer"]))
}

/// `512`, or `500/512` for a node that is behind.
fn revision(link: &Value) -> String {
    let (applied, wanted) = (number(&link["appliedRevision"]), number(&link["wantedRevision"]));
    if is_true(&link["inStep"]) { wanted } else { format!("{applied}/{wanted}") }
}

fn revision_in_words(link: &Value) -> String {
    let (applied, wanted) = (number(&link["appliedRevision"]), number(&link["wantedRevision"]));
    if is_true(&link["inStep"]) {
        // What was wanted since may be of other nodes alone.
        format!("{wanted} (in step)")
    } else {
        format!("{applied} applied, {wanted} wanted (behind)")
    }
}

fn clock(link: &Value) -> String {
    // What the node saw at its last greeting is finer than what its times are corrected by.
    let told = link["health"]["clock"]["offsetMilliseconds"].as_i64();
    let Some(milliseconds) = told.or_else(|| link["clockOffsetMilliseconds"].as_i64()) else {
        return UNKNOWN.to_owned();
    };
    let sign = if milliseconds < 0 { "-" } else { "" };
    match milliseconds.unsigned_abs() {
        small @ 0..10_000 => format!("{sign}{small}ms"),
        large => format!(
            "{sign}{}",
            human_duration(SignedDuration::from_millis(i64::try_from(large).unwrap_or(i64::MAX)))
        ),
    }
}

fn certificate(link: &Value, now: Timestamp) -> String {
    match time(&link["certificateEnd"]) {
        Some(end) if end <= now => format!("expired {} ago", human_duration(now.duration_since(end))),
        Some(end) => format!("ends in {}", human_duration(end.duration_since(now))),
        None => UNKNOWN.to_owned(),
    }
}

fn writes(writes: &Value) -> String {
    let of = |process: &str| {
        let process = &writes[process];
        process.is_object().then(|| match process["overSeconds"].as_u64() {
            // A node tells of its start at its start, and then not before there is something to say.
            Some(0..SPAN_SECONDS_MIN) => format!("{} at its start", size(&process["bytes"])),
            _ => format!("{} in {}", size(&process["bytes"]), seconds(&process["overSeconds"])),
        })
    };
    let parts: Vec<String> = [("agent", of("agent")), ("runner", of("runner"))]
        .into_iter()
        .filter_map(|(name, written)| Some(format!("{name} {}", written?)))
        .collect();
    if parts.is_empty() {
        return "not known: the node shares a process".to_owned();
    }
    let per_day = match writes["bytesPerDay"].as_u64() {
        Some(bytes) => format!("{} per day", bytes_text(bytes)),
        None => format!("too early to say per day, which takes {}", human_duration(span_min())),
    };
    format!("{per_day} ({})", parts.join(", "))
}

/// A column's worth of the same.
fn writes_per_day(writes: &Value) -> String {
    match writes["bytesPerDay"].as_u64() {
        Some(bytes) => bytes_text(bytes),
        None if writes["agent"].is_object() || writes["runner"].is_object() => TOO_EARLY.to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

fn span_min() -> SignedDuration {
    SignedDuration::try_from(RATE_SPAN_MIN).unwrap_or(SignedDuration::MAX)
}

fn ago(value: &Value, now: Timestamp) -> String {
    time(value)
        .map_or_else(|| UNKNOWN.to_owned(), |at| format!("{} ago", human_duration(now.duration_since(at))))
}

fn seconds(value: &Value) -> String {
    value
        .as_i64()
        .map_or_else(|| UNKNOWN.to_owned(), |seconds| human_duration(SignedDuration::from_secs(seconds)))
}

fn size(value: &Value) -> String {
    value.as_u64().map_or_else(|| UNKNOWN.to_owned(), bytes_text)
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

const NODE_LINKS: &str = "/dunlin/v1/nodelinks";

const COLUMNS: [&str; 7] =
    ["Last-Contact", "Revision", "Clock-Offset", "Writes/Day", "Free-Disk", "Link", "Bytes-In/Out"];

const UNKNOWN: &str = "<unknown>";

/// Known after [`RATE_SPAN_MIN`].
const TOO_EARLY: &str = "<too early>";

/// Below this a pace would be said of a start.
const SPAN_SECONDS_MIN: u64 = 60;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{resource, table};

    fn answer() -> Value {
        json!({"items": [
            {"node": "n1", "connectedSince": "2026-01-01T00:00:00Z", "lastContact": "2026-01-01T00:09:30Z",
             "sessions": 1, "protocol": 2, "appliedRevision": 512, "wantedRevision": 512, "inStep": true,
             "clockOffsetMilliseconds": 0, "certificateEnd": "2026-02-01T00:00:00Z", "kind": "quic",
             "peer": "10.0.0.7:4000", "bytesIn": 52_480, "bytesOut": 1_048_576, "roundTripMicroseconds": 3_210,
             "health": {
                "receivedAt": "2026-01-01T00:09:00Z", "uptimeSeconds": 90_000, "diskTotalBytes": 32_000_000_000_u64,
                "diskFreeBytes": 12_884_901_888_u64,
                "diskWrites": {"agent": {"bytes": 4_194_304, "overSeconds": 7_200}, "runner": null, "bytesPerDay": 50_331_648},
                "clock": {"offsetMilliseconds": -12, "synchronized": true}, "temperatureMilliCelsius": 48_312,
                "throttled": false, "pods": {"assigned": 20, "static": 1, "held": 0, "terminating": 0},
                "outbox": {"reports": 0, "events": 0, "eventsDropped": 3}, "secretsSealed": true}},
            {"node": "n2", "connectedSince": null, "lastContact": "2025-12-31T23:10:00Z", "sessions": 4, "protocol": 1,
             "appliedRevision": 500, "wantedRevision": 512, "inStep": false, "clockOffsetMilliseconds": 56_000_000,
             "certificateEnd": "2025-12-31T00:00:00Z", "kind": "tcp", "peer": "10.0.0.8:4000", "bytesIn": 9,
             "bytesOut": 900, "roundTripMicroseconds": 90_000, "health": null},
        ]})
    }

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    #[test]
    fn wide_tables() {
        let mut nodes = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Status", "priority": 0}],
            "rows": [{"cells": ["n1", "Ready"]}, {"cells": ["n2", "NotReady"]}, {"cells": ["n3", "Unknown"]}],
        });
        Links::of(&answer()).widen(&mut nodes, now());
        let options = table::Options { wide: true, ..table::Options::default() };
        let mut printer = table::Printer::new(resource::find("nodes").unwrap(), options);
        expect![[r#"
            NAME   STATUS     LAST-CONTACT   REVISION    CLOCK-OFFSET   WRITES/DAY   FREE-DISK   LINK        BYTES-IN/OUT
            n1     Ready      now            512         -12ms          48MiB        12GiB       quic        51KiB/1.0MiB
            n2     NotReady   60m ago        500/512     15h            <unknown>    <unknown>   tcp         9B/900B
            n3     Unknown    <unknown>      <unknown>   <unknown>      <unknown>    <unknown>   <unknown>   <unknown>
        "#]].assert_eq(&printer.render(&nodes));
    }

    #[test]
    fn disk_writes_of_a_node_that_started_lately() {
        let writes = json!({"agent": {"bytes": 102_400, "overSeconds": 0}, "runner": {"bytes": 0, "overSeconds": 61},
                            "bytesPerDay": null});
        assert_eq!(writes_per_day(&writes), "<too early>");
        assert_eq!(
            super::writes(&writes),
            "too early to say per day, which takes 10m (agent 100KiB at its start, runner 0B in 61s)"
        );
        let shared = json!({"agent": null, "runner": null, "bytesPerDay": null});
        assert_eq!(writes_per_day(&shared), "<unknown>");
    }

    #[test]
    fn descriptions() {
        let links = Links::of(&answer());
        let text = |node: &str| {
            let lines = described(links.link(node).unwrap(), now());
            lines.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>()
        };
        expect![[r#"
            State: connected for 10m, 1 session
            Last Contact: 30s ago
            Transport: quic from 10.0.0.7:4000, 3.2 ms round trip
            Bytes: 51KiB in, 1.0MiB out
            Protocol: version 2
            Revision: 512 (in step)
            Clock Offset: -12ms
            Certificate: ends in 30d
            Uptime: 25h
            Free Disk: 12GiB of 29GiB
            Disk Writes: 48MiB per day (agent 4.0MiB in 120m)
            Clock: synchronized
            Pods: 20 assigned, 1 static, 0 held, 0 terminating
            Waiting: 0 statuses, 0 events; 3 events dropped
            Secrets: sealed
            Temperature: 48.3 C
            Told: 60s ago
        "#]]
        .assert_eq(&text("n1"));
        expect![[r#"
            State: silent, 4 sessions
            Last Contact: 60m ago
            Transport: tcp from 10.0.0.8:4000, 90.0 ms round trip
            Bytes: 9B in, 900B out
            Protocol: version 1
            Revision: 500 applied, 512 wanted (behind)
            Clock Offset: 15h
            Certificate: expired 24h ago
        "#]]
        .assert_eq(&text("n2"));
    }
}
