//! Strategic merge patches: lists, keys and directives.

use serde_json::json;

use super::*;
use crate::schema;

fn check(spec: Value, patch: Value, expected: Value) {
    let mut pod = json!({"spec": spec});
    apply(schema::definition("io.k8s.api.core.v1.Pod").unwrap(), &mut pod, json!({"spec": patch})).unwrap();
    assert_eq!(pod["spec"], expected);
}

#[test]
fn lists_merge_by_key() {
    let two = json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]});
    check(
        two.clone(),
        json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}]}),
        json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}, {"name": "b"}]}),
    );
    check(
        two.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b"}]}),
    );
    check(
        two.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
        json!({"containers": [{"name": "z"}]}),
    );
    check(
        two,
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "3"}]}),
        json!({"containers": [{"name": "b", "image": "3"}, {"name": "a", "image": "1", "args": ["x"]}]}),
    );
}

#[test]
fn objects_follow_directives() {
    check(
        json!({"nodeSelector": {"a": "1", "b": "2"}}),
        json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
        json!({"nodeSelector": {"c": "3"}}),
    );
    check(json!({"nodeSelector": {"a": "1"}}), json!({"nodeSelector": null}), json!({}));
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
}

#[test]
fn lists_take_the_order_of_the_patch() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let names = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"containers": containers})
    };
    check(two.clone(), names(&["c"]), names(&["c", "a", "b"]));
    check(two.clone(), names(&["b", "c"]), names(&["a", "b", "c"]));
    check(two.clone(), names(&["b", "a"]), names(&["b", "a"]));
    let order = json!([{"name": "c"}, {"name": "b"}, {"name": "a"}]);
    check(
        two.clone(),
        json!({"$setElementOrder/containers": order, "containers": [{"name": "c"}]}),
        names(&["c", "b", "a"]),
    );
    check(two, json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}), names(&["b", "a"]));
}

#[test]
fn patches_that_contradict_themselves_are_refused() {
    let check = |patch: Value, expected: &str| {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "nodeSelector": {"a": "b"}}});
        let definition = schema::definition("io.k8s.api.core.v1.Pod").unwrap();
        let error = apply(definition, &mut pod, json!({"spec": patch})).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(json!({"$patch": "foo"}), "unknown patch type: foo in map: map[$patch:foo]");
    check(
        json!({"containers": [{"image": "x"}]}),
        "map: map[image:x] does not contain declared merge key: name",
    );
    check(
        json!({"containers": [{"name": "a", "$patch": "merge"}]}),
        "merging lists cannot yet be specified in the patch",
    );
    check(json!({"$retainKeys": ["x"], "containers": []}), "invalid patch format of retainKeys list");
    check(
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}),
        "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
    check(json!({"$setElementOrder/containers": "a"}), "expected a []interface {}, but received a string");
}
