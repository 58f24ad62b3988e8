//! Ports as the command line names them, and what they are in a pod; in kubectl's words.

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    document::{items, text},
    failure::UsageError,
};

/// `[LOCAL:]REMOTE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `None` for the same as there.
    local: Option<u16>,
    remote: Remote,
}

/// A port on the pod's side.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Remote {
    Number(u16),
    Name(String),
}

/// Two ports, one of which leads to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// 0 for a free one.
    pub(super) local: u16,
    pub(super) remote: u16,
}

impl Wanted {
    /// Reads a word.
    ///
    /// # Errors
    /// [`UsageError`] when it is none.
    pub(super) fn parse(word: &str) -> Result<Self> {
        let invalid = |what: &str| UsageError(format!("invalid port format '{word}': {what}"));
        let (local, remote) = match word.split_once(':') {
            None => (None, word),
            Some(("", remote)) => (Some(0), remote),
            Some((local, remote)) => {
                let local =
                    local.parse().map_err(|error| invalid(&format!("error parsing local port: {error}")))?;
                (Some(local), remote)
            }
        };
        let remote = match remote.parse() {
            Ok(0) => return Err(invalid("remote port must be > 0").into()),
            Ok(number) => Remote::Number(number),
            Err(_) if is_name(remote) => Remote::Name(remote.to_owned()),
            Err(error) => return Err(invalid(&format!("error parsing remote port: {error}")).into()),
        };
        Ok(Self { local, remote })
    }

    /// What it is in a pod, by a Service if that is what was named.
    ///
    /// # Errors
    /// When the pod or the Service has no such port.
    pub(super) fn resolve(&self, pod: &Value, service: Option<&Value>) -> Result<Pair> {
        let (asked, remote) = match (service, &self.remote) {
            (Some(service), remote) => of_service(service, remote, pod)?,
            (None, Remote::Number(number)) => (*number, *number),
            (None, Remote::Name(name)) => {
                let number = of_pod(pod, name)?;
                (number, number)
            }
        };
        Ok(Pair { local: self.local.unwrap_or(asked), remote })
    }
}

/// Names of ports have a letter, and nothing but letters, digits and hyphens.
fn is_name(text: &str) -> bool {
    text.len() <= 15
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The number of a port that a container of the pod names.
fn of_pod(pod: &Value, name: &str) -> Result<u16> {
    let containers =
        ["containers", "initContainers"].into_iter().flat_map(|list| items(pod, &["spec", list]));
    let mut ports = containers.flat_map(|container| items(container, &["ports"]));
    let found = ports.find(|port| text(port, &["name"]) == name && is_tcp(port));
    found.and_then(|port| number(&port["containerPort"])).ok_or_else(|| {
        let pod = text(pod, &["metadata", "name"]);
        anyhow!("Pod '{pod}' does not have a named port '{name}'")
    })
}

/// The number of a Service's port, and that of the pod's that it leads to.
fn of_service(service: &Value, remote: &Remote, pod: &Value) -> Result<(u16, u16)> {
    let matches = |port: &&Value| match remote {
        Remote::Number(wanted) => number(&port["port"]) == Some(*wanted),
        Remote::Name(name) => text(port, &["name"]) == name,
    };
    let found = items(service, &["spec", "ports"]).iter().filter(|port| is_tcp(port)).find(matches);
    let Some((port, asked)) = found.and_then(|port| Some((port, number(&port["port"])?))) else {
        let name = text(service, &["metadata", "name"]);
        return Err(match remote {
            Remote::Number(wanted) => anyhow!("Service {name} does not have a service port {wanted}"),
            Remote::Name(wanted) => anyhow!("Service '{name}' does not have a named port '{wanted}'"),
        });
    };
    let target = &port["targetPort"];
    let there = match target.as_str() {
        Some(name) => of_pod(pod, name)?,
        None => number(target).unwrap_or(asked),
    };
    Ok((asked, there))
}

fn is_tcp(port: &Value) -> bool {
    matches!(text(port, &["protocol"]), "" | "TCP")
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(word: &str, service: Option<&Value>) -> Result<(u16, u16), String> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            {"ports": [{"name": "http", "containerPort": 8080}]},
        ]}});
        let pair = Wanted::parse(word).and_then(|wanted| wanted.resolve(&pod, service));
        pair.map(|pair| (pair.local, pair.remote)).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_of_a_pod_are_numbers_or_names() {
        assert_eq!(resolved("80", None), Ok((80, 80)));
        assert_eq!(resolved("8080:80", None), Ok((8080, 80)));
        assert_eq!(resolved(":80", None), Ok((0, 80)));
        assert_eq!(resolved("http", None), Ok((8080, 8080)));
        assert_eq!(resolved("9000:http", None), Ok((9000, 8080)));
        let check = |word: &str, expected: &str| {
            let message = resolved(word, None).unwrap_err();
            assert!(message.contains(expected), "{word}: {message}");
        };
        check("dns", "Pod 'p' does not have a named port 'dns'");
        check("80:0", "remote port must be > 0");
        check("x:80", "error parsing local port");
        check("80:", "error parsing remote port");
        check("1:2:3", "error parsing remote port");
        check("70000", "error parsing remote port");
    }

    #[test]
    fn ports_of_a_service_lead_to_those_of_its_pod() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
            {"name": "web", "port": 80, "targetPort": "http"},
            {"name": "same", "port": 81},
            {"name": "other", "port": 82, "targetPort": 9000},
            {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
        ]}});
        let check = |word: &str, expected: Result<(u16, u16), &str>| {
            assert_eq!(
                resolved(word, Some(&service)).as_ref().copied().map_err(String::as_str),
                expected,
                "{word}"
            );
        };
        check("80", Ok((80, 8080)));
        check("1234:web", Ok((1234, 8080)));
        check("81", Ok((81, 81)));
        check(":other", Ok((0, 9000)));
        check("8080", Err("Service s does not have a service port 8080"));
        check("dns", Err("Service 's' does not have a named port 'dns'"));
    }
}
