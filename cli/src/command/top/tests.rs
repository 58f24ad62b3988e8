//! Tables of made-up figures.

use expect_test::expect;
use serde_json::json;

use super::*;

fn shown(sort_by: Option<Resource>) -> Shown {
    Shown { name: None, selector: None, sort_by, no_headers: false }
}

#[test]
fn pods_are_summed_up_or_told_by_container() {
    let container =
        |name: &str, cpu: &str, memory: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": memory}});
    let metrics = [
        json!({"metadata": {"name": "p", "namespace": "d"},
            "containers": [container("a", "1500000n", "3Mi"), container("b", "1", "512Ki")]}),
        json!({"metadata": {"name": "q", "namespace": "e"}, "containers": [container("a", "0", "9Mi")]}),
    ];
    let print = |all_namespaces: bool, containers: bool, sort_by| {
        let pods = Pods { shown: shown(sort_by), all_namespaces, containers, sum: true };
        let rows: Vec<Row> = metrics.iter().flat_map(|metrics| pods.rows(metrics)).collect();
        let total = total(&rows, pods.headers().len());
        pods.shown.table(&pods.headers(), rows, &total)
    };
    expect![[r#"
        NAME   CPU(cores)   MEMORY(bytes)
        q      0m           9Mi
        p      1002m        3Mi
               ________     ________
               1002m        12Mi
    "#]]
    .assert_eq(&print(false, false, Some(Resource::Memory)));
    expect![[r#"
        NAMESPACE   POD   NAME   CPU(cores)   MEMORY(bytes)
        d           p     a      2m           3Mi
        d           p     b      1000m        0Mi
        e           q     a      0m           9Mi
                                 ________     ________
                                 1002m        12Mi
    "#]]
    .assert_eq(&print(true, true, None));
}

#[test]
fn what_a_limit_held_back_is_told() {
    let usage = |throttled: &str| json!({"cpu": "100m", THROTTLED_CPU: throttled, "memory": "1Mi"});
    let container = |name: &str, throttled: &str| json!({"name": name, "usage": usage(throttled)});
    let metrics = [
        json!({"metadata": {"name": "p"}, "containers": [container("a", "901500u"), container("b", "200m")]}),
        json!({"metadata": {"name": "q"}, "containers": [container("a", "0")]}),
    ];
    let pods = Pods { shown: shown(None), all_namespaces: false, containers: false, sum: true };
    let rows: Vec<Row> = metrics.iter().flat_map(|metrics| pods.rows(metrics)).collect();
    let total = total(&rows, pods.headers().len());
    expect![[r#"
        NAME   CPU(cores)   MEMORY(bytes)   THROTTLED
        p      200m         2Mi             110%
        q      100m         1Mi             0%
               ________     ________        ________
               300m         3Mi             110%
    "#]]
    .assert_eq(&pods.shown.table(&pods.headers(), rows, &total));
}

#[test]
fn nodes_are_compared_with_what_they_have() {
    let metrics = json!({"metadata": {"name": "n"}, "usage": {"cpu": "500m", "memory": "1Gi"}});
    let nodes =
        [json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "memory": "4Gi"}}})];
    expect![[r#"
        NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)
        n      500m         12%         1024Mi          25%
        n      500m         <unknown>   1024Mi          <unknown>
    "#]]
    .assert_eq(&shown(None).table(&["NAME"], vec![node(&metrics, &nodes), node(&metrics, &[])], ""));
}
