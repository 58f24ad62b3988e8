//! HTTP/1.1 as clients speak it, and as attackers do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::{CONFIG_MAPS, Fixture, Version, code, config_map, json_body};
use crate::metrics::{Collect as _, Text};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn whoever_shows_nothing_may_ask_for_health_and_version_only() {
    let site = Fixture::start().await;
    for (path, expected) in [("/livez", "200"), ("/readyz", "200"), ("/version", "200"), ("/version/", "200")]
    {
        assert_eq!(code(&site.say_as(None, get(path)).await), expected, "{path}");
    }
    let paths = ["/", "/api", "/apis/apps/v1", "/nowhere", "/dunlin/v1/cluster", "/livezz"];
    for path in paths {
        let answer = site.say_as(None, get(path)).await;
        assert_eq!(code(&answer), "403", "{answer}");
        let message = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
        assert_eq!(json_body(&answer)["message"], message);
    }
    for resource in ["pods", "nothing"] {
        let answer = site.say_as(None, get(&format!("/api/v1/{resource}"))).await;
        let message = format!(
            "{resource} is forbidden: User \"system:anonymous\" cannot list resource \"{resource}\" in API group \"\" at the cluster \
             scope"
        );
        assert_eq!(json_body(&answer)["message"], message);
    }
}

#[tokio::test]
async fn what_is_shown_and_not_good_is_refused_everywhere() {
    let site = Fixture::start().await;
    let token = "GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\n\r\n";
    // The connection ends by itself: none is left open for the next guess.
    let answer = site.say_as(None, token).await;
    assert_eq!((code(&answer), json_body(&answer)["reason"].as_str()), ("401", Some("Unauthorized")));
    let expired = site.peer("admin", "system:masters", -1);
    assert_eq!(code(&site.say_as(Some(expired), get("/livez")).await), "401");
    let early = site.peer("admin", "system:masters", 7200);
    assert_eq!(code(&site.say_as(Some(early), get("/livez")).await), "401");
    // A good certificate counts before a token.
    assert_eq!(code(&site.say(token.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await), "200");
}

#[tokio::test]
async fn bodies_come_in_any_form() {
    let site = Fixture::start().await;
    let post = |headers: &str, body: &str| {
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n{body}")
    };
    let object = config_map("a", "1");
    let length = format!("Content-Length: {}", object.len());
    // Without a media type, as `kubectl scale` sends it.
    let answer = site.say(post(&length, &object)).await;
    assert_eq!(code(&answer), "201", "{answer}");
    assert!(answer.contains("cache-control: no-cache, private\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert!(answer.contains("\r\ndate: "), "{answer}");
    let object = config_map("b", "1");
    let (start, end) = object.split_at(10);
    let chunks = format!("{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", start.len(), end.len());
    let answer =
        site.say(post("Transfer-Encoding: chunked\r\nContent-Type: application/json", &chunks)).await;
    assert_eq!(code(&answer), "201", "{answer}");
    let object = config_map("c", "1");
    let length = format!("Content-Length: {}\r\nExpect: 100-continue", object.len());
    let answer = site.say(post(&length, &object)).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_asks_for_none() {
    let site = Fixture::start().await;
    let one = format!("{CONFIG_MAPS}/a");
    let asks =
        [("POST", CONFIG_MAPS), ("PUT", &one), ("PATCH", &one), ("DELETE", &one), ("DELETE", CONFIG_MAPS)];
    for (method, path) in asks {
        let expected = "Content-Length: 4194304\r\nExpect: 100-continue";
        let ask = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{expected}\r\n\r\n");
        let answer = site.say_as(None, ask).await;
        assert_eq!(code(&answer), "403", "{method}: {answer}");
    }
}

#[tokio::test]
async fn large_bodies_are_refused_once_the_bound_is_passed() {
    let site = Fixture::start().await;
    let post = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\n");
    let large = config_map("large", &"x".repeat(4 << 20));
    let answer = site.say(format!("{post}Content-Length: {}\r\n\r\n{large}", large.len())).await;
    assert_eq!(
        (code(&answer), json_body(&answer)["reason"].as_str()),
        ("413", Some("RequestEntityTooLarge"))
    );
    let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let answer = site.say(format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}")).await;
    assert_eq!(code(&answer), "413");
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let site = Fixture::start().await;
    for method in ["OPTIONS", "TRACE", "LINK"] {
        let answer = site.say(get(CONFIG_MAPS).replace("GET", method)).await;
        assert_eq!((code(&answer), &json_body(&answer)["reason"]), ("405", &"MethodNotAllowed".into()));
    }
    let answer = site.say(get("/livez").replace("GET", "HEAD")).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let site = Fixture::start().await;
    for path in ["/api/../version", "/%2e%2e/version", "/api/v1/namespaces/a%2Fb", "/%zz", "/a?x=%"] {
        assert_eq!(code(&site.say(get(path)).await), "400", "{path}");
    }
    assert_eq!(code(&site.say(get("//api//v1//namespaces")).await), "200");
}

#[tokio::test]
async fn a_request_has_one_length() {
    let site = Fixture::start().await;
    let smuggled = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    let ask =
        |headers: &str, body: &str| format!("POST /nowhere HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    let chunked = format!("0\r\n\r\n{smuggled}");
    for (headers, body) in [
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked", chunked.len()), chunked.as_str()),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}", chunked.len()), &chunked),
        ("Content-Length: 0\r\nContent-Length: 5".to_owned(), smuggled),
        ("Content-Length: +0".to_owned(), smuggled),
        ("Transfer-Encoding: chunked, identity".to_owned(), &chunked),
        ("Transfer-Encoding: identity".to_owned(), smuggled),
        ("Transfer-Encoding : chunked".to_owned(), &chunked),
    ] {
        let answer = site.say(ask(&headers, body)).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{headers}: {answer}");
        assert!(!answer.contains("gitVersion"), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn heads_have_bounds() {
    let site = Fixture::start().await;
    let ask = |headers: &str| format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let of_size = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    assert_eq!(code(&site.say(ask(&of_size(60 << 10))).await), "200");
    assert_eq!(code(&site.say(ask(&of_size(70 << 10))).await), "431");
    assert_eq!(code(&site.say(ask(&"X: y\r\n".repeat(90))).await), "200");
    assert_eq!(code(&site.say(ask(&"X: y\r\n".repeat(120))).await), "431");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let site = Fixture::start().await;
    let (mut client, served) = site.connect(Version::Http1, Some(site.admin()));
    let start = Instant::now();
    client.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if client.write_all(b"X: y\r\n").await.is_err() {
                return;
            }
        }
    };
    let (served, ()) = tokio::join!(served, drip);
    served.unwrap();
    assert!(start.elapsed() < Duration::from_secs(70), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let site = Fixture::start().await;
    // Silent after its first byte, or never silent for long and never done.
    for (pause, code, seconds) in [(None, "400", 30..50), (Some(20), "504", 60..90)] {
        let (client, served) = site.connect(Version::Http1, Some(site.admin()));
        let start = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(client);
        let head = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{");
        writer.write_all(head.as_bytes()).await.unwrap();
        let drip = async {
            while let Some(pause) = pause {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if writer.write_all(b" ").await.is_err() {
                    return;
                }
            }
        };
        let mut told = String::new();
        let hear = async { reader.read_to_string(&mut told).await.unwrap() };
        tokio::join!(drip, hear);
        assert_eq!(super::code(&told), code, "{told}");
        assert!(seconds.contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        drop((reader, writer));
        served.await.unwrap();
    }
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let site = Fixture::start().await;
    let (mut client, served) = site.connect(Version::Http1, Some(site.admin()));
    let ask = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(format!("{ask}{ask}{}", get("/livez")).as_bytes()).await.unwrap();
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    assert_eq!(told.matches("HTTP/1.1 200").count(), 3, "{told}");
    served.await.unwrap();
}

#[tokio::test]
async fn a_stopping_coordinator_lets_idle_connections_go() {
    let site = Fixture::start().await;
    let (mut client, served) = site.connect(Version::Http1, Some(site.admin()));
    client.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut told = [0; 15];
    client.read_exact(&mut told).await.unwrap();
    site.stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_connection() {
    let site = Fixture::start().await;
    for name in ["a", "b"] {
        let large = config_map(name, &"x".repeat(900 << 10));
        let post = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ");
        assert_eq!(code(&site.say(format!("{post}{}\r\n\r\n{large}", large.len())).await), "201");
    }
    let (mut client, served) = site.connect(Version::Http1, Some(site.admin()));
    client.write_all(get(CONFIG_MAPS).as_bytes()).await.unwrap();
    let mut start = [0; 15];
    client.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    tokio::time::pause();
    let before = Instant::now();
    served.await.unwrap();
    let elapsed = before.elapsed();
    assert!(Duration::from_secs(60) <= elapsed && elapsed < Duration::from_secs(90), "{elapsed:?}");
    let mut text = Text::default();
    site.front.figures().collect(&mut text);
    assert!(text.into_string().contains("\ndunlin_https_stalled_connections_total 1\n"));
}
