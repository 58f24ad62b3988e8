//! `/livez`, `/readyz`, `/healthz`, and who may ask for what of them.

use dunlin_link::rpc::Method;

use super::{Fixture, Request};
use crate::service::User;

async fn check(fixture: &Fixture, path: &str, query: &[(&str, &str)], code: u16, body: &str) {
    let request = query
        .iter()
        .fold(Request::new(Method::Get, path), |request, (name, value)| request.with_query(name, value));
    let response = fixture.send(request).await;
    let found = response.head.status;
    let text = String::from_utf8(response.into_bytes().await.unwrap().to_vec()).unwrap();
    assert_eq!((found, text.as_str()), (code, body), "{path} {query:?}");
}

#[tokio::test]
async fn checks_are_told_as_kubernetes_tells_them() {
    let fixture = Fixture::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/shutdown", "/livez/"] {
        check(&fixture, path, &[], 200, "ok").await;
    }
    let verbose = "[+]ping ok\n[+]store ok\nlivez check passed\n";
    check(&fixture, "/livez", &[("verbose", "")], 200, verbose).await;
    let excluded = "[+]ping ok\n[+]store excluded: ok\n[+]shutdown ok\n\
                    warn: some health checks cannot be excluded: no matches for \"etcd\",\"x\"\nreadyz check passed\n";
    let query = [("verbose", "1"), ("exclude", "x"), ("exclude", "store"), ("exclude", "etcd")];
    check(&fixture, "/readyz", &query, 200, excluded).await;
    check(&fixture, "/livez/shutdown", &[], 404, "404 page not found\n").await;
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let fixture = Fixture::start().await;
    fixture.service.drain();
    check(&fixture, "/livez", &[], 200, "ok").await;
    let stopping = "[+]ping ok\n[+]store ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n";
    check(&fixture, "/readyz", &[], 500, stopping).await;
    check(&fixture, "/readyz", &[("exclude", "shutdown")], 200, "ok").await;
    let why = "internal server error: the coordinator is stopping\n";
    check(&fixture, "/readyz/shutdown", &[], 500, why).await;
    fixture.service.store().close().await;
    let closed = "[+]ping ok\n[-]store failed: reason withheld\nlivez check failed\n";
    check(&fixture, "/livez", &[], 500, closed).await;
}

#[tokio::test]
async fn details_are_for_those_who_watch_over_the_cluster() {
    let fixture = Fixture::start().await;
    let user = |group: &str| User::new("u", [group.to_owned()]).authenticated();
    for path in ["/livez/ping", "/metrics", "/healthz/store"] {
        for (group, code) in [("system:monitoring", 200), ("system:masters", 200), ("x", 403)] {
            let response = fixture.send_as(&user(group), Request::new(Method::Get, path)).await;
            assert_eq!(response.head.status, code, "{path} {group}");
        }
    }
    let response =
        fixture.send_as(&user("x"), Request::new(Method::Get, "/livez").with_query("verbose", "")).await;
    assert_eq!(response.head.status, 200);
}

#[tokio::test]
async fn health_is_told_to_everybody_whatever_roles_say() {
    let fixture = Fixture::start().await;
    let public = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:public-info-viewer";
    fixture.expect(200, Request::new(Method::Delete, public)).await;
    let nobody = User::anonymous();
    for (path, code) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/version", 403),
        ("/livez/", 403),
        ("/livez/ping", 403),
        ("/readyz/shutdown", 403),
        ("/healthz/store", 403),
        ("/livezz", 403),
        ("/metrics", 403),
    ] {
        let response = fixture.send_as(&nobody, Request::new(Method::Get, path)).await;
        assert_eq!(response.head.status, code, "{path}");
    }
    // Nor does it take roles that can be read.
    fixture.service.store().close().await;
    let response = fixture.send_as(&nobody, Request::new(Method::Get, "/livez")).await;
    let text = String::from_utf8(response.into_bytes().await.unwrap().to_vec()).unwrap();
    assert_eq!(text, "[+]ping ok\n[-]store failed: reason withheld\nlivez check failed\n");
}
