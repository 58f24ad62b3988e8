//! Requests for users' certificates: approved ones are signed as far as they should be, and all go in their time.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{Cluster, Kind, ObjectRef, Value, admin, eventually, json, kind};
use crate::pki::Peer;

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

fn kind_of_requests() -> &'static Kind {
    kind::by_kind("certificates.k8s.io/v1", "CertificateSigningRequest").unwrap()
}

fn reference(name: &str) -> ObjectRef<'_> {
    ObjectRef { kind: kind_of_requests(), namespace: "", name }
}

/// A request as PEM in base64.
fn request(key: &KeyPair, subject: &[(DnType, &str)]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    STANDARD.encode(params.serialize_request(key).unwrap().pem().unwrap())
}

fn person(name: &str, group: &str) -> String {
    let subject = [(DnType::OrganizationName, group), (DnType::CommonName, name)];
    request(&KeyPair::generate().unwrap(), &subject)
}

fn object(name: &str, request: &str, spec: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": name},
        "spec": {"request": request, "signerName": CLIENT_SIGNER, "usages": ["client auth"]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

impl Cluster {
    async fn ask(&self, name: &str, request: &str, spec: Value) {
        let object = object(name, request, &spec);
        self.service.create(&admin(), kind_of_requests(), "", object).await.unwrap();
    }

    async fn decide(&self, name: &str, decision: &str) {
        let condition = json!({"type": decision, "status": "True", "reason": "Test"});
        let decide = |request: &mut Value| {
            request["status"]["conditions"] = json!([condition]);
            true
        };
        self.service.modify(&admin(), reference(name), "approval", None, decide).await.unwrap();
    }

    /// What becomes of a request: its certificate, or why there is none.
    async fn outcome(&self, name: &str) -> Result<String, String> {
        let status = eventually(async || {
            let status = self.service.get(&admin(), reference(name)).await.unwrap()["status"].clone();
            let failed = status["conditions"].as_array().unwrap().iter().any(|it| it["type"] == "Failed");
            (failed || status["certificate"].is_string()).then_some(status)
        })
        .await;
        match status["certificate"].as_str() {
            Some(encoded) => Ok(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()),
            None => Err(status["conditions"][1]["message"].as_str().unwrap().to_owned()),
        }
    }

    /// The user that a signed request makes, and for how many seconds from now.
    async fn signed(&self, name: &str) -> (Peer, i64) {
        let pem = self.outcome(name).await.unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let peer = Peer::from_certificate(&der).unwrap();
        let now = crate::service::Clock::system().now_millis().0;
        let seconds = (peer.validity.end.0 - now) / 1000;
        (peer, seconds)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_request_makes_a_user() {
    let cluster = Cluster::start().await;
    cluster.ask("jane", &person("jane", "dev,ops"), json!({"expirationSeconds": 3600})).await;
    cluster.decide("jane", "Approved").await;
    let (peer, seconds) = cluster.signed("jane").await;
    assert_eq!(peer.user.name, "jane");
    assert_eq!(peer.user.groups, ["dev", "ops", "system:authenticated"]);
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert_eq!(peer.node(), None);
    // The longest, when nothing or more is asked for; and keys of another kind.
    let usages = json!(["digital signature", "key encipherment", "client auth"]);
    cluster
        .ask("long", &person("jane", "dev"), json!({"expirationSeconds": i32::MAX, "usages": usages}))
        .await;
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let request = request(&key, &[(DnType::CommonName, "joe")]);
    cluster.ask("plain", &request, json!({})).await;
    for name in ["long", "plain"] {
        cluster.decide(name, "Approved").await;
        let (_, seconds) = cluster.signed(name).await;
        assert!((365 * 24 * 3600 - 100..=365 * 24 * 3600).contains(&seconds), "{name}: {seconds}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_a_user_fails() {
    let cluster = Cluster::start().await;
    let usage = |usages: Value| json!({ "usages": usages });
    for (name, request, spec, why) in [
        (
            "server",
            person("a", "b"),
            usage(json!(["client auth", "server auth"])),
            "invalid usage for client certificate: server auth",
        ),
        (
            "none",
            person("a", "b"),
            usage(json!(["digital signature"])),
            "missing required usage for client certificate: client auth",
        ),
        ("nameless", person("", "b"), json!({}), "the subject of the certificate request has no common name"),
    ] {
        cluster.ask(name, &request, spec).await;
        cluster.decide(name, "Approved").await;
        assert_eq!(cluster.outcome(name).await.unwrap_err(), why, "{name}");
    }
    // Those of others, and denied ones, stay as they are while others are signed.
    cluster.ask("other", &person("a", "b"), json!({"signerName": "example.dev/x"})).await;
    cluster.decide("other", "Approved").await;
    cluster.ask("denied", &person("a", "b"), json!({})).await;
    cluster.decide("denied", "Denied").await;
    cluster.ask("last", &person("a", "b"), json!({})).await;
    cluster.decide("last", "Approved").await;
    cluster.signed("last").await;
    for name in ["other", "denied"] {
        let request = cluster.service.get(&admin(), reference(name)).await.unwrap();
        assert!(request["status"]["certificate"].is_null(), "{request}");
        assert_eq!(request["status"]["conditions"].as_array().unwrap().len(), 1);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_or_may_not_be_are_refused() {
    let cluster = Cluster::start().await;
    let create = async |request: &str, signer: &str| {
        let object = object("refused", request, &json!({ "signerName": signer }));
        let refused = cluster.service.create(&admin(), kind_of_requests(), "", object).await.unwrap_err();
        (refused.code(), refused.message().to_owned())
    };
    let masters = "certificatesigningrequests.certificates.k8s.io \"refused\" is forbidden: use of \
                   kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    for group in ["system:masters", "a,system:masters"] {
        let (code, message) = create(&person("eve", group), CLIENT_SIGNER).await;
        assert_eq!((code, message.as_str()), (403, masters));
    }
    let (one, other) = (person("a", "b"), person("a", "c"));
    let decode = |encoded: &str| pem_body(&String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap());
    // The statement of one with the signature of the other.
    let (mut forged, other) = (decode(&one), decode(&other));
    let at = forged.len() - 10;
    forged[at..].copy_from_slice(&other[other.len() - 10..]);
    let forged = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(&forged)
    );
    let (code, message) = create(&STANDARD.encode(forged), "example.dev/x").await;
    assert_eq!(code, 422, "{message}");
    assert!(message.contains("spec.request: Invalid value: "), "{message}");
    cluster.stop().await;
}

fn pem_body(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}
