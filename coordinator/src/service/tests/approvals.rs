//! Who may approve, deny and sign requests for certificates, and how.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{Fixture, Request};
use crate::service::User;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn approved(request: &Value) -> Value {
    let mut request = request.clone();
    request["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "Test"}]);
    request
}

fn put(path: &str, object: &Value) -> Request {
    Request::new(Method::Put, path).with_body(object)
}

impl Fixture {
    /// Gives a user a role of these rules.
    async fn give(&self, user: &str, rules: Value) -> User {
        self.create(ROLES, &json!({"metadata": {"name": user}, "rules": rules})).await;
        let subject = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user});
        let role = json!({"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": user});
        let binding = json!({"metadata": {"name": user}, "subjects": [subject], "roleRef": role});
        self.create(BINDINGS, &binding).await;
        User::new(user, []).authenticated()
    }

    async fn request(&self, name: &str) -> Value {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let request = dunlin_api::base64::encode(request.as_bytes());
        let spec = json!({"request": request, "signerName": "example.dev/signer", "usages": ["client auth"]});
        self.create(REQUESTS, &json!({"metadata": {"name": name}, "spec": spec})).await
    }
}

fn rule(resource: &str, verb: &str, name: &str) -> Value {
    let mut rule = json!({"apiGroups": ["certificates.k8s.io"], "resources": [resource], "verbs": [verb]});
    if !name.is_empty() {
        rule["resourceNames"] = json!([name]);
    }
    rule
}

#[tokio::test]
async fn only_who_may_for_a_signer_approves() {
    let fixture = Fixture::start().await;
    let update = rule("certificatesigningrequests/approval", "update", "");
    let without = fixture.give("without", json!([update])).await;
    let other = fixture.give("other", json!([update, rule("signers", "approve", "example.com/*")])).await;
    let signs = fixture.give("signs", json!([update, rule("signers", "sign", "example.dev/signer")])).await;
    let exact =
        fixture.give("exact", json!([update, rule("signers", "approve", "example.dev/signer")])).await;
    let domain = fixture.give("domain", json!([update, rule("signers", "approve", "example.dev/*")])).await;
    let request = fixture.request("r").await;
    let approval = format!("{REQUESTS}/r/approval");
    let nobody = User::new("x", []).authenticated();
    let refused = fixture.expect_as(403, &nobody, put(&approval, &approved(&request))).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("cannot update resource \"certificatesigningrequests/approval\"")
    );
    for user in [without, other, signs] {
        let refused = fixture.expect_as(403, &user, put(&approval, &approved(&request))).await;
        let message = "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: user not permitted to approve requests \
                       with signerName \"example.dev/signer\"";
        assert_eq!(refused["message"], message);
    }
    let found = fixture.expect_as(200, &exact, put(&approval, &approved(&request))).await;
    let condition = &found["status"]["conditions"][0];
    assert_eq!(condition["type"], "Approved");
    assert_eq!(condition["lastUpdateTime"], condition["lastTransitionTime"]);
    assert!(condition["lastUpdateTime"].is_string());
    let request = fixture.request("s").await;
    fixture.expect_as(200, &domain, put(&format!("{REQUESTS}/s/approval"), &approved(&request))).await;
    fixture.get(&approval).await;
}

#[tokio::test]
async fn each_writes_its_own_part_only() {
    let fixture = Fixture::start().await;
    let request = fixture.request("r").await;
    let status = |path: &str| format!("{REQUESTS}/r{path}");
    // Approval is not in a plain update, nor in the status.
    let plain = fixture.expect(200, put(&status(""), &approved(&request))).await;
    assert_eq!(plain["status"], json!({}));
    let refused = fixture.expect(422, put(&status("/status"), &approved(&request))).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .ends_with("updates may not add a condition of type \"Approved\"")
    );
    // A certificate is not in the approval.
    let block = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let certificate = dunlin_api::base64::encode(block.as_bytes());
    let mut both = approved(&request);
    both["status"]["certificate"] = certificate.clone().into();
    both["spec"]["signerName"] = "example.dev/other".into();
    let found = fixture.expect(200, put(&status("/approval"), &both)).await;
    assert!(found["status"]["certificate"].is_null());
    assert_eq!(found["spec"]["signerName"], "example.dev/signer");
    let managers: Vec<&str> = found["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["subresource"].as_str().unwrap_or_default())
        .collect();
    assert!(managers.contains(&"approval"), "{managers:?}");
    // Who signs needs the right for the signer, unless nothing changes.
    let update = rule("certificatesigningrequests/status", "update", "");
    let without = fixture.give("without", json!([update])).await;
    let signer = fixture.give("signer", json!([update, rule("signers", "sign", "example.dev/*")])).await;
    fixture.expect_as(200, &without, put(&status("/status"), &found)).await;
    let mut signed = found.clone();
    signed["metadata"]["resourceVersion"] = Value::Null;
    signed["status"]["certificate"] = certificate.clone().into();
    let refused = fixture.expect_as(403, &without, put(&status("/status"), &signed)).await;
    assert!(
        refused["message"].as_str().unwrap().contains("user not permitted to sign requests with signerName")
    );
    let found = fixture.expect_as(200, &signer, put(&status("/status"), &signed)).await;
    assert_eq!(found["status"]["certificate"], certificate);
    let merge = json!({"status": {"conditions": []}});
    let patch = Request::new(Method::Patch, &status("/approval")).of_type("application/merge-patch+json");
    let refused = fixture.expect(422, patch.with_body(&merge)).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("updates may not remove a condition of type \"Approved\"")
    );
}
