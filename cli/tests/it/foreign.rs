//! Modules that others wrote, or made with others' tools, in pods of `manifests/others`, on a node that compiles nothing. `cargo xtask
//! foreign` fetches and makes them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    cluster::{wait_within, workloads},
    site::Site,
};

/// A module, and what its pod is held to.
type Foreign = (&'static str, fn(&Site));

const MODULES: [Foreign; 5] =
    [("python", python), ("esbuild", esbuild), ("php", php), ("js-http", js_http), ("py-http", py_http)];

#[test]
fn modules_of_others_run_as_their_authors_expect() {
    let file = |name: &str| workloads().with_file_name("foreign").join(format!("{name}.wasm"));
    let (there, missing): (Vec<_>, Vec<_>) = MODULES.iter().partition(|(name, _)| file(name).is_file());
    for (name, _) in missing {
        println!("SKIPPED: module {name} is not there; `cargo xtask foreign` fetches it");
    }
    let site = Site::start();
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--compile", "never"]);
    site.wait_for_ready(&machine);
    site.push("files");
    // All at once, since they are compiled one after the other.
    for (name, _) in &there {
        site.ok(&["push", file(name).to_str().unwrap(), name], "");
        site.ok(&["apply", "-f", manifest(name).to_str().unwrap()], "");
    }
    for (_, holds) in &there {
        holds(&site);
    }
    for entry in fs::read_dir(machine.state.join("modules")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.ends_with(".own"), "{name} was compiled by the node");
    }
}

/// CPython reads script and text from files of a ConfigMap.
fn python(site: &Site) {
    let said = said_at_its_end(site, "python");
    assert_eq!(said, json!({"most": [["the", 3]], "for": "somebody", "python": 3}));
}

/// esbuild leaves its bundle in a volume that another container shows.
fn esbuild(site: &Site) {
    wait_for_end(site, "esbuild");
    let bundle = site.ok(&["logs", "esbuild"], "");
    assert!(bundle.contains("`hello, ${") && bundle.contains("(\"dunlin\")"), "{bundle}");
    assert!(!bundle.contains("left out") && !bundle.contains("satisfies"), "{bundle}");
}

fn php(site: &Site) {
    assert_eq!(said_at_its_end(site, "php"), json!({"sum": 42, "for": "somebody"}));
}

fn js_http(site: &Site) {
    let address = address(site, "js-http");
    let said = answer(&address, "POST", "/birds?of=shores", "dunlin");
    assert_eq!(said, json!({"method": "POST", "path": "/birds", "said": "DUNLIN"}));
    let said = site.ok(&["get", "--raw", "/api/v1/namespaces/default/pods/js-http/proxy/tides"], "");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, json!({"method": "GET", "path": "/tides", "said": ""}));
}

fn py_http(site: &Site) {
    let said = answer(&address(site, "py-http"), "GET", "/count?word=tern&word=ten", "");
    assert_eq!(said, json!({"path": "/count", "letters": {"e": 2, "n": 2, "r": 1, "t": 2}}));
}

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/others").join(format!("{name}.yaml"))
}

fn wait_for_status(site: &Site, pod: &str, wanted: &str) {
    wait_within(COMPILED_WITHIN, &format!("pod {pod} {wanted}"), || {
        let row = site.dunlin(&["get", "pod", pod, "--no-headers"], "").stdout;
        let columns: Vec<&str> = row.split_whitespace().collect();
        match columns[..] {
            [_, "0/1", status, ..] if status == wanted && wanted == "Completed" => Ok(()),
            [_, "1/1", status, ..] if status == wanted => Ok(()),
            _ => Err(format!("{row}\n{}", site.dunlin(&["describe", "pod", pod], "").stdout)),
        }
    });
}

fn wait_for_end(site: &Site, pod: &str) {
    wait_for_status(site, pod, "Completed");
}

/// The JSON that a pod printed.
fn said_at_its_end(site: &Site, pod: &str) -> Value {
    wait_for_end(site, pod);
    let log = site.ok(&["logs", pod], "");
    serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"))
}

/// Where this machine reaches a pod that is ready.
fn address(site: &Site, pod: &str) -> String {
    wait_for_status(site, pod, "Running");
    let described = site.ok(&["describe", "pod", pod], "");
    let line = described.lines().find_map(|line| line.strip_prefix("  8080/TCP:"));
    line.unwrap_or_else(|| panic!("{described}")).trim().to_owned()
}

/// The JSON that a handler answers.
fn answer(address: &str, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Whether in chunks or not, the object is the only one.
    let (from, to) = (answer.find('{').unwrap(), answer.rfind('}').unwrap());
    serde_json::from_str(&answer[from..=to]).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Five compilations of ten seconds of processor each, one after the other, beside all other tests.
const COMPILED_WITHIN: Duration = Duration::from_secs(600);
