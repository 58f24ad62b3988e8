//! Lists by pages while others write without end: each shows one moment, which the events of a watch spell out.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use dunlin_link::rpc::Method;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, Request};
use crate::store::StoreOptions;

/// A list as its pages showed it.
struct Listed {
    colour: Option<&'static str>,
    revision: u64,
    items: Vec<Value>,
}

const COLOURS: [&str; 2] = ["red", "green"];

/// Those that are there throughout, among others that come and go.
fn lasting() -> impl Iterator<Item = String> {
    (0..30).map(|number| format!("m{number:02}-lasts"))
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

async fn make_lasting(fixture: &Fixture) {
    for name in lasting() {
        fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": {"colour": "red"}}})).await;
    }
}

/// One change of one object at random; what lasts is changed and never deleted.
async fn change(fixture: &Fixture, random: &mut StdRng) {
    let number = random.random_range(0..30);
    let labels = json!({"colour": COLOURS[random.random_range(0..2)]});
    let (name, step) = match random.random_range(0..4) {
        0 => (format!("m{number:02}-lasts"), 2),
        step => (format!("m{number:02}-comes"), step - 1),
    };
    let path = format!("{CONFIG_MAPS}/{name}");
    let request = match step {
        0 => Request::new(Method::Delete, &path),
        1 => Request::new(Method::Post, CONFIG_MAPS)
            .with_body(&json!({"metadata": {"name": name, "labels": labels}})),
        _ => Request::new(Method::Patch, &path).of_type("application/merge-patch+json").with_body(
            &json!({"metadata": {"labels": labels}, "data": {"r": random.random::<u32>().to_string()}}),
        ),
    };
    // What is not there is not changed, and what is there not made.
    drop(fixture.send(request).await);
}

/// All pages of a list, each of some other size.
async fn list(fixture: &Fixture, random: &mut StdRng) -> Listed {
    let colour = [None, Some("red"), Some("green")][random.random_range(0..3)];
    let (mut items, mut token, mut moment) = (Vec::new(), String::new(), None);
    loop {
        let limit = random.random_range(1..9);
        let mut request = Request::new(Method::Get, CONFIG_MAPS)
            .with_query("limit", &limit.to_string())
            .with_query("continue", &token);
        if let Some(colour) = colour {
            request = request.with_query("labelSelector", &format!("colour={colour}"));
        }
        let page = fixture.expect(200, request).await;
        assert_eq!(
            *moment.get_or_insert_with(|| revision(&page)),
            revision(&page),
            "a page of another moment"
        );
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        items.extend(found.iter().cloned());
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return Listed { colour, revision: moment.unwrap(), items },
        }
    }
}

/// Everything that a watch tells of what came after `start`.
async fn events(fixture: &Fixture, start: u64) -> Vec<Value> {
    let request = Request::new(Method::Get, CONFIG_MAPS)
        .with_query("watch", "true")
        .with_query("timeoutSeconds", "1")
        .with_query("resourceVersion", &start.to_string());
    let body = fixture.send(request).await.into_bytes().await.unwrap();
    String::from_utf8(body.to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What was there at a revision, by name.
fn state_at(start: &[Value], events: &[Value], moment: u64) -> BTreeMap<String, Value> {
    let mut state: BTreeMap<_, _> =
        start.iter().map(|object| (name(object).to_owned(), object.clone())).collect();
    for event in events.iter().filter(|event| revision(&event["object"]) <= moment) {
        let mut object = event["object"].clone();
        object.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
        if event["type"] == "DELETED" {
            state.remove(name(&object));
        } else {
            state.insert(name(&object).to_owned(), object);
        }
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_one_moment_whatever_is_written() {
    let fixture = Fixture::start().await;
    make_lasting(&fixture).await;
    let start = fixture.get(CONFIG_MAPS).await;
    let is_over = AtomicBool::new(false);
    let write = |seed| {
        let (fixture, is_over) = (&fixture, &is_over);
        async move {
            let mut random = StdRng::seed_from_u64(seed);
            while !is_over.load(Ordering::Relaxed) {
                change(fixture, &mut random).await;
            }
        }
    };
    let read = async {
        let mut random = StdRng::seed_from_u64(1);
        let mut lists = Vec::new();
        let (store, before) = (fixture.service.store(), fixture.service.store().revision());
        while lists.len() < LISTS || store.revision().0 < before.0 + WRITES {
            lists.push(list(&fixture, &mut random).await);
        }
        is_over.store(true, Ordering::Relaxed);
        lists
    };
    let (lists, ..) = tokio::join!(read, write(2), write(3), write(4), write(5));

    let events = events(&fixture, revision(&start)).await;
    let start = start["items"].as_array().unwrap();
    for Listed { colour, revision, items } in lists {
        let mut expected = state_at(start, &events, revision);
        let labelled = |object: &Value, colour| object["metadata"]["labels"]["colour"] == colour;
        expected.retain(|_, object| colour.is_none_or(|colour| labelled(object, colour)));
        assert!(items.is_sorted_by(|one, next| name(one) < name(next)), "twice, or out of order");
        assert_eq!(items, expected.into_values().collect::<Vec<_>>(), "{colour:?} at {revision}");
        let seen = items.iter().filter(|item| name(item).ends_with("lasts")).count();
        assert!(colour.is_some() || seen == lasting().count());
    }
}

#[tokio::test]
async fn a_list_that_history_has_left_behind_can_go_on_with_the_newest() {
    let few_bytes = |options: &mut StoreOptions| options.history_bytes = 4 << 10;
    let fixture = Fixture::start_on(few_bytes, |_| {}).await;
    make_lasting(&fixture).await;
    let first = fixture.expect(200, Request::new(Method::Get, CONFIG_MAPS).with_query("limit", "10")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let mut random = StdRng::seed_from_u64(6);
    for _ in 0..200 {
        change(&fixture, &mut random).await;
    }
    let onward = |token: &str| {
        Request::new(Method::Get, CONFIG_MAPS).with_query("limit", "10").with_query("continue", token)
    };
    let refused = fixture.expect(410, onward(token)).await;
    assert_eq!(refused["reason"], "Expired");
    let exact = Request::new(Method::Get, CONFIG_MAPS)
        .with_query("resourceVersion", first["metadata"]["resourceVersion"].as_str().unwrap())
        .with_query("resourceVersionMatch", "Exact");
    assert_eq!(fixture.expect(410, exact).await["reason"], "Expired");

    let mut found: Vec<Value> = first["items"].as_array().unwrap().clone();
    let mut token = refused["metadata"]["continue"].as_str().map(str::to_owned);
    let mut moment = None;
    while let Some(next) = token {
        let page = fixture.expect(200, onward(&next)).await;
        // The rest is of one moment again, a later one.
        assert_eq!(*moment.get_or_insert_with(|| revision(&page)), revision(&page));
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        token = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert!(moment.unwrap() > revision(&first));
    assert!(found.is_sorted_by(|one, next| name(one) < name(next)), "twice, or out of order");
    let names: Vec<&str> = found.iter().map(name).filter(|name| name.ends_with("lasts")).collect();
    assert_eq!(names, lasting().collect::<Vec<_>>(), "what is there throughout is seen once");
}

/// Lists read while four others write, at least: a second or two.
const LISTS: usize = 40;
/// Writes meanwhile, at least.
const WRITES: u64 = 200;
