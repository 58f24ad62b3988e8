//! Tokens of service accounts, and who may do what with them.

use serde_json::Value;

use super::client::Client;
use crate::site::Site;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[test]
fn a_token_has_the_rights_of_its_account_as_long_as_that_is_there() {
    let site = Site::start();
    let ask = |target: &str, token: &str| {
        // A connection of its own: a refusal may end it.
        let mut client = Client::nobody(&site.config(), &site.address());
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        let answer = client.send("GET", target, headers, b"");
        let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        (answer.status, body["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("/version", "").0, 200);
    assert_eq!(ask("/livez", "").0, 200);
    assert_eq!(ask("/api", "").0, 403);
    assert_eq!(ask(PODS, "").0, 403);
    assert_eq!(ask(PODS, "no.such.token").0, 401);

    assert_eq!(site.ok(&["create", "serviceaccount", "builder"], ""), "serviceaccount/builder created\n");
    let token = site.ok(&["create", "token", "builder", "--duration", "10m"], "").trim().to_owned();
    let (status, message) = ask(PODS, &token);
    let expected = "pods is forbidden: User \"system:serviceaccount:default:builder\" cannot list resource \"pods\" in API group \"\" \
                    in the namespace \"default\"";
    assert_eq!((status, message.as_str()), (403, expected));
    let created = site.ok(&["create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log"], "");
    assert_eq!(created, "role.rbac.authorization.k8s.io/reader created\n");
    let created = site
        .ok(&["create", "rolebinding", "builder", "--role=reader", "--serviceaccount=default:builder"], "");
    assert_eq!(created, "rolebinding.rbac.authorization.k8s.io/builder created\n");
    assert_eq!(ask(PODS, &token).0, 200);
    assert_eq!(ask("/api/v1/pods", &token).0, 403);
    assert_eq!(ask("/openid/v1/jwks", &token).0, 200);
    // It is for somebody else.
    let vault = site.ok(&["create", "token", "builder", "--audience", "vault"], "").trim().to_owned();
    assert_eq!(ask(PODS, &vault).0, 401);
    site.ok(&["delete", "serviceaccount", "builder"], "");
    assert_eq!(ask(PODS, &token).0, 401);
}

#[test]
fn a_token_ends_with_what_it_is_bound_to_and_in_its_time() {
    let mut site = Site::start();
    let ask = |site: &Site, token: &str| {
        let mut client = Client::nobody(&site.config(), &site.address());
        let authorization = format!("Bearer {token}");
        client.send("GET", "/api", &[("authorization", authorization.as_str())], b"").status
    };
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bound"},
        "spec": {"containers": [{"name": "c", "image": "dunlin.local/none"}]}}"#;
    let secret = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bound"}}"#;
    for (kind, object) in [("Pod", pod), ("Secret", secret)] {
        site.ok(&["create", "-f", "-"], object);
        let bound = ["--bound-object-kind", kind, "--bound-object-name", "bound"];
        let token = site.ok(&[&["create", "token", "default"], &bound[..]].concat(), "").trim().to_owned();
        assert_eq!(ask(&site, &token), 200, "{kind}");
        site.ok(&["delete", &kind.to_lowercase(), "bound"], "");
        assert_eq!(ask(&site, &token), 401, "{kind}");
        // Another one of the name is not what it was bound to.
        site.ok(&["create", "-f", "-"], object);
        assert_eq!(ask(&site, &token), 401, "{kind}");
    }
    let short = site.ok(&["create", "token", "default", "--duration", "10m"], "").trim().to_owned();
    let long = site.ok(&["create", "token", "default", "--duration", "2h"], "").trim().to_owned();
    assert_eq!([ask(&site, &short), ask(&site, &long)], [200, 200]);
    site.kill_coordinator();
    if site.set_clock(Some("+20m")) {
        site.start_coordinator();
        assert_eq!([ask(&site, &short), ask(&site, &long)], [401, 200]);
    }
}

#[test]
fn the_command_line_asks_who_it_is_and_what_it_may_do() {
    let site = Site::start();
    let who = site.ok(&["auth", "whoami"], "");
    let lines: Vec<Vec<&str>> =
        who.lines().map(|line| line.splitn(2, "   ").map(str::trim).collect()).collect();
    assert_eq!(lines[0], ["ATTRIBUTE", "VALUE"]);
    assert_eq!(lines[1], ["Username", "admin"]);
    assert_eq!(lines[2], ["Groups", "[system:masters system:authenticated]"]);
    assert!(lines[3][1].starts_with("[X509SHA256="), "{who}");
    assert_eq!(site.ok(&["auth", "can-i", "create", "pods", "-A"], ""), "yes\n");
    assert_eq!(site.ok(&["auth", "can-i", "get", "/metrics"], ""), "yes\n");
    let list = site.ok(&["auth", "can-i", "--list"], "");
    assert!(list.starts_with("Resources"), "{list}");
    assert!(list.lines().any(|line| line.split_whitespace().eq(["*.*", "[]", "[]", "[*]"])), "{list}");
    let role = site.ok(
        &[
            "create",
            "clusterrole",
            "cr",
            "--verb=get",
            "--non-resource-url=/x",
            "--dry-run=client",
            "-o",
            "yaml",
        ],
        "",
    );
    let role: Value = serde_norway::from_str(&role).unwrap();
    assert_eq!(role["rules"], serde_json::json!([{"verbs": ["get"], "nonResourceURLs": ["/x"]}]));
}

#[test]
fn the_command_line_asks_as_somebody_else() {
    let site = Site::start();
    let joe = ["--as", "joe", "--as-group", "developers", "--as-uid", "7"];
    let who = site.ok(&[&["auth", "whoami"][..], &joe].concat(), "");
    let words: Vec<&str> = who.split_whitespace().collect();
    let expected = "ATTRIBUTE VALUE Username joe UID 7 Groups [developers system:authenticated]";
    assert_eq!(words.join(" "), expected);
    let refused = site.dunlin(&[&["get", "pods"][..], &joe].concat(), "");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("User \"joe\" cannot list resource \"pods\""), "{refused:?}");
    // Whoever may do little is nobody else.
    let ann = ["create", "rolebinding", "ann", "--clusterrole=view", "--user=ann"];
    site.ok(&ann, "");
    site.ok(&["get", "pods", "--as", "ann"], "");
    let alone = site.dunlin(&["get", "pods", "--as-group", "system:masters"], "");
    assert!(alone.code != 0 && alone.stderr.contains("--as"), "{alone:?}");
}
