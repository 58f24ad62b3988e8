//! Every figure that is declared is counted, by what clients do on the port.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::port::{ask, connect, say, start};
use crate::https::tests::{CONFIG_MAPS, config_map};

/// Figures that need more than a client to become more than zero, and are counted in tests of their own.
const RARE: [&str; 8] = [
    "dunlin_store_oldest_revision",
    "dunlin_request_panics_total",
    "dunlin_waiting_requests",
    "dunlin_refused_requests_total",
    "dunlin_https_refused_connections_total",
    "dunlin_https_stalled_connections_total",
    "dunlin_node_sessions",
    "workqueue_retries_total",
];

/// The greatest value of each family, in which buckets of histograms count as they are.
fn families(text: &str) -> HashMap<String, f64> {
    let mut families: HashMap<String, f64> = HashMap::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert_eq!(families.insert(family.to_owned(), 0.0), None, "{family} is declared twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} is not of {family}");
            let value: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            let greatest = families.get_mut(family).unwrap();
            *greatest = greatest.max(value);
        }
    }
    families
}

#[tokio::test]
async fn every_figure_counts() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = start(folder.path()).await;
    let admin = coordinator.admin_access().unwrap();
    let open = async |alpn: &[&str], user| connect(&coordinator, "localhost", alpn, user).await.unwrap();

    let mut watch = open(&["http/1.1"], Some(&admin)).await;
    let request = format!("GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n");
    watch.write_all(request.as_bytes()).await.unwrap();
    let object = config_map("a", "1");
    let head = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ");
    let answer = say(open(&[], Some(&admin)).await, &format!("{head}{}\r\n\r\n{object}", object.len())).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let mut told = String::new();
    while !told.contains("ADDED") {
        let mut part = [0; 4096];
        let count = watch.read(&mut part).await.unwrap();
        told.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    let pod = r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    let head = head.replace("configmaps", "pods");
    say(open(&[], Some(&admin)).await, &format!("{head}{}\r\n\r\n{pod}", pod.len())).await;
    // A controller ends what is in a namespace before it ends itself.
    let namespace = r#"{"metadata":{"name":"n"}}"#;
    let head = head.replace("/namespaces/default/pods", "/namespaces");
    say(open(&[], Some(&admin)).await, &format!("{head}{}\r\n\r\n{namespace}", namespace.len())).await;
    let delete = "DELETE /api/v1/namespaces/n HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(say(open(&[], Some(&admin)).await, delete).await.starts_with("HTTP/1.1 200 "));
    ask(open(&["http/1.1"], None).await, "/livez").await;
    let token = "GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n";
    assert!(say(open(&[], None).await, token).await.starts_with("HTTP/1.1 401 "));
    assert!(connect(&coordinator, "localhost", &["imap"], None).await.is_err());
    let _http2 = open(&["h2"], Some(&admin)).await;

    // The driver and the other connections count in tasks of their own.
    let deadline = Instant::now() + Duration::from_secs(60);
    let text = loop {
        let text = ask(open(&["http/1.1"], Some(&admin)).await, "/metrics").await;
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let mut missing = families(body);
        missing.retain(|name, value| *value == 0.0 && !RARE.contains(&name.as_str()));
        if missing.is_empty() {
            break text;
        }
        assert!(Instant::now() < deadline, "{missing:?}");
        tokio::task::yield_now().await;
    };
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    let line = "apiserver_request_total{verb=\"POST\",group=\"\",version=\"v1\",resource=\"configmaps\",\
                subresource=\"\",scope=\"namespace\",code=\"201\"} 1\n";
    assert!(text.contains(line), "{text}");
    for rare in RARE {
        assert!(text.contains(&format!("# TYPE {rare} ")), "{rare}");
    }
    coordinator.shutdown().await;
}
