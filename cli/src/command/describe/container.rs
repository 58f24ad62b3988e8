//! The containers of a pod: what they are to be, and how they fare.

use serde_json::Value;

use super::{Sheet, time};
use crate::document::{at, entries, items, plain, text};

/// Which containers of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Containers {
    /// Those that run before the others.
    Init,
    /// Those that the pod is for.
    Main,
    /// Those that were added to it.
    Ephemeral,
}

/// Whose containers or volumes they are, which decides how far they are indented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A pod.
    Pod,
    /// A template of pods.
    Template,
}

impl Place {
    /// Before the title.
    pub(super) const fn outer(self) -> &'static str {
        match self {
            Self::Pod => "",
            Self::Template => "  ",
        }
    }

    /// Before a name, which is by less than a level deeper in a template.
    pub(super) const fn inner(self) -> &'static str {
        match self {
            Self::Pod => "",
            Self::Template => " ",
        }
    }
}

/// Describes one list of containers, if the pod has it.
pub(super) fn describe(sheet: &mut Sheet, pod: &Value, which: Containers, place: Place) {
    let (title, field, statuses) = match which {
        Containers::Init => ("Init Containers", "initContainers", "initContainerStatuses"),
        Containers::Main => ("Containers", "containers", "containerStatuses"),
        Containers::Ephemeral => {
            ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses")
        }
    };
    let containers = items(pod, &["spec", field]);
    if containers.is_empty() {
        return;
    }
    sheet.line(0, format!("{}{title}:", place.outer()));
    for container in containers {
        let name = text(container, &["name"]);
        let statuses = items(pod, &["status", statuses]);
        let status = statuses.iter().find(|status| text(status, &["name"]) == name);
        sheet.line(1, format!("{}{name}:", place.inner()));
        basics(sheet, container, status);
        words(sheet, "Command", items(container, &["command"]));
        words(sheet, "Args", items(container, &["args"]));
        if let Some(status) = status {
            progress(sheet, status);
        }
        resources(sheet, container);
        for (title, field) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            if container[field].is_object() {
                sheet.field(2, title, probe(&container[field]));
            }
        }
        environment(sheet, container, pod);
        mounts(sheet, container);
    }
}

fn basics(sheet: &mut Sheet, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        sheet.field(2, "Container ID", text(status, &["containerID"]));
    }
    sheet.field(2, "Image", text(container, &["image"]));
    if let Some(status) = status {
        sheet.field(2, "Image ID", text(status, &["imageID"]));
    }
    let ports = |field: &str| {
        let port = |port: &Value| {
            let name = text(port, &["name"]);
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            let protocol =
                if text(port, &["protocol"]).is_empty() { "TCP" } else { text(port, &["protocol"]) };
            format!("{}/{protocol}{name}", port[field].as_i64().unwrap_or_default())
        };
        items(container, &["ports"]).iter().map(port).collect::<Vec<_>>()
    };
    for (one, several, field) in [("Port", "Ports", "containerPort"), ("Host Port", "Host Ports", "hostPort")]
    {
        match ports(field).as_slice() {
            [] => sheet.field(2, one, "<none>"),
            [port] => sheet.field(2, one, port),
            ports => sheet.field(2, several, ports.join(", ")),
        }
    }
}

fn words(sheet: &mut Sheet, title: &str, words: &[Value]) {
    if !words.is_empty() {
        sheet.line(2, format!("{title}:"));
        words
            .iter()
            .flat_map(|word| word.as_str().unwrap_or_default().lines())
            .for_each(|line| sheet.line(3, line));
    }
}

/// State, the state before it, readiness and restarts.
fn progress(sheet: &mut Sheet, status: &Value) {
    state(sheet, "State", &status["state"]);
    if status["lastState"]["terminated"].is_object() {
        state(sheet, "Last State", &status["lastState"]);
    }
    let ready = status["ready"].as_bool().unwrap_or(false);
    sheet.field(2, "Ready", if ready { "True" } else { "False" });
    sheet.field(2, "Restart Count", status["restartCount"].as_i64().unwrap_or_default().to_string());
}

fn state(sheet: &mut Sheet, title: &str, state: &Value) {
    let terminated = &state["terminated"];
    if state["running"].is_object() {
        sheet.field(2, title, "Running");
        sheet.field(3, "Started", time(state, &["running", "startedAt"]));
    } else if terminated.is_object() {
        sheet.field(2, title, "Terminated");
        sheet.field_if_any(3, "Reason", text(terminated, &["reason"]));
        sheet.field_if_any(3, "Message", &one_line(text(terminated, &["message"])));
        sheet.field(3, "Exit Code", terminated["exitCode"].as_i64().unwrap_or_default().to_string());
        if let Some(signal) = terminated["signal"].as_i64().filter(|signal| *signal > 0) {
            sheet.field(3, "Signal", signal.to_string());
        }
        sheet.field(3, "Started", time(terminated, &["startedAt"]));
        sheet.field(3, "Finished", time(terminated, &["finishedAt"]));
    } else {
        sheet.field(2, title, "Waiting");
        sheet.field_if_any(3, "Reason", text(state, &["waiting", "reason"]));
        sheet.field_if_any(3, "Message", &one_line(text(state, &["waiting", "message"])));
    }
}

fn resources(sheet: &mut Sheet, container: &Value) {
    for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let amounts: Vec<_> = entries(container, &["resources", field]).collect();
        if !amounts.is_empty() {
            sheet.line(2, format!("{title}:"));
            amounts.into_iter().for_each(|(name, amount)| sheet.field(3, name, plain(amount)));
        }
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str, default: i64| probe[field].as_i64().unwrap_or(default);
    let times = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    let (get, socket, exec) = (&probe["httpGet"], &probe["tcpSocket"], &probe["exec"]);
    let action = if get.is_object() {
        let scheme = if text(get, &["scheme"]).is_empty() { "http" } else { text(get, &["scheme"]) };
        let (host, path) = (text(get, &["host"]), text(get, &["path"]));
        format!("http-get {}://{host}:{}{path}", scheme.to_lowercase(), plain(&get["port"]))
    } else if socket.is_object() {
        format!("tcp-socket {}:{}", text(socket, &["host"]), plain(&socket["port"]))
    } else if exec.is_object() {
        let words: Vec<String> = items(exec, &["command"]).iter().map(plain).collect();
        format!("exec [{}]", words.join(" "))
    } else if probe["grpc"].is_object() {
        format!("grpc <pod>:{} {}", plain(&probe["grpc"]["port"]), text(probe, &["grpc", "service"]))
    } else {
        "unknown".to_owned()
    };
    format!("{action} {times}")
}

fn environment(sheet: &mut Sheet, container: &Value, pod: &Value) {
    let sources = items(container, &["envFrom"]);
    if !sources.is_empty() {
        sheet.line(2, "Environment Variables from:");
    }
    for source in sources {
        let (kind, reference) = match &source["secretRef"] {
            Value::Object(_) => ("Secret", &source["secretRef"]),
            _ => ("ConfigMap", &source["configMapRef"]),
        };
        let prefix = match text(source, &["prefix"]) {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        sheet.line(
            3,
            format!("{}\t{kind}{prefix}\tOptional: {}", text(reference, &["name"]), optional(reference)),
        );
    }
    let variables = items(container, &["env"]);
    if variables.is_empty() {
        sheet.field(2, "Environment", "<none>");
        return;
    }
    sheet.line(2, "Environment:");
    variables.iter().for_each(|variable| sheet.field(3, text(variable, &["name"]), value_of(variable, pod)));
}

fn value_of(variable: &Value, pod: &Value) -> String {
    let from = &variable["valueFrom"];
    let reference =
        |field: &str| (text(from, &[field, "key"]), text(from, &[field, "name"]), optional(&from[field]));
    if from["fieldRef"].is_object() {
        let path = text(from, &["fieldRef", "fieldPath"]);
        let version = match text(from, &["fieldRef", "apiVersion"]) {
            "" => "v1",
            version => version,
        };
        let value = plain(at(pod, &path.split('.').collect::<Vec<_>>()));
        format!("{value} ({version}:{path})")
    } else if from["resourceFieldRef"].is_object() {
        format!("({})", text(from, &["resourceFieldRef", "resource"]))
    } else if from["secretKeyRef"].is_object() {
        let (key, name, optional) = reference("secretKeyRef");
        format!("<set to the key '{key}' in secret '{name}'>\tOptional: {optional}")
    } else if from["configMapKeyRef"].is_object() {
        let (key, name, optional) = reference("configMapKeyRef");
        format!("<set to the key '{key}' of config map '{name}'>\tOptional: {optional}")
    } else {
        one_line(text(variable, &["value"]))
    }
}

fn mounts(sheet: &mut Sheet, container: &Value) {
    let mounts = items(container, &["volumeMounts"]);
    if mounts.is_empty() {
        sheet.field(2, "Mounts", "<none>");
        return;
    }
    sheet.line(2, "Mounts:");
    for mount in mounts {
        let mut flags = if mount["readOnly"] == true { "ro".to_owned() } else { "rw".to_owned() };
        let path = text(mount, &["subPath"]);
        if !path.is_empty() {
            flags.push_str(&format!(",path=\"{path}\""));
        }
        sheet.line(3, format!("{} from {} ({flags})", text(mount, &["mountPath"]), text(mount, &["name"])));
    }
}

fn optional(reference: &Value) -> bool {
    reference["optional"].as_bool().unwrap_or(false)
}

/// A value must not tear the layout.
fn one_line(value: &str) -> String {
    value.trim_end().replace(['\n', '\t'], " ")
}
