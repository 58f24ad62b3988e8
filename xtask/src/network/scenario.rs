//! The scenarios: a condition of the line, what happens meanwhile, and what must be so in the end.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    line::{Carried, Condition, Passes},
    site::{NODE, NODE_MOVED, Site},
};
use crate::step;

/// One of them.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Whether the tests have time for it.
    pub(super) is_short: bool,
    pub(super) run: fn(&Path, u64) -> Result<Value>,
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "far-lossy",
        about: "300 ms each way, one packet in ten lost, some reordered",
        is_short: false,
        run: |dunlin, seed| run(dunlin, seed, FAR_LOSSY, |_, _| Ok(json!({}))),
    },
    Scenario {
        name: "narrow",
        about: "256 kbit/s, one packet in twenty lost",
        is_short: false,
        run: |dunlin, seed| run(dunlin, seed, NARROW, |_, _| Ok(json!({}))),
    },
    Scenario {
        name: "no-udp",
        about: "UDP blocked from the start, and let through later",
        is_short: false,
        run: |dunlin, seed| run(dunlin, seed, NO_UDP, let_udp_through),
    },
    Scenario {
        name: "address-change",
        about: "the node gets another address while its log is followed",
        is_short: true,
        run: |dunlin, seed| run(dunlin, seed, NEAR, change_address),
    },
    Scenario {
        name: "flaps",
        about: "for five minutes, ten seconds without the line and ten with it",
        is_short: false,
        run: |dunlin, seed| run(dunlin, seed, NEAR, flap),
    },
];

const NEAR: Condition = Condition { delay: Duration::from_millis(20), ..Condition::GOOD };

const FAR_LOSSY: Condition = Condition {
    delay: Duration::from_millis(300),
    jitter: Duration::from_millis(20),
    loss: 0.1,
    ..Condition::GOOD
};

const NARROW: Condition = Condition {
    delay: Duration::from_millis(40),
    loss: 0.05,
    bits_per_second: Some(256_000),
    ..Condition::GOOD
};

const NO_UDP: Condition = Condition { passes: Passes::NoUdp, ..NEAR };

/// What every scenario has: join, deploy, change, delete, follow a log; `meanwhile` is what it has beside.
fn run(
    dunlin: &Path,
    seed: u64,
    condition: Condition,
    meanwhile: fn(&mut Site, Condition) -> Result<Value>,
) -> Result<Value> {
    let mut site = Site::start(dunlin, condition, seed)?;
    let mut times = serde_json::Map::new();
    push_modules(&site)?;
    let start = Instant::now();
    site.start_node(&[])?;
    site.wait("Ready node", PATIENCE, ready)?;
    times.insert("join".into(), seconds(start.elapsed()));
    let joined = site.line.carried();

    let start = Instant::now();
    site.dunlin(
        &["apply", "-f", "-"],
        &[config("one"), ticker("stays", "small"), ticker("goes", "small")].concat(),
    )?;
    site.wait("running pod", PATIENCE, |site| running(site, "stays").and_then(|()| running(site, "goes")))?;
    times.insert("twoPodsRunning".into(), seconds(start.elapsed()));
    let before = identity(&site, "stays")?;

    let start = Instant::now();
    site.dunlin(&["apply", "-f", "-"], &ticker("large", "large"))?;
    site.wait("pod with 1 MiB of module", PATIENCE, |site| running(site, "large"))?;
    times.insert("oneMebibyteModuleRunning".into(), seconds(start.elapsed()));

    let start = Instant::now();
    site.dunlin(&["apply", "-f", "-"], &[config("two"), ticker("later", "small")].concat())?;
    site.dunlin(&["delete", "pod", "goes", "--wait=false", "--grace-period=1"], "")?;
    site.wait("changed set of pods", PATIENCE, |site| {
        running(site, "later")?;
        ensure!(site.object("pod", "goes").is_err(), "the deleted pod is still there");
        let config = site.dunlin(&["logs", "later"], "")?;
        ensure!(config.contains("tick 1"), "no log yet");
        Ok(())
    })?;
    times.insert("changed".into(), seconds(start.elapsed()));
    follow(&mut site)?;
    site.wait("followed log", PATIENCE, |site| followed(site, 5))?;
    let deployed = site.line.carried();

    let extra = meanwhile(&mut site, condition)?;
    let least = lines(&site) + 10;
    site.wait("rest of the log", PATIENCE, |site| followed(site, least))?;
    check_log(&site.log(FOLLOWED))?;
    let (after, _) = site.wait("pod after all", PATIENCE, |site| identity(site, "stays"))?;
    ensure!(before == after, "the pod was {before} and is {after}");
    let node = site.object("node", "n1")?;
    Ok(json!({
        "times": times,
        "podUnchanged": after,
        "bytes": {
            "join": moved([Carried::default(); 2], joined),
            "deploy": moved(joined, deployed),
            "rest": moved(deployed, site.line.carried()),
        },
        "sessionsOpened": site.log("coordinator.log").matches("session opened").count(),
        "ready": condition_of(&node, "Ready"),
        "meanwhile": extra,
    }))
}

fn let_udp_through(site: &mut Site, _: Condition) -> Result<Value> {
    ensure!(site.log("node.log").contains("TCP"), "the node did not say that it uses TCP");
    site.line.set(NEAR);
    // The log that is followed keeps the session on TCP; the scenario looks at it first, then lets go.
    thread::sleep(Duration::from_secs(25));
    let stayed = !site.log("node.log").contains("carrier=UDP");
    ensure!(stayed, "the session left TCP although a log was being read");
    site.stop_following();
    let (_, took) = site.wait("session by UDP", Duration::from_secs(120), |site| {
        ensure!(site.log("node.log").contains("carrier=UDP"), "still by TCP");
        Ok(())
    })?;
    follow(site)?;
    Ok(json!({"backOnUdpAfter": seconds(took)}))
}

fn change_address(site: &mut Site, _: Condition) -> Result<Value> {
    let sessions = |site: &Site| site.log("coordinator.log").matches("session opened").count();
    let before = sessions(site);
    let mut gaps = Vec::new();
    for (from, to) in [(NODE, NODE_MOVED), (NODE_MOVED, NODE)] {
        let lines = lines(site);
        site.move_node(from, to)?;
        let (_, took) = site.wait("log from the new address", Duration::from_secs(30), |site| {
            ensure!(self::lines(site) > lines + 1, "silence");
            Ok(())
        })?;
        gaps.push(seconds(took));
    }
    ensure!(sessions(site) == before, "the session was opened anew");
    Ok(json!({"linesAgainAfter": gaps, "sessionsBefore": before}))
}

fn flap(site: &mut Site, condition: Condition) -> Result<Value> {
    let mut pods = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(300) {
        site.line.set(Condition { passes: Passes::Nothing, ..condition });
        thread::sleep(Duration::from_secs(5));
        pods += 1;
        site.dunlin(&["apply", "-f", "-"], &ticker(&format!("flap-{pods}"), "small"))?;
        if pods > 2 {
            site.dunlin(
                &["delete", "pod", &format!("flap-{}", pods - 2), "--wait=false", "--grace-period=1"],
                "",
            )?;
        }
        thread::sleep(Duration::from_secs(5));
        site.line.set(condition);
        thread::sleep(Duration::from_secs(10));
    }
    let (_, took) = site.wait("convergence", Duration::from_secs(90), |site| {
        running(site, &format!("flap-{pods}"))?;
        running(site, &format!("flap-{}", pods - 1))?;
        ensure!(site.object("pod", &format!("flap-{}", pods - 2)).is_err(), "a deleted pod is still there");
        Ok(())
    })?;
    for pod in [pods - 1, pods] {
        identity(site, &format!("flap-{pod}"))?;
    }
    // A log that was followed may have ended with a session; it is followed anew.
    site.stop_following();
    follow(site)?;
    Ok(json!({"podsMade": pods, "convergedAfter": seconds(took)}))
}

fn follow(site: &mut Site) -> Result<()> {
    site.follow(&["logs", "stays", "-f"], FOLLOWED)
}

fn lines(site: &Site) -> usize {
    site.log(FOLLOWED).lines().count()
}

fn followed(site: &Site, least: usize) -> Result<()> {
    let lines = lines(site);
    ensure!(lines >= least, "{lines} lines of log");
    Ok(())
}

/// The usual module, and the same with a section of 1 MiB that nothing can compress.
fn push_modules(site: &Site) -> Result<()> {
    let file = step::target_dir().join("workloads/ticker.wasm");
    let mut module = fs::read(&file).with_context(|| format!("no guest {}", file.display()))?;
    site.dunlin(&["push", &file.to_string_lossy(), "small"], "")?;
    let mut section = b"\x03pad".to_vec();
    section.extend((0..(1_u32 << 18)).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()));
    module.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        module.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    module.push(u8::try_from(length).unwrap_or(0));
    module.extend(section);
    let large = site.path("large.wasm");
    fs::write(&large, module)?;
    site.dunlin(&["push", &large.to_string_lossy(), "large"], "")?;
    Ok(())
}

fn config(value: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{value: {value}}}\n")
}

fn ticker(name: &str, module: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: main\n    image: dunlin.local/{module}\n    args: ['1000']\n    env:\n    - name: VALUE\n      \
         valueFrom: {{configMapKeyRef: {{name: settings, key: value}}}}\n"
    )
}

fn ready(site: &Site) -> Result<()> {
    let status = condition_of(&site.object("node", "n1")?, "Ready");
    ensure!(status == "True", "Ready is {status}");
    Ok(())
}

fn running(site: &Site, pod: &str) -> Result<()> {
    let phase = site.object("pod", pod)?["status"]["phase"].as_str().unwrap_or("no phase").to_owned();
    ensure!(phase == "Running", "pod {pod}: {phase}");
    Ok(())
}

/// Which container it is; fails when it was ever restarted.
fn identity(site: &Site, pod: &str) -> Result<String> {
    let object = site.object("pod", pod)?;
    let status = &object["status"]["containerStatuses"][0];
    match (status["restartCount"].as_u64(), status["containerID"].as_str()) {
        (Some(0), Some(id)) => Ok(id.to_owned()),
        _ => bail!("pod {pod}: {status}"),
    }
}

fn condition_of(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("Unknown").to_owned()
}

/// Ticks count up by one, from one: nothing is lost, repeated or started anew.
fn check_log(text: &str) -> Result<()> {
    for (number, line) in text.lines().enumerate() {
        ensure!(line == format!("tick {}", number + 1), "line {} of the log is {line:?}", number + 1);
    }
    Ok(())
}

fn moved(before: [Carried; 2], after: [Carried; 2]) -> Value {
    let difference = |direction: usize| {
        let (before, after) = (before[direction], after[direction]);
        json!({
            "bytes": after.bytes - before.bytes,
            "packets": after.packets - before.packets,
            "lost": after.lost - before.lost,
        })
    };
    json!({"toNode": difference(0), "toCoordinator": difference(1)})
}

fn seconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 100.0).round() / 100.0)
}

/// Where a followed log goes.
const FOLLOWED: &str = "follow.log";

/// For each step, on the worst of the lines.
const PATIENCE: Duration = Duration::from_secs(180);
