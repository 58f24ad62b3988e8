//! Ports as requests name them; in the words of the kubelet.

use dunlin_api::Status;

use crate::service::query::Query;

/// The ports of a request that has a channel for each: `ports=80&ports=81,82`.
pub(super) fn all(query: &Query) -> Result<Vec<u16>, Status> {
    let mut ports = Vec::new();
    for value in query.values(PARAMETER) {
        if value.is_empty() {
            return Err(Status::bad_request(format!("query parameter {PARAMETER:?} cannot be empty")));
        }
        for word in value.split(',') {
            ports.push(parse(word).map_err(Status::bad_request)?);
        }
    }
    match ports.len() {
        0 => Err(Status::bad_request(format!("query parameter {PARAMETER:?} is required"))),
        1..=PORTS_MAX => Ok(ports),
        _ => Err(Status::bad_request(format!("{PORTS_MAX} ports are forwarded at a time, at most"))),
    }
}

/// The port of a request that is one connection.
pub(super) fn one(query: &Query) -> Result<u16, Status> {
    match all(query)?.as_slice() {
        [port] => Ok(*port),
        _ => Err(Status::bad_request("a connection is to one port")),
    }
}

/// Reads one.
pub(super) fn parse(word: &str) -> Result<u16, String> {
    match word.parse() {
        Ok(0) => Err(format!("port {word:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(error) => Err(format!("unable to parse {word:?} as a port: {error}")),
    }
}

const PARAMETER: &str = "ports";

/// Each has two channels, whose numbers are a byte.
const PORTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Vec<u16>, String> {
        let pairs = values.iter().map(|value| (PARAMETER.to_owned(), (*value).to_owned())).collect();
        all(&Query::new(pairs)).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn ports_are_read_as_kubelets_do() {
        assert_eq!(read(&["80", "81,82", "80"]), Ok(vec![80, 81, 82, 80]));
        let check = |values: &[&str], expected: &str| {
            let message = read(values).unwrap_err();
            assert!(message.contains(expected), "{values:?}: {message}");
        };
        check(&[], "query parameter \"ports\" is required");
        check(&["80", ""], "query parameter \"ports\" cannot be empty");
        check(&["80,0"], "port \"0\" must be > 0");
        check(&["65536"], "unable to parse \"65536\" as a port");
        check(&["http"], "unable to parse \"http\" as a port");
        check(&["1"; PORTS_MAX + 1], "64 ports");
    }
}
