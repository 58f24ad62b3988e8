//! Who may do what, through roles and bindings.

use dunlin_coordinator_core::authorizer::{Attributes, Target};
use dunlin_link::rpc::{Impersonation, Method};
use serde_json::{Value, json};

use super::{Fixture, PODS, Request, pod};
use crate::service::{User, authorize::Decision};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn joe() -> User {
    User::new("joe", []).authenticated()
}

fn binding(role: &str, kind: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": format!("{role}-{user}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user}],
    })
}

fn post(path: &str, body: &Value) -> Request {
    Request::new(Method::Post, path).with_body(body)
}

/// Whether each may be done: `VERB RESOURCE[.GROUP][/SUBRESOURCE] NAMESPACE` with `-` for the cluster, or `VERB /PATH`.
async fn check(fixture: &Fixture, user: &User, allowed: &[&str], refused: &[&str]) {
    for asked in allowed {
        assert!(may(fixture, user, asked).await, "{} may not {asked}", user.name);
    }
    for asked in refused {
        assert!(!may(fixture, user, asked).await, "{} may {asked}", user.name);
    }
}

async fn may(fixture: &Fixture, user: &User, asked: &str) -> bool {
    let words: Vec<&str> = asked.split(' ').collect();
    let target = if words[1].starts_with('/') {
        Target::Path(words[1])
    } else {
        let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let namespace = if words[2] == "-" { "" } else { words[2] };
        Target::Resource {
            group,
            resource,
            subresource,
            namespace,
            name: words.get(3).copied().unwrap_or_default(),
        }
    };
    let decided = fixture.service.decide(user, &Attributes { verb: words[0], target }).await.unwrap();
    matches!(decided, Decision::Allowed(..))
}

#[tokio::test]
async fn nobody_in_particular_sees_health_and_version_only() {
    let fixture = Fixture::start().await;
    let nobody = User::anonymous();
    let allowed = ["get /version", "get /livez", "get /readyz", "get /healthz"];
    let refused = ["get /api", "get /metrics", "get /openapi/v2", "post /version", "list pods default"];
    check(&fixture, &nobody, &allowed, &refused).await;
    let alive = fixture.send_as(&nobody, Request::new(Method::Get, "/livez")).await;
    assert_eq!(alive.head.status, 200);
    let refused = fixture.expect_as(403, &nobody, Request::new(Method::Get, "/api")).await;
    assert_eq!(refused["message"], "forbidden: User \"system:anonymous\" cannot get path \"/api\"");
    fixture.expect_as(403, &nobody, Request::new(Method::Get, "/dunlin/v1/cluster")).await;
    fixture.expect_as(403, &nobody, Request::new(Method::Get, "/api/v1/nothing")).await;
    let refused = fixture.expect_as(403, &nobody, Request::new(Method::Get, PODS)).await;
    let expected = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \
                    \"default\"";
    assert_eq!(refused["message"], expected);
}

#[tokio::test]
async fn a_user_without_roles_sees_what_there_is_and_may_ask_about_itself() {
    let fixture = Fixture::start().await;
    check(
        &fixture,
        &joe(),
        &[
            "get /api",
            "get /apis",
            "get /apis/apps/v1",
            "get /openapi/v3",
            "get /version",
            "create selfsubjectaccessreviews.authorization.k8s.io -",
            "create selfsubjectrulesreviews.authorization.k8s.io -",
            "create selfsubjectreviews.authentication.k8s.io -",
        ],
        &[
            "create subjectaccessreviews.authorization.k8s.io -",
            "create tokenreviews.authentication.k8s.io -",
            "list pods default",
            "list namespaces -",
            "get /metrics",
            "get /dunlin/v1/modules",
        ],
    )
    .await;
}

/// What the user-facing roles give and do not give, bound in the namespace `default` (`local-`) or in the cluster (`global-`).
const ROLE_TABLE: &[(&str, &[&str], &[&str])] = &[
    (
        "local-view",
        &[
            "list configmaps default",
            "watch events default",
            "get pods/log default p",
            "get namespaces default default",
        ],
        &[
            "get secrets default s",
            "create pods default",
            "create pods/exec default p",
            "list roles.rbac.authorization.k8s.io default",
            "list pods other",
            "list nodes -",
        ],
    ),
    (
        "local-edit",
        &[
            "list pods default",
            "get secrets default s",
            "create pods default",
            "create pods/exec default p",
            "delete deployments.apps default d",
            "create serviceaccounts/token default a",
        ],
        &[
            "list roles.rbac.authorization.k8s.io default",
            "create rolebindings.rbac.authorization.k8s.io default",
            "update resourcequotas default q",
            "delete namespaces default default",
            "create pods/exec other p",
        ],
    ),
    (
        "local-admin",
        &[
            "list pods default",
            "create roles.rbac.authorization.k8s.io default",
            "create rolebindings.rbac.authorization.k8s.io default",
            "delete secrets default s",
            "create localsubjectaccessreviews.authorization.k8s.io default",
        ],
        &[
            "create clusterroles.rbac.authorization.k8s.io -",
            "escalate clusterroles.rbac.authorization.k8s.io -",
            "bind roles.rbac.authorization.k8s.io default",
            "update resourcequotas default q",
            "delete namespaces default default",
            "list pods other",
        ],
    ),
    (
        "local-cluster-admin",
        &["delete secrets default s", "anything any.thing default"],
        &["list pods other", "get /metrics"],
    ),
    (
        "global-cluster-admin",
        &["delete nodes - n", "get /metrics", "get /dunlin/v1/modules", "anything any.thing x"],
        &[],
    ),
    (
        "global-view",
        &["list pods other", "list pods -", "list namespaces -"],
        &["list nodes -", "list secrets other"],
    ),
];

#[tokio::test]
async fn default_roles_give_what_they_should_and_no_more() {
    let fixture = Fixture::start().await;
    for role in ["admin", "edit", "view", "cluster-admin"] {
        fixture.create(BINDINGS, &binding(role, "ClusterRole", &format!("local-{role}"))).await;
        fixture.create(CLUSTER_BINDINGS, &binding(role, "ClusterRole", &format!("global-{role}"))).await;
    }
    for (name, allowed, refused) in ROLE_TABLE {
        check(&fixture, &User::new(*name, []).authenticated(), allowed, refused).await;
    }
}

#[tokio::test]
async fn components_have_the_rights_of_their_roles() {
    let fixture = Fixture::start().await;
    // A name in a certificate makes nobody the coordinator's own component.
    let scheduler = User::new("system:kube-scheduler", []).authenticated();
    check(
        &fixture,
        &scheduler,
        &["create pods/binding default p", "list nodes -"],
        &["list secrets default", "delete nodes - n"],
    )
    .await;
    let account = User::service_account("kube-system", "namespace-controller", "u");
    check(
        &fixture,
        &account,
        &["delete secrets default s", "update namespaces/finalize default default"],
        &["create pods default"],
    )
    .await;
    let elsewhere = User::service_account("default", "namespace-controller", "u");
    check(&fixture, &elsewhere, &[], &["delete secrets default s"]).await;
}

#[tokio::test]
async fn rights_come_and_go_at_once() {
    let fixture = Fixture::start().await;
    let list = || Request::new(Method::Get, PODS);
    fixture.create(PODS, &pod("a")).await;
    fixture.expect_as(403, &joe(), list()).await;
    fixture.create(BINDINGS, &binding("reader", "Role", "joe")).await;
    let refused = fixture.expect_as(403, &joe(), list()).await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with(": RBAC: role.rbac.authorization.k8s.io \"reader\" not found"), "{message}");
    let rules = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
    fixture.create(ROLES, &json!({"metadata": {"name": "reader"}, "rules": rules})).await;
    fixture.expect_as(200, &joe(), list()).await;
    fixture.expect_as(403, &joe(), Request::new(Method::Get, "/api/v1/pods")).await;
    fixture.expect_as(403, &joe(), Request::new(Method::Get, &format!("{PODS}/a"))).await;
    fixture.expect(200, Request::new(Method::Delete, &format!("{BINDINGS}/reader-joe"))).await;
    fixture.expect_as(403, &joe(), list()).await;
}

#[tokio::test]
async fn a_right_on_one_object_is_one_to_list_and_watch_it() {
    let fixture = Fixture::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["a", "b"] {
        fixture.create(secrets, &json!({"metadata": {"name": name}})).await;
    }
    let rule = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]);
    fixture.create(ROLES, &json!({"metadata": {"name": "one"}, "rules": rule})).await;
    fixture.create(BINDINGS, &binding("one", "Role", "joe")).await;
    fixture.expect_as(403, &joe(), Request::new(Method::Get, secrets)).await;
    let selected = |name: &str| {
        Request::new(Method::Get, secrets).with_query("fieldSelector", &format!("metadata.name={name}"))
    };
    let list = fixture.expect_as(200, &joe(), selected("a")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    fixture.expect_as(403, &joe(), selected("b")).await;
}

#[tokio::test]
async fn nobody_hands_out_rights_that_they_lack() {
    let fixture = Fixture::start().await;
    let rules = json!([
        {"verbs": ["create", "update", "patch", "get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    fixture.create(ROLES, &json!({"metadata": {"name": "maker"}, "rules": rules})).await;
    fixture.create(BINDINGS, &binding("maker", "Role", "joe")).await;
    let role = |name: &str, verbs: Value| {
        let rule = json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]});
        json!({"metadata": {"name": name}, "rules": [rule]})
    };
    fixture.expect_as(201, &joe(), post(ROLES, &role("fine", json!(["get"])))).await;
    let refused = fixture.expect_as(403, &joe(), post(ROLES, &role("more", json!(["get", "delete"])))).await;
    let expected = "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"joe\" (groups=[\"system:authenticated\"]) is attempting to \
                    grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}";
    assert_eq!(refused["message"], expected);
    // A change is checked as well, by whatever verb.
    let mut patch =
        Request::new(Method::Patch, &format!("{ROLES}/fine")).with_body(&role("fine", json!(["delete"])));
    patch.content_type = "application/merge-patch+json".to_owned();
    fixture.expect_as(403, &joe(), patch).await;
    let mut patch = Request::new(Method::Patch, &format!("{ROLES}/fine"))
        .with_body(&json!({"metadata": {"labels": {"a": "b"}}}));
    patch.content_type = "application/merge-patch+json".to_owned();
    fixture.expect_as(200, &joe(), patch).await;

    fixture.expect_as(201, &joe(), post(BINDINGS, &binding("fine", "Role", "ann"))).await;
    let refused =
        fixture.expect_as(403, &joe(), post(BINDINGS, &binding("edit", "ClusterRole", "ann"))).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("is attempting to grant RBAC permissions not currently held")
    );
    let missing = fixture.expect_as(404, &joe(), post(BINDINGS, &binding("none", "Role", "ann"))).await;
    assert_eq!(missing["message"], "role.rbac.authorization.k8s.io \"none\" not found");
}

#[tokio::test]
async fn who_may_escalate_or_bind_hands_out_anything() {
    let fixture = Fixture::start().await;
    let rules = json!([
        {"verbs": ["create", "escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]},
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"]},
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["edit"]},
    ]);
    fixture.create(CLUSTER_ROLES, &json!({"metadata": {"name": "maker"}, "rules": rules})).await;
    fixture.create(CLUSTER_BINDINGS, &binding("maker", "ClusterRole", "joe")).await;
    let all = json!({"metadata": {"name": "all"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    fixture.expect_as(201, &joe(), post(ROLES, &all)).await;
    fixture.expect_as(201, &joe(), post(BINDINGS, &binding("edit", "ClusterRole", "ann"))).await;
    fixture.expect_as(403, &joe(), post(BINDINGS, &binding("admin", "ClusterRole", "ann"))).await;
}

#[tokio::test]
async fn roles_made_of_others_are_for_administrators() {
    let fixture = Fixture::start().await;
    let rule = json!({"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]});
    fixture.create(CLUSTER_ROLES, &json!({"metadata": {"name": "maker"}, "rules": [rule]})).await;
    fixture.create(CLUSTER_BINDINGS, &binding("maker", "ClusterRole", "joe")).await;
    let made = json!({"metadata": {"name": "made"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    let refused = fixture.expect_as(403, &joe(), post(CLUSTER_ROLES, &made)).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .ends_with(": must have cluster-admin privileges to use the aggregationRule")
    );
    fixture.expect(201, post(CLUSTER_ROLES, &made)).await;
}

/// Everything of the kinds of roles and priority classes that a fresh Kubernetes cluster has is there, and is the same.
#[tokio::test]
async fn a_new_cluster_has_the_policy_of_kubernetes() {
    let named = std::env::var_os("DUNLIN_K8S_DATA").map(std::path::PathBuf::from);
    let default = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/k8s-1.36");
    let path = named.unwrap_or(default).join("bootstrap.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!(
            "SKIPPED: the objects of a fresh Kubernetes cluster are not there; DUNLIN_K8S_DATA can name their folder"
        );
        return;
    };
    let facts: Value = serde_json::from_str(&text).unwrap();
    let fixture = Fixture::start().await;
    let (mut problems, mut count) = (Vec::new(), 0);
    for (group, plural) in [
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("scheduling.k8s.io", "priorityclasses"),
    ] {
        let list = fixture.get(&format!("/apis/{group}/v1/{plural}")).await;
        // Ours alone: Kubernetes rolls nothing back by itself.
        let found = list["items"].as_array().unwrap().iter();
        let found: Vec<&Value> = found
            .filter(|object| object["metadata"]["name"] != "system:controller:rollback-controller")
            .collect();
        let expected = facts[format!("{group}/v1/{plural}")].as_array().unwrap();
        // A role of the recorded server's vendor, and its binding.
        let expected = expected
            .iter()
            .filter(|object| object["metadata"]["name"] != "system:controller:service-ca-cert-publisher");
        let expected: Vec<&Value> = expected.collect();
        assert_eq!(found.len(), expected.len(), "{plural}");
        for expected in expected {
            count += 1;
            let (name, namespace) = (&expected["metadata"]["name"], &expected["metadata"]["namespace"]);
            let own = found
                .iter()
                .find(|own| own["metadata"]["name"] == *name && own["metadata"]["namespace"] == *namespace);
            if own.is_none_or(|own| !is_same(expected, own)) {
                problems.push(format!("{plural} {name}: {own:?}"));
            }
        }
    }
    assert!(count > 130 && problems.is_empty(), "{count} compared: {}", problems.join("\n"));
}

/// Whether an object says all that is expected; what the server sets is left out of the facts.
fn is_same(expected: &Value, own: &Value) -> bool {
    let mut own = own.clone();
    for field in ["uid", "creationTimestamp", "resourceVersion", "generation", "managedFields"] {
        own["metadata"].as_object_mut().unwrap().remove(field);
    }
    for field in ["apiVersion", "kind"] {
        own[field] = expected[field].clone();
    }
    own == *expected
}

#[tokio::test]
async fn a_restart_brings_roles_up_to_date() {
    let fixture = Fixture::start().await;
    let path = format!("{CLUSTER_ROLES}/view");
    let before = fixture.get(&path).await;
    let mut emptied = before.clone();
    emptied["rules"] = json!([]);
    fixture.expect(200, Request::new(Method::Put, &path).with_body(&emptied)).await;
    let revision = fixture.service.store().revision();
    fixture.service.bootstrap().await.unwrap();
    assert_eq!(fixture.get(&path).await["rules"], before["rules"]);
    assert_eq!(fixture.service.store().revision().0, revision.0 + 1, "all in one write");
    fixture.service.bootstrap().await.unwrap();
    assert_eq!(
        fixture.service.store().revision().0,
        revision.0 + 1,
        "nothing is written when nothing is missing"
    );
}

/// A request to be somebody else, and no more.
fn asked(user: &str) -> Impersonation {
    Impersonation { user: user.to_owned(), groups: Vec::new(), uid: String::new(), extra: Vec::new() }
}

#[tokio::test]
async fn each_part_of_another_user_is_a_right_of_its_own() {
    let fixture = Fixture::start().await;
    let role = json!({"metadata": {"name": "as"}, "rules": [
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["ann"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["ops"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/team", "uids"]},
    ]});
    fixture.expect(201, post(CLUSTER_ROLES, &role)).await;
    fixture.expect(201, post(CLUSTER_BINDINGS, &binding("as", "ClusterRole", "joe"))).await;
    // Of the accounts of one namespace, as the default role `edit` has it.
    fixture.expect(201, post(BINDINGS, &binding("edit", "ClusterRole", "joe"))).await;
    let ann = Impersonation {
        groups: vec!["ops".to_owned()],
        uid: "7".to_owned(),
        extra: vec![("team".to_owned(), "red".to_owned())],
        ..asked("ann")
    };
    let other = fixture.service.impersonate(&joe(), &ann, "").await.unwrap();
    assert_eq!((other.name.as_str(), other.uid.as_str()), ("ann", "7"));
    assert_eq!(other.groups, ["ops", "system:authenticated"]);
    let account = asked("system:serviceaccount:default:builder");
    assert!(fixture.service.impersonate(&joe(), &account, "").await.is_ok());

    let refused = async |user: User, other: Impersonation, expected: &str| {
        let refused = fixture.service.impersonate(&user, &other, "").await.unwrap_err();
        assert_eq!(refused.head.status, 403, "{other:?}");
        let status: Value = serde_json::from_slice(&refused.into_bytes().await.unwrap()).unwrap();
        assert_eq!(status["message"], expected);
    };
    let cluster = "at the cluster scope";
    refused(
        joe(),
        asked("bob"),
        &format!("users \"bob\" is forbidden: User \"joe\" cannot impersonate resource \"users\" in API group \"\" {cluster}"),
    )
    .await;
    refused(
        joe(),
        Impersonation { groups: vec!["system:masters".to_owned()], ..ann.clone() },
        &format!(
            "groups \"system:masters\" is forbidden: User \"joe\" cannot impersonate resource \"groups\" in API group \"\" {cluster}"
        ),
    )
    .await;
    refused(
        joe(),
        Impersonation { extra: vec![("rank".to_owned(), "high".to_owned())], ..ann },
        &format!(
            "userextras.authentication.k8s.io \"high\" is forbidden: User \"joe\" cannot impersonate resource \
             \"userextras/rank\" in API group \"authentication.k8s.io\" {cluster}"
        ),
    )
    .await;
    refused(
        joe(),
        asked("system:serviceaccount:kube-system:builder"),
        "serviceaccounts \"builder\" is forbidden: User \"joe\" cannot impersonate resource \"serviceaccounts\" in API group \
         \"\" in the namespace \"kube-system\"",
    )
    .await;
    refused(
        User::anonymous(),
        asked("ann"),
        &format!(
            "users \"ann\" is forbidden: User \"system:anonymous\" cannot impersonate resource \"users\" in API group \"\" {cluster}"
        ),
    )
    .await;
}
