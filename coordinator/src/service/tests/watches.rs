//! What a watch tells adds up to what a list shows, under every selector.

use std::collections::BTreeMap;

use dunlin_link::rpc::Method;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, Request};

/// Makes, changes and deletes objects at random.
async fn scramble(fixture: &Fixture, random: &mut StdRng, steps: usize) {
    for _ in 0..steps {
        let name = format!("m{}", random.random_range(0..5));
        let path = format!("{CONFIG_MAPS}/{name}");
        let colour = ["red", "green"][random.random_range(0..2)];
        match random.random_range(0..4) {
            0 => drop(fixture.send(Request::new(Method::Delete, &path)).await),
            1 => {
                let object = json!({"metadata": {"name": name, "labels": {"colour": colour}}});
                drop(fixture.send(Request::new(Method::Post, CONFIG_MAPS).with_body(&object)).await);
            }
            _ => {
                let data = random.random_range(0..3).to_string();
                let patch = json!({"metadata": {"labels": {"colour": colour}}, "data": {"value": data}});
                let mut request = Request::new(Method::Patch, &path).with_body(&patch);
                request.content_type = "application/merge-patch+json".to_owned();
                drop(fixture.send(request).await);
            }
        }
    }
}

fn by_name(items: &[Value]) -> BTreeMap<String, Value> {
    let version = |item: &Value| item["metadata"]["resourceVersion"].clone();
    items.iter().map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), version(item))).collect()
}

async fn listed(fixture: &Fixture, selector: (&str, &str)) -> BTreeMap<String, Value> {
    let list =
        fixture.expect(200, Request::new(Method::Get, CONFIG_MAPS).with_query(selector.0, selector.1)).await;
    by_name(list["items"].as_array().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_add_up_to_the_list_under_any_selector() {
    let fixture = Fixture::start().await;
    let mut random = StdRng::seed_from_u64(7);
    scramble(&fixture, &mut random, 20).await;
    let selectors = [
        ("labelSelector", "colour=red"),
        ("labelSelector", "colour!=red"),
        ("fieldSelector", "metadata.name=m1"),
        ("limit", "0"),
    ];
    let start = fixture.get(CONFIG_MAPS).await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut known = Vec::new();
    for selector in selectors {
        known.push(listed(&fixture, selector).await);
    }
    scramble(&fixture, &mut random, 80).await;
    for (selector, mut known) in selectors.into_iter().zip(known) {
        let request = Request::new(Method::Get, CONFIG_MAPS)
            .with_query("watch", "true")
            .with_query("timeoutSeconds", "1")
            .with_query("resourceVersion", &start)
            .with_query(selector.0, selector.1);
        let body = fixture.send(request).await.into_bytes().await.unwrap();
        let (mut last, mut count) = (0, 0);
        for line in String::from_utf8_lossy(&body).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let metadata = &event["object"]["metadata"];
            let name = metadata["name"].as_str().unwrap().to_owned();
            let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(version > last, "events come in order: {event}");
            (last, count) = (version, count + 1);
            match event["type"].as_str().unwrap() {
                "ADDED" => {
                    assert!(known.insert(name, metadata["resourceVersion"].clone()).is_none(), "{event}")
                }
                "MODIFIED" => {
                    assert!(known.insert(name, metadata["resourceVersion"].clone()).is_some(), "{event}")
                }
                "DELETED" => assert!(known.remove(&name).is_some(), "{event}"),
                other => panic!("{other}: {event}"),
            }
        }
        assert!(count > 5, "{selector:?} saw {count} events");
        assert_eq!(known, listed(&fixture, selector).await, "{selector:?}");
    }
}

#[tokio::test]
async fn a_watch_tells_at_once_and_in_lines() {
    let fixture = Fixture::start().await;
    let request = Request::new(Method::Get, CONFIG_MAPS).with_query("watch", "true");
    let response = fixture.send(request).await;
    let super::super::Body::Stream(mut events) = response.body else { panic!("a watch is a stream") };
    fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await;
    let line = events.next().await.unwrap().unwrap();
    assert!(line.starts_with(b"{\"type\":\"ADDED\"") && line.ends_with(b"}\n"), "{line:?}");
}
