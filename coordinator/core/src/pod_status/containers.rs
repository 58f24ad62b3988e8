//! Statuses of containers as kubelet writes them, with times on the coordinator's clock.

use dunlin_link::{
    ContainerId, Digest, UnixMillis,
    reference::{Reference, Source},
    status::{ContainerState, ContainerStatus, PodStatusReport, Terminated},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{set, text};
use crate::node_status::seconds;

/// `containerStatuses` entry of one container; `known` are those stored.
pub(super) fn container_status(container: &ContainerStatus, known: &[Value], clock: Clock) -> Value {
    let known = known.iter().find(|known| known["name"] == container.name.as_str()).unwrap_or(&Value::Null);
    let same_run =
        known["containerID"].as_str() == container.container_id.as_ref().map(container_id).as_deref();
    let known_state = if same_run { &known["state"] } else { &Value::Null };
    let mut status = json!({
        "name": container.name,
        "state": state(&container.state, known_state, clock),
        "lastState": {},
        "ready": container.ready,
        "restartCount": container.restart_count,
        "image": container.image,
        "imageID": container.image_digest.map_or_else(String::new, |digest| image_id(&container.image, digest)),
        "started": container.started,
    });
    if let Some(last) = &container.last_state {
        let known = same_terminated(last, &known["lastState"]["terminated"], &known["state"]["terminated"]);
        status["lastState"] = json!({ "terminated": terminated(last, known, clock) });
    }
    if let Some(id) = &container.container_id {
        status["containerID"] = json!(container_id(id));
    }
    status
}

/// What is stored of the same run's end, whether as last state or still as the state.
fn same_terminated<'a>(last: &Terminated, last_state: &'a Value, state: &'a Value) -> &'a Value {
    let id = last.container_id.as_ref().map(container_id);
    let same = |known: &&Value| known["containerID"].as_str() == id.as_deref();
    [last_state, state].into_iter().find(same).unwrap_or(&Value::Null)
}

fn state(state: &ContainerState, known: &Value, clock: Clock) -> Value {
    match state {
        ContainerState::Waiting { reason, message } => {
            let mut waiting = Map::new();
            set(&mut waiting, "reason", text(reason));
            set(&mut waiting, "message", text(message));
            json!({ "waiting": waiting })
        }
        ContainerState::Running { started_at } => {
            json!({ "running": { "startedAt": clock.settled(*started_at, &known["running"]["startedAt"]) } })
        }
        ContainerState::Terminated(end) => {
            json!({ "terminated": terminated(end, &known["terminated"], clock) })
        }
    }
}

fn terminated(end: &Terminated, known: &Value, clock: Clock) -> Value {
    let mut terminated = Map::new();
    set(&mut terminated, "exitCode", Some(json!(end.exit_code)));
    set(&mut terminated, "reason", text(&end.reason));
    set(&mut terminated, "message", text(&end.message));
    set(&mut terminated, "startedAt", Some(clock.settled(end.started_at, &known["startedAt"])));
    set(&mut terminated, "finishedAt", Some(clock.settled(end.finished_at, &known["finishedAt"])));
    set(&mut terminated, "containerID", end.container_id.as_ref().map(|id| json!(container_id(id))));
    Value::Object(terminated)
}

/// `containerID` as Kubernetes writes it: the runtime before the id.
fn container_id(id: &ContainerId) -> String {
    format!("dunlin://{id}")
}

/// `imageID`: the image's name without its tag, and the digest.
pub(super) fn image_id(reference: &str, digest: Digest) -> String {
    if let Some(url) = reference.parse().ok().filter(|parsed: &Reference| parsed.source != Source::Registry) {
        return format!("{}@{digest}", url.name());
    }
    let name = reference.split('@').next().unwrap_or(reference);
    let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[path_start..].find(':').map_or(name.len(), |colon| path_start + colon);
    format!("{}@{digest}", &name[..end])
}

/// A node's clock, seen from here.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) offset_ms: i64,
}

impl Clock {
    fn timestamp(self, time: UnixMillis) -> Timestamp {
        Timestamp::from_millisecond(time.0.saturating_add(self.offset_ms)).unwrap_or_default()
    }

    /// The latest time that a report tells.
    pub(super) fn latest(self, report: &PodStatusReport) -> Timestamp {
        let times = report.conditions.iter().map(|condition| condition.last_transition);
        let times = times.chain(report.start_time);
        self.timestamp(times.max().unwrap_or_default())
    }

    /// A time as Kubernetes writes it; a node that knows of none says 0.
    pub(super) fn time(self, time: UnixMillis) -> Value {
        if time.0 == 0 { Value::Null } else { json!(seconds(self.timestamp(time))) }
    }

    /// The time, or the one stored for the same moment: the measured offset varies a little from session to session.
    fn settled(self, time: UnixMillis, stored: &Value) -> Value {
        let near = |stored: &Timestamp| {
            (self.timestamp(time).as_second() - stored.as_second()).abs() <= JITTER_SECONDS
        };
        match stored.as_str().and_then(|text| text.parse().ok()).filter(near) {
            Some(_) if time.0 != 0 => stored.clone(),
            _ => self.time(time),
        }
    }
}

/// Times of one moment that are at most so far apart differ by the measurement of the node's clock.
const JITTER_SECONDS: i64 = 2;
