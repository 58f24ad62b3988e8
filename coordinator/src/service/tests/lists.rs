//! Pages stay consistent whatever is written meanwhile.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, Request};

fn names(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn page(fixture: &Fixture, limit: usize, token: &str, selector: &str) -> Value {
    let request = Request::new(Method::Get, CONFIG_MAPS).with_query("limit", &limit.to_string());
    let request = if token.is_empty() { request } else { request.with_query("continue", token) };
    let request = if selector.is_empty() { request } else { request.with_query("labelSelector", selector) };
    fixture.expect(200, request).await
}

#[tokio::test]
async fn pages_show_one_moment_while_others_write() {
    let fixture = Fixture::start().await;
    for number in 0..40 {
        let labels = json!({"parity": if number % 2 == 0 { "even" } else { "odd" }});
        let object = json!({"metadata": {"name": format!("m{number:02}"), "labels": labels}});
        fixture.create(CONFIG_MAPS, &object).await;
    }
    let even: Vec<String> = (0..40).step_by(2).map(|number| format!("m{number:02}")).collect();
    let all: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    for (selector, expected, limit) in [("", &all, 7), ("parity=even", &even, 3)] {
        let (mut found, mut token, mut revision, mut turn) = (Vec::new(), String::new(), None, 0);
        loop {
            let page = page(&fixture, limit, &token, selector).await;
            let metadata = &page["metadata"];
            assert_eq!(
                revision.get_or_insert_with(|| metadata["resourceVersion"].clone()),
                &metadata["resourceVersion"]
            );
            found.extend(names(&page));
            let left = expected.len() - found.len();
            match selector {
                "" if left > 0 => assert_eq!(metadata["remainingItemCount"], left),
                _ => assert!(metadata["remainingItemCount"].is_null()),
            }
            // What comes, goes or changes now is not in this list.
            let name = format!("{}-new{turn}", expected[turn]);
            fixture
                .create(CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": {"parity": "even"}}}))
                .await;
            let gone = Request::new(
                Method::Delete,
                &format!("{CONFIG_MAPS}/{}", expected[expected.len() - 1 - turn]),
            );
            fixture.expect(200, gone).await;
            turn += 1;
            match metadata["continue"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(&found, expected, "{selector}");
        // The objects that were deleted are made again for the next round.
        for turn in 0..turn {
            let name = &expected[expected.len() - 1 - turn];
            let parity = if name[1..].parse::<usize>().unwrap() % 2 == 0 { "even" } else { "odd" };
            fixture
                .create(CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": {"parity": parity}}}))
                .await;
            let extra = format!("{CONFIG_MAPS}/{}-new{turn}", expected[turn]);
            fixture.expect(200, Request::new(Method::Delete, &extra)).await;
        }
    }
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_told_whole() {
    let fixture = Fixture::start().await;
    let mut expected: Vec<String> = (0..1203).map(|number| format!("m{number:04}")).collect();
    // Many at once share the disk's flushes; all at once would be more than one user may have waiting.
    for some in expected.chunks(100) {
        let creations = some.iter().map(|name| {
            let object = json!({"metadata": {"name": name, "labels": {"last": &name[4..]}}});
            fixture.send(Request::new(Method::Post, CONFIG_MAPS).with_body(&object))
        });
        futures_util::future::join_all(creations).await;
    }
    let list = fixture.get(CONFIG_MAPS).await;
    assert_eq!((&list["kind"], names(&list)), (&json!("ConfigMapList"), expected.clone()));
    assert!(list["metadata"]["continue"].is_null());
    let some = Request::new(Method::Get, CONFIG_MAPS).with_query("labelSelector", "last!=3");
    expected.retain(|name| !name.ends_with('3'));
    assert_eq!(names(&fixture.expect(200, some).await), expected);
}

#[tokio::test]
async fn generated_names_and_yaml_bodies_are_taken() {
    let fixture = Fixture::start().await;
    let mut request = Request::new(Method::Post, CONFIG_MAPS);
    request.content_type = "application/yaml".to_owned();
    request.body = b"metadata:\n  generateName: settings-\ndata:\n  key: value\n".to_vec();
    let made = fixture.expect(201, request).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("settings-") && name.len() == "settings-".len() + 5, "{name}");
    let mut request = Request::new(Method::Get, &format!("{CONFIG_MAPS}/{name}"));
    request.accept = "application/yaml".to_owned();
    let response = fixture.send(request).await;
    assert_eq!(response.head.content_type, "application/yaml");
    let yaml = response.into_bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&yaml).contains("key: value"));
}

#[tokio::test]
async fn a_namespace_comes_with_its_account_and_takes_it_along() {
    let fixture = Fixture::start().await;
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        fixture.get(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/default")).await;
    }
    let missing = Request::new(Method::Post, "/api/v1/namespaces/none/configmaps")
        .with_body(&json!({"metadata": {"name": "x"}}));
    assert_eq!(fixture.expect(404, missing).await["message"], "namespaces \"none\" not found");
    fixture.create("/api/v1/namespaces", &json!({"metadata": {"name": "team"}})).await;
    fixture.get("/api/v1/namespaces/team/serviceaccounts/default").await;
    // What starts twice finds all of it there.
    fixture.service.bootstrap().await.unwrap();
}
