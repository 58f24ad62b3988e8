//! Networks by plugins: a scripted one that writes down how it is run, and those of the CNI project.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dunlin_link::pod::Protocol;
use dunlin_pod_network::{AttachError, Config, HostPort, Network, PluginConfig, Problem};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    machine::{Machine, OUTSIDE, Pod, UPLINK, uids},
    space::Space,
    talk::{ask_tcp, serve_tcp},
};

/// Folders of a node, and a network by what is in them.
struct Node {
    folder: TempDir,
}

impl Node {
    /// With a configuration; programs are those of `bin` and of the CNI project.
    fn new(list: &Value) -> Self {
        let node = Self { folder: TempDir::new().unwrap() };
        for part in ["conf", "bin"] {
            fs::create_dir(node.path().join(part)).unwrap();
        }
        // Neither the first by name nor the first by time.
        node.configure("20-other.conflist", &json!({"cniVersion": "1.0.0", "name": "no", "type": "nothing"}));
        node.configure("10-ours.conflist", list);
        fs::write(node.path().join("conf/00-readme.txt"), "not this").unwrap();
        node
    }

    fn configure(&self, name: &str, list: &Value) {
        fs::write(self.path().join("conf").join(name), list.to_string()).unwrap();
    }

    /// A plugin that appends to `log` and prints a result, unless `fail` is there.
    fn script(&self, name: &str) {
        let log = self.path().join("log").display().to_string();
        let text = format!(
            r#"#!/bin/sh
read -r input
printf '%s|%s|%s|%s|%s\n' {name} "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" "$input" >> {log}
if [ -e {log}.fail.$CNI_COMMAND ]; then
    echo '{{"cniVersion":"1.1.0","code":11,"msg":"no luck","details":"today"}}'
    exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then
    test -e "$CNI_NETNS" || exit 1
    echo '{{"cniVersion":"1.1.0","ips":[{{"address":"10.99.0.7/24"}},{{"address":"fd00::7/64"}}],"from":"{name}"}}'
fi
"#
        );
        let path = self.path().join("bin").join(name);
        write_program(&path, &text);
    }

    fn open(&self) -> Network {
        let config = PluginConfig {
            conf_dir: self.path().join("conf"),
            bin_dirs: vec![self.path().join("bin"), "/usr/lib/cni".into()],
            state_dir: self.path().join("state"),
        };
        Network::open(Config::Plugins(config)).unwrap()
    }

    /// What the scripted plugins wrote since the last time, each line's name, command and input.
    fn log(&self) -> Vec<(String, Value)> {
        let path = self.path().join("log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        // It may not be there.
        let _ = fs::remove_file(&path);
        let line = |line: &str| {
            let parts: Vec<_> = line.splitn(5, '|').collect();
            (format!("{} {} {}", parts[0], parts[1], parts[3]), serde_json::from_str(parts[4]).unwrap())
        };
        text.lines().map(line).collect()
    }

    fn fail(&self, command: &str) {
        fs::write(self.path().join(format!("log.fail.{command}")), "").unwrap();
    }

    fn succeed(&self, command: &str) {
        fs::remove_file(self.path().join(format!("log.fail.{command}"))).unwrap();
    }

    fn records(&self) -> usize {
        fs::read_dir(self.path().join("state")).unwrap().count()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn names(log: &[(String, Value)]) -> Vec<&str> {
    log.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn plugins_run_in_order_and_back_again() {
    if !Space::can_be() {
        return;
    }
    let list = json!({"cniVersion": "1.1.0", "name": "ours", "plugins": [
        {"type": "first", "color": "red"},
        {"type": "second", "capabilities": {"portMappings": true}},
    ]});
    let node = Node::new(&list);
    node.script("first");
    node.script("second");
    let network = node.open();
    assert_eq!(network.status().problems, []);
    let pod = Pod { host_ports: vec![port(8080)], ..Pod::new(1) };

    let expected: Vec<IpAddr> = vec!["10.99.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    assert_eq!(network.attach(&pod.attachment()).unwrap(), expected);
    let log = node.log();
    assert_eq!(names(&log), ["first ADD eth0", "second ADD eth0"]);
    let first = json!({"cniVersion": "1.1.0", "name": "ours", "type": "first", "color": "red"});
    assert_eq!(log[0].1, first);
    assert_eq!(log[1].1["prevResult"]["from"], "first");
    assert_eq!(log[1].1["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);
    assert_eq!(log[1].1["capabilities"], Value::Null);

    // Adopted by the next agent.
    drop(network);
    let network = node.open();
    assert_eq!(network.attach(&pod.attachment()).unwrap(), expected);
    assert_eq!(names(&node.log()), ["first CHECK eth0", "second CHECK eth0"]);

    // Something is wrong: the pod keeps what it has, and it is said.
    node.fail("CHECK");
    assert_eq!(network.attach(&pod.attachment()).unwrap(), expected);
    assert_eq!(names(&node.log()), ["first CHECK eth0"]);
    let problems = network.status().problems;
    assert!(
        matches!(&problems[..], [Problem::PluginCheck { pod: found, .. }] if *found == pod.uid),
        "{problems:?}"
    );

    // Other ports: undone, and done again.
    let pod = Pod { host_ports: vec![port(8081)], ..pod };
    assert_eq!(network.attach(&pod.attachment()).unwrap(), expected);
    let log = node.log();
    assert_eq!(names(&log), ["second DEL eth0", "first DEL eth0", "first ADD eth0", "second ADD eth0"]);
    assert_eq!(log[1].1["prevResult"]["from"], "second");
    assert_eq!(network.status().problems, []);

    // DEL is as ADD was, whatever the configuration says by now.
    node.configure("10-ours.conflist", &json!({"cniVersion": "1.1.0", "name": "new", "type": "first"}));
    node.fail("DEL");
    let error = network.detach(&pod.uid).unwrap_err();
    assert_eq!(error.to_string(), "plugin `second`, DEL: no luck; today");
    assert_eq!(node.records(), 1);
    node.log();
    node.succeed("DEL");
    network.keep(&uids([])).unwrap();
    let log = node.log();
    assert_eq!(names(&log), ["second DEL eth0", "first DEL eth0", "first GC "]);
    assert_eq!(log[0].1["name"], "ours");
    assert_eq!(log[2].1["cni.dev/valid-attachments"], json!([]));
    assert_eq!(node.records(), 0);
    network.detach(&pod.uid).unwrap();
    assert_eq!(names(&node.log()), Vec::<&str>::new());
}

#[test]
fn what_failed_is_undone() {
    if !Space::can_be() {
        return;
    }
    let node = Node::new(&json!({"cniVersion": "1.1.0", "name": "ours", "type": "first"}));
    let network = node.open();
    let pod = Pod::new(1);
    let error = network.attach(&pod.attachment()).unwrap_err();
    assert_eq!(error.to_string(), "plugin `first` is in none of the folders of plugins");
    network.detach(&pod.uid).unwrap_err();
    node.script("first");
    node.fail("ADD");
    let error = network.attach(&pod.attachment()).unwrap_err();
    assert_eq!(error.to_string(), "plugin `first`, ADD: no luck; today");
    assert_eq!(names(&node.log()), ["first DEL eth0", "first ADD eth0"]);
    node.succeed("ADD");
    network.attach(&pod.attachment()).unwrap();
    assert_eq!(names(&node.log()), ["first DEL eth0", "first ADD eth0"]);

    for file in ["10-ours.conflist", "20-other.conflist"] {
        fs::remove_file(node.path().join("conf").join(file)).unwrap();
    }
    let problems = network.status().problems;
    assert!(
        matches!(&problems[..], [Problem::Plugins { why }] if why.starts_with("no network configuration"))
    );
    let error = network.attach(&Pod::new(2).attachment()).unwrap_err();
    assert!(matches!(error, AttachError::Plugin(_)), "{error}");
    network.detach(&pod.uid).unwrap();
    assert_eq!(node.records(), 0);
}

#[test]
fn who_keeps_the_pipes_of_a_plugin_is_not_waited_for() {
    if !Space::can_be() {
        return;
    }
    let node = Node::new(&json!({"cniVersion": "1.1.0", "name": "ours", "type": "first"}));
    let text = r#"#!/bin/sh
setsid sleep 300 <&0 &
echo $! > "$0.pid"
sleep 300 <&0 &
read -r input
echo '{"cniVersion":"1.1.0","ips":[{"address":"10.99.0.7/24"}]}'
"#;
    let program = node.path().join("bin/first");
    write_program(&program, text);
    let network = node.open();
    let pod = Pod::new(1);
    let begun = Instant::now();
    let addresses = network.attach(&pod.attachment()).unwrap();
    assert_eq!(addresses, [IpAddr::from(Ipv4Addr::new(10, 99, 0, 7))]);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let left = fs::read_to_string(node.path().join("bin/first.pid")).unwrap();
    let left = rustix::process::Pid::from_raw(left.trim().parse().unwrap()).unwrap();
    // It is there still, with the pipes.
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_damaged_record_is_set_aside() {
    if !Space::can_be() {
        return;
    }
    let node = Node::new(&json!({"cniVersion": "1.1.0", "name": "ours", "type": "first"}));
    node.script("first");
    let network = node.open();
    let pods = [Pod::new(1), Pod::new(2), Pod::new(3)];
    for pod in &pods {
        network.attach(&pod.attachment()).unwrap();
    }
    node.log();
    let record = |pod: &Pod| node.path().join("state").join(format!("{}.json", pod.uid));
    fs::write(record(&pods[0]), "{\"list\":").unwrap();
    fs::write(record(&pods[2]), "").unwrap();
    // The others are taken out all the same.
    network.keep(&uids([&pods[2]])).unwrap();
    assert_eq!(names(&node.log()), ["first DEL eth0", "first GC "]);
    let problems = network.status().problems;
    assert!(
        matches!(&problems[..], [Problem::DamagedRecord { pod, path }] if *pod == pods[0].uid && path.exists()),
        "{problems:?}"
    );
    // One that is there is put in anew.
    network.attach(&pods[2].attachment()).unwrap();
    assert_eq!(names(&node.log()), ["first ADD eth0"]);
    network.detach(&pods[0].uid).unwrap();
    network.detach(&pods[2].uid).unwrap();
    assert_eq!(names(&node.log()), ["first DEL eth0"]);
    assert_eq!(network.status().problems.len(), 2);
}

#[test]
fn plugins_of_the_cni_project_work() {
    let Some(machine) = Machine::new() else { return };
    for file in
        ["/usr/lib/cni/bridge", "/usr/lib/cni/host-local", "/usr/lib/cni/portmap", "/usr/sbin/iptables"]
    {
        if !Path::new(file).exists() {
            println!("SKIPPED: no {file}");
            return;
        }
    }
    let data = TempDir::new().unwrap();
    let node = Node::new(&json!({"cniVersion": "1.0.0", "name": "ours", "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
            "ipam": {
                "type": "host-local", "dataDir": data.path(), "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": "10.99.0.0/24"}]],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]}));
    let network = machine.space.run(|| node.open());
    let pod = Pod { host_ports: vec![port(8080)], ..Pod::new(1) };
    serve_tcp(&pod.space, 80);
    serve_tcp(&machine.outside, 80);
    let before = machine.links();
    for _ in 0..2 {
        let addresses = machine.space.run(|| network.attach(&pod.attachment())).unwrap();
        assert_eq!(addresses, [IpAddr::from(Ipv4Addr::new(10, 99, 0, 2))]);
        assert_eq!(ask_tcp(&pod.space, OUTSIDE, 80).unwrap(), IpAddr::from(UPLINK));
        assert_eq!(ask_tcp(&machine.outside, UPLINK, 8080).unwrap(), IpAddr::from(OUTSIDE));
    }
    machine.space.run(|| network.keep(&uids([&pod]))).unwrap();
    assert_eq!(ask_tcp(&machine.outside, UPLINK, 8080).unwrap(), IpAddr::from(OUTSIDE));
    machine.space.run(|| network.keep(&uids([]))).unwrap();
    assert!(ask_tcp(&machine.outside, UPLINK, 8080).is_err());
    // The bridge stays; plugins have no command that would take it away.
    assert_eq!(machine.links().len(), before.len() + 1);
    assert_eq!(node.records(), 0);
}

/// A port of TCP that leads to port 80.
fn port(host_port: u16) -> HostPort {
    HostPort { protocol: Protocol::Tcp, host_ip: None, host_port, container_port: 80 }
}

/// Writes a program as another process: while this one had it open, whatever a test beside this one starts would have, too, and it could
/// not be run.
fn write_program(path: &Path, text: &str) {
    let mut shell = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}
