//! Clients that take their time: they hold up nobody, and what is held for them is bounded.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{Access, Wire};
use crate::site::Site;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn heads_and_bodies_that_drip_hold_up_nobody() {
    let site = Site::start();
    let (admin, nobody) = (Access::admin(&site), Access::nobody(&site));
    let mut slow = Vec::new();
    for number in 0..150 {
        // Half of them never end their head, the others never begin their body.
        let (access, words) = if number % 2 == 0 {
            (&nobody, "GET /livez HTTP/1.1\r\nHost: x\r\nX-a: ".to_owned())
        } else {
            (&admin, format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{"))
        };
        let mut wire = access.connect();
        wire.write(words.as_bytes()).unwrap();
        slow.push(wire);
    }
    let started = Instant::now();
    for wire in &mut slow {
        wire.write(b" ").unwrap();
    }
    let object = r#"{"metadata": {"name": "quick"}}"#;
    assert_eq!(admin.send("POST", CONFIG_MAPS, "", object).status, 201);
    assert_eq!(nobody.get("/livez").status, 200);
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    drop(slow);
    // One that goes away in the middle has made nothing.
    assert_eq!(admin.get(&format!("{CONFIG_MAPS}?labelSelector=none")).status, 200);
}

/// Begins a watch and reads nothing of it but its head.
fn watch(access: &Access, version: &str) -> Wire {
    let mut wire = access.connect();
    let target = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=600");
    let words = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    wire.write(words.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        head.extend(wire.read().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    wire
}

#[test]
fn a_watch_that_is_not_read_falls_behind_and_costs_little() {
    const LARGE: usize = 900 << 10;
    // Of objects of this size more than the history keeps, and than sockets hold.
    const CHANGES: usize = 90;
    const WATCHES: usize = 8;
    let site = Site::start();
    let admin = Access::admin(&site);
    let object = json!({"metadata": {"name": "large"}, "data": {"x": "x".repeat(LARGE)}});
    assert_eq!(admin.send("POST", CONFIG_MAPS, "", &object.to_string()).status, 201);
    let change = |number: usize| {
        let patch = json!({"metadata": {"labels": {"number": number.to_string()}}}).to_string();
        let merge = "Content-Type: application/merge-patch+json\r\n";
        let started = Instant::now();
        let answer = admin.send("PATCH", &format!("{CONFIG_MAPS}/large"), merge, &patch);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let version = answer.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        (version, started.elapsed())
    };
    let quickest = |times: Vec<Duration>| {
        let mut times = times;
        times.sort_unstable();
        times[times.len() / 2]
    };
    let before = quickest((0..15).map(|number| change(number).1).collect());
    let (version, _) = change(100);
    let memory = site.memory();
    let watches: Vec<Wire> = (0..WATCHES).map(|_| watch(&admin, &version)).collect();
    let during = quickest((1000..1000 + CHANGES).map(|number| change(number).1).collect());
    let grown = site.memory().saturating_sub(memory);
    // Were events queued, it would be more than 600 MiB.
    assert!(grown < 150 << 20, "{} MiB", grown >> 20);
    assert!(during < before * 4 + Duration::from_millis(50), "{before:?} before, {during:?} with watches");

    for mut wire in watches {
        let told = wire.hear();
        let text = String::from_utf8_lossy(&told);
        let error = text.lines().find(|line| line.contains("\"type\":\"ERROR\""));
        // Or its connection was broken off, because it took nothing for too long.
        if let Some(error) = error {
            let error: Value = serde_json::from_str(error).unwrap();
            assert_eq!(
                (&error["object"]["code"], &error["object"]["reason"]),
                (&json!(410), &json!("Expired"))
            );
        }
        assert!(error.is_some() || site.log().contains("takes nothing of an answer"), "{} bytes", told.len());
        assert!(told.len() < CHANGES * LARGE / 2, "{} bytes were told", told.len());
    }
    // Who comes back finds the newest.
    let answer = admin.get(&format!("{CONFIG_MAPS}/large"));
    assert_eq!(answer.json()["metadata"]["labels"]["number"], (1000 + CHANGES - 1).to_string());
}
