//! What is held of lists and watches is bounded in bytes, whatever the size of objects, and says the same.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, Request};
use crate::{
    service::Body,
    store::{PAGE_BYTES_MAX, PART_BYTES_MAX},
};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
/// Near the most that an object may have.
const LARGE: usize = 700 << 10;

fn get(query: &[(&str, &str)]) -> Request {
    let request = Request::new(Method::Get, CONFIG_MAPS);
    query.iter().fold(request, |request, (name, value)| request.with_query(name, value))
}

fn accepting(accept: &str, mut request: Request) -> Request {
    accept.clone_into(&mut request.accept);
    request
}

impl Fixture {
    /// Makes large objects; every other one is labelled.
    async fn fill(&self, count: usize) {
        for number in 0..count {
            let labels = json!({"parity": if number % 2 == 0 { "even" } else { "odd" }});
            let metadata = json!({"name": format!("m{number:02}"), "labels": labels});
            self.create(CONFIG_MAPS, &json!({"metadata": metadata, "data": {"x": "x".repeat(LARGE)}})).await;
        }
    }

    /// The parts of an answer.
    async fn parts(&self, request: Request) -> Vec<Vec<u8>> {
        let response = self.send(request).await;
        assert_eq!(response.head.status, 200);
        let (Body::Parts(mut body) | Body::Stream(mut body)) = response.body else {
            panic!("it comes in parts")
        };
        let mut parts = Vec::new();
        while let Some(part) = body.next().await {
            parts.push(part.unwrap().to_vec());
        }
        parts
    }
}

fn names(items: &Value) -> Vec<String> {
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.as_array().unwrap().iter().map(name).collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:02}")).collect()
}

#[tokio::test]
async fn pages_of_large_objects_are_shorter_than_their_limit() {
    let fixture = Fixture::start().await;
    fixture.fill(30).await;
    for (selector, wanted) in [
        ("", expected(30)),
        ("parity=even", expected(30).into_iter().step_by(2).collect()),
        ("parity=none", Vec::new()),
    ] {
        let (mut found, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = get(&[("limit", "100"), ("labelSelector", selector), ("continue", &token)]);
            let page = fixture.expect(200, page).await;
            let these = names(&page["items"]);
            sizes.push(these.len());
            found.extend(these);
            match page["metadata"]["continue"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
            if selector.is_empty() {
                assert_eq!(page["metadata"]["remainingItemCount"], wanted.len() - found.len());
            }
        }
        assert_eq!(found, wanted, "{selector}");
        let most = PAGE_BYTES_MAX / LARGE + 1;
        assert!(sizes.iter().all(|size| *size <= most), "{selector}: {sizes:?}");
    }
}

#[tokio::test]
async fn lists_of_any_shape_are_told_in_parts() {
    let fixture = Fixture::start().await;
    fixture.fill(9).await;
    for (accept, items) in
        [("application/json", "items"), (METADATA, "items"), (TABLE, "rows"), ("application/yaml", "items")]
    {
        let parts = fixture.parts(accepting(accept, get(&[]))).await;
        assert!(parts.len() > 4, "{accept}: {} parts", parts.len());
        let most = PART_BYTES_MAX + LARGE + (16 << 10);
        assert!(parts.iter().all(|part| part.len() <= most), "{accept}");
        let whole = parts.concat();
        let whole: Value = match accept {
            "application/yaml" => serde_norway::from_slice(&whole).unwrap(),
            _ => serde_json::from_slice(&whole).unwrap(),
        };
        // What fits into one page is written at once, and is the same.
        let page = fixture.send(accepting(accept, get(&[("limit", "20")]))).await;
        assert_eq!(page.head.content_type, accept.split(';').next().unwrap());
        let page = page.into_bytes().await.unwrap();
        let page: Value = match accept {
            "application/yaml" => serde_norway::from_slice(&page).unwrap(),
            _ => serde_json::from_slice(&page).unwrap(),
        };
        assert_eq!(whole, page, "{accept}");
        let items = &whole[items];
        let objects = match accept {
            TABLE => items.as_array().unwrap().iter().map(|row| row["object"].clone()).collect(),
            _ => items.clone(),
        };
        assert_eq!(names(&objects), expected(9), "{accept}");
    }
}

#[tokio::test]
async fn empty_lists_of_any_shape_are_whole() {
    let fixture = Fixture::start().await;
    let empty = [("labelSelector", "no=such")];
    for accept in ["application/json", METADATA, TABLE, "application/yaml"] {
        let answer = fixture.send(accepting(accept, get(&empty))).await.into_bytes().await.unwrap();
        let list: Value = serde_norway::from_slice(&answer).unwrap();
        let (kind, version, items) = match accept {
            TABLE => ("Table", "meta.k8s.io/v1", "rows"),
            METADATA => ("PartialObjectMetadataList", "meta.k8s.io/v1", "items"),
            _ => ("ConfigMapList", "v1", "items"),
        };
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!(kind), &json!(version)));
        assert_eq!(list[items], json!([]), "{accept}");
        assert!(list["metadata"]["resourceVersion"].is_string());
    }
}

#[tokio::test]
async fn a_watch_writes_no_more_than_its_client_takes() {
    let fixture = Fixture::start().await;
    let start = fixture.service.store().revision().to_string();
    fixture.fill(9).await;
    let timeout = ("timeoutSeconds", "1");
    let changes = get(&[("watch", "1"), ("resourceVersion", &start), timeout]);
    let initial = get(&[
        ("watch", "1"),
        ("sendInitialEvents", "true"),
        ("resourceVersionMatch", "NotOlderThan"),
        ("allowWatchBookmarks", "true"),
        timeout,
    ]);
    for (request, bookmarks) in [(changes, 0), (initial, 1)] {
        let parts = fixture.parts(request).await;
        assert!(parts.iter().all(|part| part.len() < 2 * LARGE), "one large object is enough at once");
        let events: Vec<Value> = parts
            .concat()
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let objects: Vec<Value> = events.iter().take(9).map(|event| event["object"].clone()).collect();
        assert_eq!(names(&objects.into()), expected(9));
        assert_eq!(events.len(), 9 + bookmarks);
    }
}
