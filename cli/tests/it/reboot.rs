//! A power cut with nobody to ask: a node with twenty pods comes back from its own disk, whatever its clock says and with a certificate
//! that has expired, and agrees with a coordinator that changed meanwhile without touching a pod that is well.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    cluster::{BINARY, wait_until},
    site::{Machine, Site},
};

/// Config and Secret for all pods, tickers that take their pace from the Config, and one pod that serves pages under a secret name.
fn manifests() -> String {
    let mut text = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: pace}
data: {PERIOD: \"100\"}
---
apiVersion: v1
kind: Secret
metadata: {name: words}
stringData: {name: open-sesame}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: dunlin.local/http-hello
    ports: [{containerPort: 8080}]
    env: [{name: POD_NAME, valueFrom: {secretKeyRef: {name: words, key: name}}}]
"
    .to_owned();
    for number in 1..PODS {
        write!(text, "---\n{}", ticker(&format!("t{number}"))).unwrap();
    }
    text
}

fn ticker(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - name: c\n    image: dunlin.local/ticker\n    args: [\"$(PERIOD)\"]\n    envFrom:\n    - configMapRef: {{name: pace}}\n    \
         - secretRef: {{name: words}}\n"
    )
}

/// Runs `dunlin local` on the machine's state; what it prints.
fn local(machine: &Machine, args: &[&str]) -> Result<String, String> {
    let output =
        Command::new(BINARY).arg("local").args(args).arg("--state").arg(&machine.state).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Name and restarts of every pod that runs and is ready, as the node's own agent says.
fn running(machine: &Machine) -> Result<Vec<(String, String)>, String> {
    let rows = local(machine, &["pods", "--no-headers"])?;
    let rows = rows.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let running = rows.filter(|row| row[2] == "1/1" && row[3] == "Running");
    Ok(running.map(|row| (row[1].to_owned(), row[4].to_owned())).collect())
}

/// The page of pod `web`, from the address that the agent tells.
fn page(machine: &Machine) -> Result<String, String> {
    let described = local(machine, &["describe", "web"])?;
    let address = described.lines().find_map(|line| line.strip_prefix("  8080/TCP:"));
    let address = address.ok_or_else(|| described.clone())?.trim();
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().map_err(|error| error.to_string())
}

/// Container ids by pod, as the coordinator knows them.
fn containers(site: &Site) -> Vec<(String, String, String)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let text = site.ok(&["get", "pods", "-o", path], "");
    let fields = |line: &str| {
        let mut fields = line.split(' ').map(str::to_owned);
        (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
    };
    text.lines().map(fields).collect()
}

/// Waits until all pods run here, and answers how long that took.
fn wait_for_all(machine: &Machine, since: Instant) -> Duration {
    wait_until("all pods Running again", || match running(machine) {
        Ok(pods) if pods.len() == PODS => Ok(()),
        other => Err(format!("{other:?}\n{}", machine.log())),
    });
    since.elapsed()
}

#[test]
fn a_node_comes_back_from_a_power_cut_with_nobody_to_ask() {
    let mut site = Site::start_with(&["--node-certificate-lifetime", "5s"]);
    ["ticker", "http-hello"].into_iter().for_each(|module| site.push(module));
    let mut machine = site.join("n1", &site.token(&[]));
    site.ok(&["apply", "-f", "-"], &manifests());
    wait_for_all(&machine, Instant::now());
    assert!(page(&machine).unwrap().contains("hello from pod open-sesame on node"));
    // The node's own memory of which runs began is written within a second.
    wait_until("recorded statuses", || match local(&machine, &["describe"]) {
        Ok(text) if text.contains("Statuses:                0\n") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_millis(1_200));

    // The power goes, the coordinator's too, and the machine's clock is lost with it. It stays away until its certificate has expired.
    site.kill_coordinator();
    machine.kill_agent();
    machine.kill_runner();
    std::thread::sleep(CERTIFICATE_LIFE + Duration::from_secs(1));
    machine.set_clock(EPOCH);
    let start = Instant::now();
    machine.start_agent(&[]);
    let took = wait_for_all(&machine, start);
    println!("{PODS} pods Running {took:?} after the agent's start");
    assert!(!machine.has_clock() || machine.log().contains("1970-01-02T00:0"), "{}", machine.log());
    assert!(took < BACK_WITHIN, "{took:?}");
    let restarts: Vec<String> =
        running(&machine).unwrap().into_iter().map(|(_, restarts)| restarts).collect();
    assert!(restarts.iter().all(|restarts| restarts.starts_with('1')), "{restarts:?}");
    assert!(page(&machine).unwrap().contains("hello from pod open-sesame on node"));
    let described = local(&machine, &["describe"]).unwrap();
    assert!(described.contains("not connected since the agent started"), "{described}");
    assert!(
        described.lines().any(|line| line.contains("Logs:") && line.contains(" of at most ")),
        "{described}"
    );
    assert!(described.contains("default/t1"), "what waits to be reported is named: {described}");
    let log = local(&machine, &["logs", "t1", "--tail", "1"]).unwrap();
    assert!(log.starts_with("tick "), "{log}");
    let previous = local(&machine, &["logs", "t1", "--previous", "--tail", "1"]).unwrap();
    assert!(previous.starts_with("tick "), "{previous}");

    a_changed_coordinator_returns(&mut site, &mut machine);
}

/// While the node is away, pods are deleted and added and a secret is rotated. What is left alone is not touched.
fn a_changed_coordinator_returns(site: &mut Site, machine: &mut Machine) {
    // It comes back without the node, whose agent is away for a moment; the runner and its pods go on.
    machine.kill_agent();
    site.start_coordinator();
    let late_renewals = late_renewals(site);
    site.ok(&["delete", "pod", "t1", "t2", "t3", "--wait=false"], "");
    site.ok(&["delete", "secret", "words"], "");
    let rotated = "apiVersion: v1\nkind: Secret\nmetadata: {name: words}\nstringData: {name: rotated}\n";
    site.ok(&["apply", "-f", "-"], rotated);
    machine.start_agent(&[]);
    site.ok(&["apply", "-f", "-"], &format!("{}---\n{}", ticker("new1"), ticker("new2")));
    site.wait_for_ready(machine);
    wait_until("a renewal of the expired certificate", || {
        if self::late_renewals(site) > late_renewals { Ok(()) } else { Err(site.log() + &machine.log()) }
    });
    let wanted = PODS - 3 + 2;
    wait_until("the right end state on the node", || match running(machine) {
        Ok(pods) if pods.len() == wanted && !pods.iter().any(|(name, _)| name == "t2") => Ok(()),
        other => Err(format!("{other:?}\n{}", machine.log())),
    });
    site.wait_for(&["get", "pods", "--no-headers"], |rows| {
        rows.lines().filter(|row| row.split_whitespace().nth(2) == Some("Running")).count() == wanted
            && rows.lines().count() == wanted
    });
    for (pod, id, restarts) in containers(site) {
        let expected = if pod.starts_with("new") { "0" } else { "1" };
        assert_eq!(restarts, expected, "{pod} {id}");
    }
    // A pod that runs keeps what it was started with; one that starts now has the new words.
    assert!(page(machine).unwrap().contains("hello from pod open-sesame on node"));
    let restarted = local(machine, &["restart", "web"]).unwrap();
    assert_eq!(restarted, "container c of pod web restarted\n");
    wait_until("the rotated secret", || match page(machine) {
        Ok(text) if text.contains("hello from pod rotated on node") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let events = site.wait_for(&["events"], |text| text.contains("restarted by an order on the node"));
    assert!(events.contains("Pod/web"), "{events}");
    // A session tells of the node's health a moment after it opened.
    site.wait_for(&["describe", "node", "n1"], |links| {
        links.contains("(in step)") && links.contains("Disk Writes:")
    });
}

/// How many certificates were renewed that had expired.
fn late_renewals(site: &Site) -> usize {
    site.log().matches("renewed the node's certificate before a session").count()
}

#[test]
fn a_damaged_state_is_refused_with_the_way_out_and_begun_anew() {
    let site = Site::start();
    site.push("ticker");
    let mut machine = site.join("n1", &site.token(&[]));
    let pace = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pace}\ndata: {PERIOD: \"100\"}\n---\n\
                apiVersion: v1\nkind: Secret\nmetadata: {name: words}\nstringData: {a: b}\n---\n";
    site.ok(&["apply", "-f", "-"], &format!("{pace}{}", ticker("t1")));
    wait_until("a running pod", || match running(&machine) {
        Ok(pods) if pods.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let refused = local(&machine, &["reset"]).unwrap_err();
    assert!(refused.contains("stop it first"), "{refused}");
    machine.kill_agent();
    let readable = local(&machine, &["reset"]).unwrap_err();
    assert!(readable.contains("needs no reset"), "{readable}");

    let file = machine.state.join("node.redb");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    machine.start_agent(&[]);
    wait_until("a refusal", || {
        let log = machine.log();
        if log.contains("dunlin local reset --state") { Ok(()) } else { Err(log) }
    });
    let before = containers(&site);
    let reset = local(&machine, &["reset"]).unwrap();
    assert!(reset.contains("set aside"), "{reset}");
    machine.kill_agent();
    machine.start_agent(&[]);
    wait_until("the same container, adopted", || match running(&machine) {
        Ok(pods) if pods == [("t1".to_owned(), "0".to_owned())] => Ok(()),
        other => Err(format!("{other:?}\n{}", machine.log())),
    });
    assert_eq!(containers(&site), before);
}

const PODS: usize = 20;

/// The clock of a machine without one; it runs.
const EPOCH: &str = "@1970-01-02 00:00:00";

/// As short as it can be.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(5);

/// What a node is promised to need; the debug build of the tests on a busy machine is given more.
const BACK_WITHIN: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(15) } else { Duration::from_secs(3) };
