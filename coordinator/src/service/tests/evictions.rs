//! Evictions: budgets that allow and refuse them, and what both leave behind.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{Fixture, PODS, Request, pod};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

fn eviction(options: &Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": options})
}

async fn evict(fixture: &Fixture, code: u16, options: &Value) -> Value {
    let request = Request::new(Method::Post, &format!("{PODS}/p/eviction")).with_body(&eviction(options));
    fixture.expect(code, request).await
}

async fn status(fixture: &Fixture, path: &str, status: &Value) {
    let mut object = fixture.get(path).await;
    object["status"] = status.clone();
    fixture.expect(200, Request::new(Method::Put, &format!("{path}/status")).with_body(&object)).await;
}

/// A pod on a node that runs, and the budget `b` with this status that guards it.
async fn guarded(budget: &Value) -> Fixture {
    let fixture = Fixture::start().await;
    let mut pod = pod("p");
    pod["metadata"]["labels"] = json!({"a": "b"});
    pod["spec"]["nodeName"] = "n".into();
    fixture.create(PODS, &pod).await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    status(&fixture, &format!("{PODS}/p"), &ready).await;
    add_budget(&fixture, "b", budget).await;
    fixture
}

async fn add_budget(fixture: &Fixture, name: &str, wanted: &Value) {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}});
    fixture.create(BUDGETS, &json!({"metadata": {"name": name}, "spec": spec})).await;
    status(fixture, &format!("{BUDGETS}/{name}"), wanted).await;
}

fn allowing(disruptions: i64) -> Value {
    json!({"observedGeneration": 1, "disruptionsAllowed": disruptions, "currentHealthy": 1 + disruptions,
        "desiredHealthy": 1, "expectedPods": 1 + disruptions})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_marks_the_pod_and_charges_its_budget() {
    let fixture = guarded(&allowing(1)).await;
    let answer = evict(&fixture, 201, &json!({"gracePeriodSeconds": 5})).await;
    let expected =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    assert_eq!(answer, expected);
    let pod = fixture.get(&format!("{PODS}/p")).await;
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 5);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let why = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&why["status"], &why["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    let budget = fixture.get(&format!("{BUDGETS}/b")).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string(), "{budget}");
    assert_eq!(budget["status"]["conditions"][0]["reason"], "InsufficientPods");
    // Its second eviction costs nothing: it is leaving.
    evict(&fixture, 201, &Value::Null).await;
    assert_eq!(fixture.get(&format!("{BUDGETS}/b")).await, budget);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_without_disruptions_refuses() {
    let fixture = guarded(&allowing(0)).await;
    let refused = evict(&fixture, 429, &Value::Null).await;
    let cause = json!([{"reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 1 currently"}]);
    assert_eq!(refused["details"], json!({ "causes": cause }));
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert!(fixture.get(&format!("{PODS}/p")).await["metadata"]["deletionTimestamp"].is_null());

    status(&fixture, &format!("{BUDGETS}/b"), &json!({"disruptionsAllowed": 1})).await;
    let unobserved = evict(&fixture, 429, &Value::Null).await;
    assert_eq!(unobserved["details"]["retryAfterSeconds"], 10);

    add_budget(&fixture, "c", &allowing(1)).await;
    let several = evict(&fixture, 500, &Value::Null).await;
    let expected =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!(several["message"], expected);
    fixture.expect(200, Request::new(Method::Delete, &format!("{BUDGETS}/c"))).await;

    status(&fixture, &format!("{BUDGETS}/b"), &json!({"observedGeneration": 1, "disruptionsAllowed": 0}))
        .await;
    status(&fixture, &format!("{PODS}/p"), &json!({"phase": "Failed"})).await;
    evict(&fixture, 201, &Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_the_budget_and_changes_nothing() {
    let fixture = guarded(&allowing(1)).await;
    let before = (fixture.get(&format!("{PODS}/p")).await, fixture.get(&format!("{BUDGETS}/b")).await);
    evict(&fixture, 201, &json!({"dryRun": ["All"]})).await;
    let path = format!("{PODS}/p/eviction");
    let request =
        Request::new(Method::Post, &path).with_body(&eviction(&Value::Null)).with_query("dryRun", "All");
    fixture.expect(201, request).await;
    assert_eq!((fixture.get(&format!("{PODS}/p")).await, fixture.get(&format!("{BUDGETS}/b")).await), before);
    status(&fixture, &format!("{BUDGETS}/b"), &allowing(0)).await;
    evict(&fixture, 429, &json!({"dryRun": ["All"]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_means_the_pod_of_its_path_and_preconditions() {
    let fixture = guarded(&allowing(1)).await;
    let refused = evict(&fixture, 409, &json!({"preconditions": {"uid": "another"}})).await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("the UID in the precondition (another) does not match"), "{message}");
    assert_eq!(fixture.get(&format!("{BUDGETS}/b")).await["status"]["disruptionsAllowed"], 1);
    let mut other = eviction(&Value::Null);
    other["metadata"]["name"] = "q".into();
    let request = Request::new(Method::Post, &format!("{PODS}/p/eviction")).with_body(&other);
    let refused = fixture.expect(400, request).await;
    assert_eq!(refused["message"], "name in URL does not match name in Eviction object");
    other["metadata"]["name"] = "absent".into();
    fixture
        .expect(404, Request::new(Method::Post, &format!("{PODS}/absent/eviction")).with_body(&other))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_not_overdrawn_by_evictions_at_once() {
    let fixture = guarded(&allowing(1)).await;
    let mut other = fixture.get(&format!("{PODS}/p")).await;
    let node_status = other["status"].clone();
    for owned in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        other["metadata"].as_object_mut().unwrap().remove(owned);
    }
    other["metadata"]["name"] = "q".into();
    fixture.create(PODS, &other).await;
    status(&fixture, &format!("{PODS}/q"), &node_status).await;
    let evict = |name: &str| {
        let mut body = eviction(&Value::Null);
        body["metadata"]["name"] = name.into();
        fixture.send(Request::new(Method::Post, &format!("{PODS}/{name}/eviction")).with_body(&body))
    };
    let (one, two) = tokio::join!(evict("p"), evict("q"));
    let mut codes = [one.head.status, two.head.status];
    codes.sort_unstable();
    assert_eq!(codes, [201, 429]);
}
