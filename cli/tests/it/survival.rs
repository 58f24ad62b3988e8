//! Processes killed without warning: pods go on, and nothing that was acknowledged is lost.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use crate::{
    cluster::{BINARY, wait_until},
    site::{Machine, Process, Site},
};

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: ticker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: dunlin.local/ticker, args: [\"50\"]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: dunlin.local/http-hello, ports: [{containerPort: 8080}]}
";

/// A node with two pods that run.
fn running() -> (Site, Machine) {
    let site = Site::start();
    let machine = site.join("n1", &site.token(&[]));
    ["ticker", "http-hello"].into_iter().for_each(|module| site.push(module));
    site.ok(&["apply", "-f", "-"], PODS);
    wait_for_running(&site);
    (site, machine)
}

fn wait_for_running(site: &Site) {
    site.wait_for(&["get", "pods", "--no-headers"], |rows| {
        rows.lines().filter(|row| row.split_whitespace().nth(2) == Some("Running")).count() == 2
    });
}

/// A field of the status of a pod's only container.
fn status(site: &Site, pod: &str, field: &str) -> String {
    let path = format!("jsonpath={{.status.containerStatuses[0].{field}}}");
    site.ok(&["get", "pod", pod, "-o", &path], "")
}

/// Where pod `web` is reached on this machine.
fn web_address(site: &Site) -> String {
    let described = site.wait_for(&["describe", "pod", "web"], |text| text.contains("\n  8080/TCP:"));
    let line = described.lines().find_map(|line| line.strip_prefix("  8080/TCP:"));
    line.unwrap().trim().to_owned()
}

/// Asks pod `web` for a page.
fn page(address: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(answer) }
}

/// Waits until a run of the ticker has printed `more` further lines.
fn wait_for_ticks(machine: &Machine, run: u32, more: usize) {
    let before = machine.printed("ticker", "c", run).len();
    wait_until(&format!("{more} more ticks of run {run}"), || {
        let printed = machine.printed("ticker", "c", run).len();
        if printed >= before + more {
            Ok(())
        } else {
            Err(format!("{printed}, was {before}\n{}", machine.log()))
        }
    });
}

/// Every tick from the first on, none twice and none missing: one container printed them all.
fn check_ticks(lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("tick {}", index + 1));
    }
}

#[test]
fn a_killed_agent_adopts_its_pods_without_the_coordinator() {
    let (mut site, mut machine) = running();
    let web = web_address(&site);
    let ids = ["ticker", "web"].map(|pod| status(&site, pod, "containerID"));
    let runner = machine.runner();
    assert!(ids.iter().all(|id| id.contains("://")), "{ids:?}");

    site.kill_coordinator();
    machine.kill_agent();
    wait_for_ticks(&machine, 0, 5);
    page(&web).unwrap();
    machine.start_agent(&[]);
    wait_until("ready agent", || {
        let log = machine.log();
        if log.matches("node is ready").count() == 2 { Ok(()) } else { Err(log) }
    });
    wait_for_ticks(&machine, 0, 5);
    page(&web).unwrap();

    site.start_coordinator();
    site.wait_for_ready(&machine);
    wait_for_running(&site);
    // What the new agent says of its pods, and not what the coordinator still knew.
    let ticks = machine.printed("ticker", "c", 0).len();
    let log = wait_until("log through the API", || {
        let answer = site.dunlin(&["logs", "ticker"], "");
        let whole = answer.stdout.lines().count() >= ticks;
        if answer.code == 0 && whole { Ok(answer.stdout) } else { Err(format!("{answer:?}")) }
    });
    check_ticks(&log.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(["ticker", "web"].map(|pod| status(&site, pod, "containerID")), ids);
    assert_eq!(["ticker", "web"].map(|pod| status(&site, pod, "restartCount")), ["0", "0"]);
    assert_eq!(machine.runner(), runner);
    page(&web).unwrap();
}

#[test]
fn pods_come_back_without_the_coordinator_when_agent_and_runner_are_killed() {
    let (mut site, mut machine) = running();
    let web = web_address(&site);
    let ids = ["ticker", "web"].map(|pod| status(&site, pod, "containerID"));
    // A node writes down within a second that a container started; until then the next run takes the number of the lost one.
    wait_for_ticks(&machine, 0, 60);

    site.kill_coordinator();
    machine.kill_agent();
    machine.kill_runner();
    page(&web).unwrap_err();
    machine.start_agent(&[]);
    wait_for_ticks(&machine, 1, 5);
    wait_until("page of the pod that is back", || page(&web));
    check_ticks(&machine.printed("ticker", "c", 1));

    site.start_coordinator();
    site.wait_for_ready(&machine);
    for (pod, id) in ["ticker", "web"].into_iter().zip(ids) {
        let path = "jsonpath={.status.containerStatuses[0].containerID}";
        site.wait_for(&["get", "pod", pod, "-o", path], |now| !now.is_empty() && now != id);
        assert_eq!(status(&site, pod, "restartCount"), "1");
        assert!(!status(&site, pod, "lastState.terminated").is_empty());
    }
    wait_for_running(&site);
    assert_eq!(web_address(&site), web, "a pod keeps its address");
}

#[test]
fn a_killed_coordinator_loses_nothing_that_it_acknowledged() {
    let (mut site, machine) = running();
    let ids = ["ticker", "web"].map(|pod| status(&site, pod, "containerID"));
    let home = tempfile::tempdir().unwrap();
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::start(&site, home.path(), number)).collect();
    // In the middle of it all.
    wait_until("first half of the writes", || {
        let done: usize = writers.iter().map(|writer| writer.acknowledged().len()).sum();
        if done >= WRITERS * WRITES_EACH / 2 { Ok(()) } else { Err(format!("{done}")) }
    });
    site.kill_coordinator();
    writers.iter_mut().for_each(|writer| drop(writer.process.take()));
    let acknowledged: BTreeSet<String> = writers.iter().flat_map(Writer::acknowledged).collect();
    assert!(acknowledged.len() < WRITERS * WRITES_EACH, "the writes ended before the kill");
    wait_for_ticks(&machine, 0, 5);

    site.start_coordinator();
    let listed = site.ok(&["get", "cm", "-o", "name"], "");
    let kept: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?}");
    for writer in &writers {
        let again = site.ok(&["apply", "-f", writer.manifest.to_str().unwrap()], "");
        assert_eq!(again.lines().count(), WRITES_EACH);
        for object in writer.acknowledged() {
            assert!(again.contains(&format!("{object} unchanged\n")), "{object}: {again}");
        }
    }
    site.wait_for_ready(&machine);
    assert_eq!(["ticker", "web"].map(|pod| status(&site, pod, "containerID")), ids);
    assert_eq!(["ticker", "web"].map(|pod| status(&site, pod, "restartCount")), ["0", "0"]);
    check_ticks(&machine.printed("ticker", "c", 0));
}

/// A command that creates many objects.
struct Writer {
    manifest: std::path::PathBuf,
    output: std::path::PathBuf,
    /// Killed with the writer.
    process: Option<Process>,
}

impl Writer {
    fn start(site: &Site, home: &std::path::Path, number: usize) -> Self {
        let (manifest, output) = (home.join(format!("{number}.yaml")), home.join(format!("{number}.out")));
        let object = |index| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: w{number}-{index}}}\ndata: {{n: \"{index}\"}}\n---\n"
            )
        };
        fs::write(&manifest, (0..WRITES_EACH).map(object).collect::<String>()).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["apply", "-f"]).arg(&manifest).env("DUNLIN_CONFIG", site.config());
        let process = Some(Process::spawn(command, &output));
        Self { manifest, output, process }
    }

    /// What was said to be stored.
    fn acknowledged(&self) -> BTreeSet<String> {
        let said = fs::read_to_string(&self.output).unwrap();
        let whole = said.split_inclusive('\n').filter_map(|line| line.strip_suffix(" created\n"));
        whole.map(str::to_owned).collect()
    }
}

const WRITERS: usize = 8;
const WRITES_EACH: usize = 125;
