//! Certificates for users by kubectl: requests that are approved, denied, and refused.

use serde_json::json;

use super::kubectl::Kubectl;
use crate::site::Site;

fn request(name: &str, groups: &[String]) -> String {
    let made = dunlin_coordinator::pki::NewUserRequest::new(name, groups).unwrap();
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": dunlin_api::base64::encode(made.request_pem.as_bytes()),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "expirationSeconds": 86400,
            "usages": ["client auth"],
        },
    });
    object.to_string()
}

#[test]
fn kubectl_approves_and_denies() {
    let site = Site::start();
    let Some(kubectl) = Kubectl::new(&site.config(), "default") else {
        println!("SKIPPED: there is no kubectl 1.36; `cargo xtask packages` installs it");
        return;
    };
    for name in ["jane", "joe"] {
        let created = kubectl.ok_with(&["create", "-f", "-"], &request(name, &["dev".to_owned()]));
        assert_eq!(created, format!("certificatesigningrequest.certificates.k8s.io/{name} created\n"));
    }
    let row = |name: &str| kubectl.ok(&["get", "csr", name, "--no-headers"]);
    assert!(row("jane").trim_end().ends_with("24h   Pending"), "{}", row("jane"));
    let approved = kubectl.ok(&["certificate", "approve", "jane"]);
    assert_eq!(approved, "certificatesigningrequest.certificates.k8s.io/jane approved\n");
    kubectl.ok(&["wait", "--for=jsonpath={.status.certificate}", "csr/jane", "--timeout=30s"]);
    assert!(row("jane").trim_end().ends_with("Approved,Issued"), "{}", row("jane"));
    let denied = kubectl.ok(&["certificate", "deny", "joe"]);
    assert_eq!(denied, "certificatesigningrequest.certificates.k8s.io/joe denied\n");
    assert!(row("joe").trim_end().ends_with("Denied"), "{}", row("joe"));
    let described = kubectl.ok(&["describe", "csr", "jane"]);
    for part in ["Common Name:    jane", "Organization:   dev", "Approved,Issued", "admin"] {
        assert!(described.contains(part), "{part}: {described}");
    }
    // What was decided stays.
    let refused = kubectl.fails(&["certificate", "approve", "joe"]);
    assert!(refused.contains("already Denied"), "{refused}");
    kubectl.ok(&["certificate", "approve", "jane"]);
    let masters = kubectl.run(&["create", "-f", "-"], &request("eve", &["system:masters".to_owned()]));
    assert!(masters.stderr.contains("with system:masters group is not allowed"), "{masters:?}");
}
