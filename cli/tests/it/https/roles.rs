//! Every default role, bound to a user of its own: what that user may do, by what the API says of it and by what it is answered.

use serde_json::json;

use super::{credentials::user, wire::Access};
use crate::site::Site;

/// Something that can be asked for. Nothing of it changes anything.
struct Probe {
    name: &'static str,
    /// Verb, then `RESOURCE[/SUB][.GROUP] NAMESPACE [NAME]` or a path.
    asks: &'static str,
    /// Method, target and body of a request that is the same; none where a review is enough.
    request: Option<(&'static str, &'static str, &'static str)>,
}

const POD: &str = r#"{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}"#;
const NO_RIGHTS: &str = r#"{"metadata": {"name": "r"}, "rules": []}"#;
const REVIEW: &str = r#"{"spec": {"user": "x", "nonResourceAttributes": {"path": "/", "verb": "get"}}}"#;

const PROBES: &[Probe] = &[
    Probe {
        name: "pods?",
        asks: "list pods default",
        request: Some(("GET", "/api/v1/namespaces/default/pods", "")),
    },
    Probe {
        name: "pods+",
        asks: "create pods default",
        request: Some(("POST", "/api/v1/namespaces/default/pods?dryRun=All", POD)),
    },
    Probe {
        name: "pods-",
        asks: "delete pods default none",
        request: Some(("DELETE", "/api/v1/namespaces/default/pods/none", "")),
    },
    Probe {
        name: "bind",
        asks: "create pods/binding default none",
        request: Some((
            "POST",
            "/api/v1/namespaces/default/pods/none/binding",
            r#"{"target": {"name": "n"}}"#,
        )),
    },
    Probe {
        name: "exec",
        asks: "create pods/exec default none",
        request: Some(("POST", "/api/v1/namespaces/default/pods/none/exec?command=x", "")),
    },
    Probe {
        name: "secrets?",
        asks: "list secrets default",
        request: Some(("GET", "/api/v1/namespaces/default/secrets", "")),
    },
    Probe { name: "all secrets?", asks: "list secrets -", request: Some(("GET", "/api/v1/secrets", "")) },
    Probe { name: "nodes?", asks: "list nodes -", request: Some(("GET", "/api/v1/nodes", "")) },
    Probe {
        name: "nodes-",
        asks: "delete nodes - none",
        request: Some(("DELETE", "/api/v1/nodes/none", "")),
    },
    Probe { name: "node status", asks: "patch nodes/status - none", request: None },
    Probe { name: "services?", asks: "list services -", request: Some(("GET", "/api/v1/services", "")) },
    Probe {
        name: "namespaces-",
        asks: "delete namespaces none none",
        request: Some(("DELETE", "/api/v1/namespaces/none", "")),
    },
    Probe {
        name: "volumes+",
        asks: "create persistentvolumes -",
        request: Some(("POST", "/api/v1/persistentvolumes?dryRun=All", "{}")),
    },
    Probe {
        name: "events+",
        asks: "create events default",
        request: Some(("POST", "/api/v1/namespaces/default/events?dryRun=All", "{}")),
    },
    Probe {
        name: "account token",
        asks: "create serviceaccounts/token default none",
        request: Some(("POST", "/api/v1/namespaces/default/serviceaccounts/none/token", "{}")),
    },
    Probe {
        name: "lease",
        asks: "update leases.coordination.k8s.io kube-system kube-scheduler",
        request: Some((
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler?dryRun=All",
            r#"{"metadata": {"name": "kube-scheduler"}}"#,
        )),
    },
    Probe {
        name: "roles+",
        asks: "create roles.rbac.authorization.k8s.io default",
        request: Some((
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles?dryRun=All",
            NO_RIGHTS,
        )),
    },
    Probe {
        name: "cluster roles+",
        asks: "create clusterroles.rbac.authorization.k8s.io -",
        request: Some(("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles?dryRun=All", NO_RIGHTS)),
    },
    Probe {
        name: "token review",
        asks: "create tokenreviews.authentication.k8s.io -",
        request: Some(("POST", "/apis/authentication.k8s.io/v1/tokenreviews", r#"{"spec": {"token": "x"}}"#)),
    },
    Probe {
        name: "access review",
        asks: "create subjectaccessreviews.authorization.k8s.io -",
        request: Some(("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", REVIEW)),
    },
    Probe {
        name: "certificates+",
        asks: "create certificatesigningrequests.certificates.k8s.io -",
        request: Some(("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All", "{}")),
    },
    Probe {
        name: "approve",
        asks: "approve signers.certificates.k8s.io - kubernetes.io/kube-apiserver-client",
        request: None,
    },
    Probe { name: "impersonate", asks: "impersonate users - admin", request: None },
    Probe { name: "/metrics", asks: "get /metrics", request: Some(("GET", "/metrics", "")) },
    Probe { name: "/livez/ping", asks: "get /livez/ping", request: Some(("GET", "/livez/ping", "")) },
    Probe { name: "/jwks", asks: "get /openid/v1/jwks", request: Some(("GET", "/openid/v1/jwks", "")) },
    Probe { name: "/dunlin", asks: "get /dunlin/v1/tokens", request: Some(("GET", "/dunlin/v1/tokens", "")) },
];

/// What each role gives beyond what everybody has; `*` is everything.
const ROLES: &[(&str, &[&str])] = &[
    ("cluster-admin", &["*"]),
    (
        "admin",
        &[
            "pods?",
            "pods+",
            "pods-",
            "exec",
            "secrets?",
            "all secrets?",
            "services?",
            "events+",
            "account token",
            "lease",
            "roles+",
        ],
    ),
    (
        "edit",
        &[
            "pods?",
            "pods+",
            "pods-",
            "exec",
            "secrets?",
            "all secrets?",
            "services?",
            "events+",
            "account token",
            "lease",
        ],
    ),
    ("view", &["pods?", "services?"]),
    ("system:basic-user", &[]),
    ("system:discovery", &[]),
    ("system:public-info-viewer", &[]),
    ("system:monitoring", &["/metrics", "/livez/ping"]),
    ("system:service-account-issuer-discovery", &["/jwks"]),
    ("system:auth-delegator", &["token review", "access review"]),
    (
        "system:kube-scheduler",
        &[
            "pods?",
            "pods-",
            "bind",
            "nodes?",
            "services?",
            "events+",
            "lease",
            "token review",
            "access review",
        ],
    ),
    (
        "system:kube-controller-manager",
        &[
            "pods?",
            "secrets?",
            "all secrets?",
            "nodes?",
            "services?",
            "events+",
            "account token",
            "token review",
            "access review",
        ],
    ),
    ("system:kube-dns", &["services?"]),
    ("system:kube-aggregator", &["services?"]),
    ("system:heapster", &["pods?", "nodes?"]),
    ("system:kubelet-api-admin", &["nodes?"]),
    (
        "system:node",
        &[
            "pods?",
            "pods+",
            "pods-",
            "secrets?",
            "all secrets?",
            "nodes?",
            "node status",
            "services?",
            "events+",
            "account token",
            "lease",
            "token review",
            "access review",
            "certificates+",
        ],
    ),
    ("system:node-bootstrapper", &["certificates+"]),
    ("system:node-problem-detector", &["node status", "events+"]),
    ("system:node-proxier", &["nodes?", "services?", "events+"]),
    ("system:persistent-volume-provisioner", &["volumes+", "events+"]),
    ("system:volume-scheduler", &[]),
    ("system:certificates.k8s.io:kube-apiserver-client-approver", &["approve"]),
    (
        "system:controller:namespace-controller",
        &["pods?", "pods-", "secrets?", "all secrets?", "nodes?", "nodes-", "services?", "namespaces-"],
    ),
    ("system:controller:certificate-controller", &["events+", "access review"]),
];

/// The review that asks the same as a probe.
fn review(asks: &str) -> String {
    let (verb, rest) = asks.split_once(' ').unwrap();
    let spec = if rest.starts_with('/') {
        json!({"nonResourceAttributes": {"verb": verb, "path": rest}})
    } else {
        let mut words = rest.split(' ');
        let (resource, group) = words.next().map(|word| word.split_once('.').unwrap_or((word, ""))).unwrap();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let namespace = words.next().filter(|word| *word != "-").unwrap_or_default();
        let name = words.next().unwrap_or_default();
        json!({"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name,
        }})
    };
    json!({ "spec": spec }).to_string()
}

#[test]
fn each_default_role_gives_what_it_should_and_no_more() {
    let site = Site::start();
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (role, gives) in ROLES {
        let name = format!("of:{role}");
        let mut session = Access::of(&user(&site, dir.path(), &name, &[]), &site).session();
        let binding = format!("--clusterrole={role}");
        let who = format!("--user={name}");
        // Without the role everybody has the same, which is next to nothing.
        assert_eq!(session.send("GET", "/metrics", "").status, 403, "{role}");
        site.ok(&["create", "clusterrolebinding", &name.replace(':', "-"), &binding, &who], "");
        for path in ["/api", "/version", "/livez", "/openapi/v3"] {
            assert_eq!(session.send("GET", path, "").status, 200, "{role}: {path}");
        }
        for probe in PROBES {
            let expected = gives.contains(&"*") || gives.contains(&probe.name);
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let review = session.send("POST", path, &review(probe.asks));
            if (review.json()["status"]["allowed"] == true) != expected {
                wrong.push(format!("{role}: {}: the review says {}", probe.name, review.json()["status"]));
            }
            if let Some((method, target, body)) = probe.request {
                let answer = session.send(method, target, body);
                if (answer.status != 403) != expected || answer.status == 401 || answer.status >= 500 {
                    wrong.push(format!("{role}: {}: {answer:?}", probe.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
