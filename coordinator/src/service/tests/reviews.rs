//! Reviews and tokens, through the service.

use dunlin_link::{NodeName, rpc::Method};
use serde_json::{Value, json};

use super::{Fixture, PODS, Request, pod};
use crate::{account_keys::AccountKeys, service::User};

const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

async fn with_keys() -> (Fixture, tempfile::TempDir) {
    let (fixture, folder) = (Fixture::start().await, tempfile::tempdir().unwrap());
    fixture.service.attach_account_keys(AccountKeys::open(folder.path()).unwrap());
    (fixture, folder)
}

fn post(path: &str, body: &Value) -> Request {
    Request::new(Method::Post, path).with_body(body)
}

async fn token(fixture: &Fixture, spec: Value) -> String {
    let answer = fixture.expect(201, post(TOKEN, &json!({ "spec": spec }))).await;
    answer["status"]["token"].as_str().unwrap().to_owned()
}

async fn review(fixture: &Fixture, token: &str, audiences: Value) -> Value {
    let review = json!({"spec": {"token": token, "audiences": audiences}});
    fixture.expect(201, post(TOKEN_REVIEWS, &review)).await["status"].take()
}

#[tokio::test]
async fn questions_about_access_are_answered() {
    let fixture = Fixture::start().await;
    let access = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let asked = json!({"spec": {"user": "joe", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    let answer = fixture.expect(201, post(access, &asked)).await;
    assert_eq!((&answer["metadata"], &answer["status"]), (&json!({}), &json!({"allowed": false})));
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "joe"}],
    });
    fixture.create("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", &binding).await;
    let answer = fixture.expect(201, post(access, &asked)).await;
    let reason = "RBAC: allowed by RoleBinding \"b/default\" of ClusterRole \"view\" to User \"joe\"";
    assert_eq!(answer["status"], json!({"allowed": true, "reason": reason}));

    let joe = User::new("joe", []).authenticated();
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/version"}}});
    assert_eq!(fixture.expect_as(201, &joe, post(own, &asked)).await["status"]["allowed"], true);
    fixture.expect_as(403, &joe, post(access, &asked)).await;
    let nothing = fixture.expect(422, post(access, &json!({"spec": {}}))).await;
    let message = "SubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes: Invalid value: null: exactly one of \
                   nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: \"\": at least one of user or \
                   group must be specified]";
    assert_eq!(nothing["message"], message);
    fixture.expect(405, Request::new(Method::Get, access)).await;

    let node = json!({"spec": {"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default", "name": "s"}}});
    let answer = fixture.expect(201, post(access, &node)).await;
    assert_eq!(
        answer["status"],
        json!({"allowed": false, "reason": "no relationship found between node 'n1' and this object"})
    );
}

#[tokio::test]
async fn somebody_is_told_their_rules_and_name() {
    let fixture = Fixture::start().await;
    let joe = User::new("joe", ["ops".to_owned()]).authenticated();
    let rules = post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        &json!({"spec": {"namespace": "default"}}),
    );
    let status = fixture.expect_as(201, &joe, rules).await["status"].take();
    let resources: Vec<_> = status["resourceRules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["resources"][0].as_str().unwrap())
        .collect();
    assert!(resources.contains(&"selfsubjectreviews"), "{status}");
    assert_eq!(status["incomplete"], false);
    assert!(status["nonResourceRules"].to_string().contains("/openapi/*"));
    let who = fixture
        .expect_as(201, &joe, post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})))
        .await;
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "joe", "groups": ["ops", "system:authenticated"]})
    );
}

#[tokio::test]
async fn tokens_are_of_their_account() {
    let (fixture, _folder) = with_keys().await;
    let text = token(&fixture, json!({})).await;
    let status = review(&fixture, &text, json!([])).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!([ISSUER]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(status["user"]["groups"], groups);
    let credential =
        status["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert!(credential.starts_with("JTI="), "{credential}");
    let status = review(&fixture, "no.such.token", json!([])).await;
    assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
    fixture.expect(400, post(TOKEN_REVIEWS, &json!({"spec": {"token": ""}}))).await;

    // Another account of the name is another account.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    fixture.expect(200, Request::new(Method::Delete, &format!("{accounts}/default"))).await;
    let status = review(&fixture, &text, json!([])).await;
    assert_eq!(status["error"], "service account default/default not found");
    fixture.create(accounts, &json!({"metadata": {"name": "default"}})).await;
    let status = review(&fixture, &text, json!([])).await;
    assert!(status["error"].as_str().unwrap().contains("does not match claim"), "{status}");
}

#[tokio::test]
async fn tokens_are_for_an_audience_and_a_time() {
    let (fixture, _folder) = with_keys().await;
    let text = token(&fixture, json!({"audiences": ["vault", "other"], "expirationSeconds": 600})).await;
    let status = review(&fixture, &text, json!([])).await;
    assert_eq!(status["authenticated"], Value::Null);
    assert!(
        status["error"].as_str().unwrap().starts_with("token audiences [\"vault\" \"other\"] is invalid"),
        "{status}"
    );
    let status = review(&fixture, &text, json!(["x", "vault"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert!(fixture.service.authenticate_token(&text, &[]).await.is_err());
    let refuse = |seconds: i64| post(TOKEN, &json!({"spec": {"expirationSeconds": seconds}}));
    let refused = fixture.expect(422, refuse(599)).await;
    let message = "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a \
                   duration less than 10 minutes";
    assert_eq!(refused["message"], message);
    fixture.expect(422, refuse((1 << 32) + 1)).await;
    let granted = fixture.expect(201, refuse(1 << 32)).await;
    assert_eq!(granted["spec"]["audiences"], json!([ISSUER]));
    fixture.expect(404, post("/api/v1/namespaces/default/serviceaccounts/none/token", &json!({}))).await;
    fixture.expect(405, Request::new(Method::Get, TOKEN)).await;
}

#[tokio::test]
async fn tokens_end_with_what_they_are_bound_to() {
    let (fixture, _folder) = with_keys().await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n1".into();
    let created = fixture.create(PODS, &bound).await;
    let uid = created["metadata"]["uid"].as_str().unwrap();
    let reference =
        |uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}});
    let text = token(&fixture, reference(uid)).await;
    let status = review(&fixture, &text, json!([])).await;
    let extra = &status["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([uid]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    fixture.expect(409, post(TOKEN, &json!({"spec": reference("other")}))).await;
    let gone = Request::new(Method::Delete, &format!("{PODS}/p")).with_query("gracePeriodSeconds", "0");
    fixture.expect(200, gone).await;
    let status = review(&fixture, &text, json!([])).await;
    assert_eq!(status["error"], "pod default/p not found");
    fixture.create(PODS, &bound).await;
    assert!(review(&fixture, &text, json!([])).await["error"].as_str().unwrap().starts_with("pod UID"));
    let unknown =
        json!({"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let refused = fixture.expect(400, post(TOKEN, &unknown)).await;
    assert_eq!(refused["message"], "cannot bind token to object of type apps/v1, Kind=Deployment");
}

#[tokio::test]
async fn a_node_gets_tokens_of_its_own_pods_only() {
    let (fixture, _folder) = with_keys().await;
    let node = User::node(&NodeName::new("n1"));
    let mut uids = Vec::new();
    for (name, node) in [("own", "n1"), ("foreign", "n2")] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = node.into();
        let source = json!([{"serviceAccountToken": {"path": "token"}}]);
        pod["spec"]["volumes"] = json!([{"name": "access", "projected": {"sources": source}}]);
        uids.push(fixture.create(PODS, &pod).await["metadata"]["uid"].clone());
    }
    let ask = |name: &str, uid: &Value, audiences: Value| {
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        post(TOKEN, &json!({"spec": {"boundObjectRef": reference, "audiences": audiences}}))
    };
    let refused = fixture.expect_as(403, &node, post(TOKEN, &json!({}))).await;
    assert!(
        refused["message"].as_str().unwrap().ends_with("node requested token not bound to a pod"),
        "{refused}"
    );
    fixture.expect_as(403, &node, ask("foreign", &uids[1], json!([ISSUER]))).await;
    fixture.expect_as(403, &node, ask("own", &json!(""), json!([ISSUER]))).await;
    fixture.expect_as(403, &node, ask("own", &uids[0], json!(["vault"]))).await;
    fixture.expect_as(403, &User::node(&NodeName::new("n3")), ask("own", &uids[0], json!([ISSUER]))).await;
    fixture.expect_as(201, &node, ask("own", &uids[0], json!([]))).await;
}

#[tokio::test]
async fn bootstrap_tokens_are_secrets_of_the_system() {
    let fixture = Fixture::start().await;
    let secret = |end: &str| {
        json!({
            "metadata": {"name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
                "auth-extra-groups": "system:bootstrappers:edge", "expiration": end,
            },
        })
    };
    let path = "/api/v1/namespaces/kube-system/secrets";
    let shown = "abcdef.0123456789abcdef";
    assert!(fixture.service.authenticate_token(shown, &[]).await.is_err());
    fixture.create(path, &secret("2999-01-01T00:00:00Z")).await;
    let user = fixture.service.authenticate_token(shown, &[]).await.unwrap().user;
    assert_eq!(user.name, "system:bootstrap:abcdef");
    assert_eq!(user.groups, ["system:bootstrappers", "system:bootstrappers:edge", "system:authenticated"]);
    assert!(fixture.service.authenticate_token("abcdef.0123456789abcdee", &[]).await.is_err());
    fixture.expect(200, Request::new(Method::Delete, &format!("{path}/bootstrap-token-abcdef"))).await;
    fixture.create(path, &secret("2001-01-01T00:00:00Z")).await;
    assert!(fixture.service.authenticate_token(shown, &[]).await.is_err());
}
