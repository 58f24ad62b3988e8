//! What WebAssembly guests are given, through the whole of a cluster: settings of how they run, the network, and buckets.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    cluster::{Answer, BINARY, Cluster, Namespace, wait_until},
    pods::pod,
    site::Site,
};

/// A pod with annotations whose guest listens on its declared port.
fn listening(name: &str, annotations: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: c, ports: [{{containerPort: 8080, name: http}}], {container}}}\n"
    )
}

impl Namespace {
    /// Uses an interface in a further instance of the guest.
    fn uses(&self, pod: &str, words: &[&str]) -> Answer {
        self.dunlin(&[&["exec", pod, "--", "interfaces"], words].concat())
    }

    /// Where the pod's only port is on this machine.
    fn address(&self, pod: &str) -> String {
        wait_until("address", || {
            let described = self.ok(&["describe", "pod", pod]);
            let line = described.lines().find_map(|line| line.strip_prefix("  8080/TCP:"));
            line.map(|address| address.trim().to_owned()).ok_or(described)
        })
    }
}

/// The status that a request is answered with.
fn status(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn guests_reach_the_api_on_the_machine_s_loopback_and_nothing_beside_it() {
    let namespace = Namespace::new();
    let guest = |name: &str, port: &str| {
        let address = format!("'$(KUBERNETES_SERVICE_HOST):{port}'");
        namespace.apply(&pod(
            name,
            "Never",
            &format!("image: dunlin.local/interfaces, args: [connect, {address}]"),
        ));
    };
    guest("api", "$(KUBERNETES_SERVICE_PORT)");
    guest("other", "22");
    namespace.wait_for_status("api", "Completed");
    assert_eq!(namespace.ok(&["logs", "api"]), "connected\n");
    namespace.wait_for_status("other", "Error");
    let described = namespace.ok(&["describe", "pod", "other"]);
    assert!(described.contains("the node's own addresses are not for guests"), "{described}");
}

#[test]
fn settings_that_say_nothing_are_refused_where_they_are_written() {
    let namespace = Namespace::new();
    let refused = |annotation: &str| {
        let answer = namespace
            .dunlin_with(&["apply", "-f", "-"], &listening("p", annotation, "image: dunlin.local/hello"));
        assert_ne!(answer.code, 0, "{answer:?}");
        answer.stderr
    };
    let told = refused("dunlin.dev/egress: \"a.example:0\"");
    assert!(
        told.contains("metadata.annotations[dunlin.dev/egress]: Invalid value: \"a.example:0\""),
        "{told}"
    );
    let told = refused("dunlin.dev/entry: listen");
    assert!(told.contains("supported values: \"http\", \"run\""), "{told}");
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    \
                    metadata: {labels: {a: b}, annotations: {dunlin.dev/max-reuse: \"0\"}}\n    \
                    spec: {containers: [{name: c, image: dunlin.local/hello}]}\n";
    let told = namespace.dunlin_with(&["apply", "-f", "-"], template).stderr;
    assert!(told.contains("[dunlin.dev/max-reuse]: Invalid value: \"0\""), "{told}");
}

/// Where a pod's node keeps the core dump of a container.
fn core_file(namespace: &Namespace, pod: &str, container: &str) -> PathBuf {
    let of = |field: &str| namespace.ok(&["get", "pod", pod, "-o", &format!("jsonpath={{{field}}}")]);
    let folder = format!("{}_{pod}_{}", namespace.name, of(".metadata.uid"));
    let logs = Cluster::shared().state().join(of(".spec.nodeName")).join("logs");
    logs.join(folder).join(container).join("core")
}

#[test]
fn a_core_dump_is_fetched_by_who_may_have_it() {
    let namespace = Namespace::new();
    namespace.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - {name: c, image: dunlin.local/crasher, args: [trap]}\n  \
         - {name: d, image: dunlin.local/crasher, args: [exit, '3']}\n",
    );
    namespace.wait_for_status("p", "Error");
    let described = namespace.ok(&["describe", "pod", "p"]);
    assert!(described.contains("`dunlin coredump` prints its core dump"), "{described}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("core.wasm");
    namespace.ok(&["coredump", "pod/p", "-c", "c", "-o", file.to_str().unwrap()]);
    let dump = fs::read(&file).unwrap();
    assert!(dump.starts_with(b"\0asm"), "{:?}", &dump[..8]);
    // The stack of the guest, and what it had in its memory.
    for part in [&b"corestack"[..], b"trapping as told"] {
        assert!(dump.windows(part.len()).any(|window| window == part), "{}", String::from_utf8_lossy(part));
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let refused = |args: &[&str], words: &str| {
        let answer = namespace.dunlin(args);
        assert!(answer.code != 0 && answer.stderr.contains(words), "{args:?}: {answer:?}");
        assert_eq!(answer.stdout, "", "{args:?}");
    };
    // One that is longer than it may be, of which no part passes for all, and one that is no file.
    let core = core_file(&namespace, "p", "c");
    fs::File::options().write(true).open(&core).unwrap().set_len((33 << 20) + 1).unwrap();
    refused(&["coredump", "p", "-c", "c"], "has 34603009 bytes, and 34603008 are sent at most");
    fs::remove_file(&core).unwrap();
    fs::create_dir(&core).unwrap();
    refused(&["coredump", "p", "-c", "c"], "the core dump of container \"c\" cannot be read");
    refused(&["coredump", "p", "-c", "d"], "container \"d\" left no core dump");
    refused(&["coredump", "p"], "a container name must be specified for pod p");
    refused(&["coredump", "none"], "pods \"none\" not found");
    refused(&["coredump", "p", "-c", "c", "--as", "bob"], "cannot get resource \"pods/coredump\"");
    refused(&["coredump", "p", "-c", "c", "-o", "/dev/full"], "/dev/full is no regular file");
}

#[test]
fn a_core_dump_that_breaks_off_is_none() {
    let site = Site::start_with(&["--node-bandwidth", "8Mbit"]);
    site.push("crasher");
    let mut machine = site.join("n1", &site.token(&[]));
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                    - {name: c, image: dunlin.local/crasher, args: [trap]}\n";
    site.ok(&["apply", "-f", "-"], manifest);
    site.wait_for(&["get", "pod", "p", "--no-headers"], |row| row.contains("Error"));
    let uid = site.ok(&["get", "pod", "p", "-o", "jsonpath={.metadata.uid}"], "");
    let core = machine.state.join(format!("logs/default_p_{uid}/c/core"));
    // As large as one may be: it takes half a minute by this line.
    fs::File::options().write(true).open(&core).unwrap().set_len(33 << 20).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("torn.wasm");
    let mut command = Command::new(BINARY);
    command.args(["coredump", "p", "-o", file.to_str().unwrap()]).env("DUNLIN_CONFIG", site.config());
    let fetching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the first of it", || {
        let parts = fs::read_dir(folder.path()).unwrap().flatten();
        let some = parts.flat_map(|entry| entry.metadata()).any(|metadata| metadata.len() > 0);
        if some { Ok(()) } else { Err("nothing came".to_owned()) }
    });
    machine.kill_agent();
    let output = fetching.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("the answer broke off"), "{told}");
    assert!(!file.exists());
}

#[test]
fn a_request_that_traps_is_an_event_and_the_pod_goes_on() {
    let namespace = Namespace::new();
    namespace.apply(&listening("web", "dunlin.dev/entry: http", "image: dunlin.local/service"));
    namespace.wait_for_status("web", "Running");
    let address = namespace.address("web");
    assert_eq!(status(&address, "/"), "200");
    assert_eq!(status(&address, "/trap"), "500");
    wait_until("event", || {
        let events = namespace.ok(&["get", "events"]);
        if events.contains("RequestFailed") && events.contains("1 request to container c failed") {
            Ok(())
        } else {
            Err(events)
        }
    });
    assert_eq!(status(&address, "/"), "200");
    assert_eq!(
        namespace.ok(&["get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]),
        "0"
    );
    // What cannot run says what it is.
    namespace.apply(&listening("not-http", "dunlin.dev/entry: http", "image: dunlin.local/hello"));
    wait_until("reason", || {
        let described = namespace.ok(&["describe", "pod", "not-http"]);
        let said = described.contains("ContainerCannotRun") && described.contains("`wasi:cli/run@0.2");
        if said { Ok(()) } else { Err(described) }
    });
}

#[test]
fn a_guest_reaches_what_its_list_says_and_keeps_what_it_writes() {
    let namespace = Namespace::new();
    let answer = namespace.dunlin(&["create", "configmap", "settings", "--from-literal=colour=red"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let container = "image: dunlin.local/interfaces, command: [interfaces, serve, \"8080\"], workingDir: /data, \
                     envFrom: [{configMapRef: {name: settings}}]";
    namespace.apply(&listening("closed", "dunlin.dev/egress: \"\"", container));
    namespace.apply(&listening("open", "dunlin.dev/egress: \"localhost:443\"", container));
    for pod in ["closed", "open"] {
        namespace.wait_for_status(pod, "Running");
    }
    let said = |pod: &str, words: &[&str]| {
        let answer = namespace.uses(pod, words);
        assert_eq!(answer.code, 0, "{words:?}: {answer:?}");
        answer.stdout
    };
    assert_eq!(said("closed", &["config", "colour"]), "red\n");
    assert_eq!(said("closed", &["folder"]), "/data\n");
    assert!(said("open", &["resolve", "localhost"]).contains("127.0.0.1"));
    assert_ne!(namespace.uses("closed", &["resolve", "localhost"]).code, 0);
    // It listens at its own address although it bound to any.
    let mut stream = TcpStream::connect(namespace.address("closed")).unwrap();
    stream.write_all(b"echo me").unwrap();
    let mut heard = [0; 7];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"echo me");
    // Another container of the namespace on the same node finds what this one wrote, after it was deleted, too.
    said("closed", &["kv", "readings", "set", "last", "17"]);
    let node = namespace.ok(&["get", "pod", "closed", "-o", "jsonpath={.spec.nodeName}"]);
    namespace.ok(&["delete", "pod", "closed", "--grace-period=1"]);
    namespace.apply(
        &listening("later", "", container).replace("spec:\n", &format!("spec:\n  nodeName: {node}\n")),
    );
    namespace.wait_for_status("later", "Running");
    assert_eq!(said("later", &["kv", "readings", "get", "last"]), "17\n");
}
