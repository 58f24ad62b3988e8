//! Nobody hands out rights that they do not have: which of the rights in some rules others do not give.

use super::{
    PolicyRule,
    rules::{ALL, is_path},
};

/// The rights in `wanted` that `owned` does not give, each as a rule of its own. Empty when it gives all.
pub fn missing(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted.iter().flat_map(broken_down).filter(|right| !owned.iter().any(|rule| gives(rule, right))).collect()
}

/// The rights that are missing as Kubernetes lists them: those for the same resource together, one a line, in order.
pub fn describe(missing: Vec<PolicyRule>) -> String {
    let mut lines: Vec<String> = compacted(missing).iter().map(compact_text).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.join("\n")
}

/// Every right: what nobody but a cluster's administrators has.
pub fn everything() -> [PolicyRule; 2] {
    let all = || vec![ALL.to_owned()];
    [
        PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() },
    ]
}

/// A rule as rights of one verb on one thing each.
pub fn broken_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut rights = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let right = PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    rights.push(right);
                } else {
                    rights.extend(
                        rule.resource_names
                            .iter()
                            .map(|name| PolicyRule { resource_names: vec![name.clone()], ..right.clone() }),
                    );
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        rights.extend(rule.verbs.iter().map(|verb| PolicyRule {
            verbs: vec![verb.clone()],
            non_resource_urls: vec![url.clone()],
            ..PolicyRule::default()
        }));
    }
    rights
}

/// Whether a rule gives all of a right.
fn gives(rule: &PolicyRule, right: &PolicyRule) -> bool {
    let has_all = |owned: &[String], wanted: &[String]| {
        owned.iter().any(|value| value == ALL) || wanted.iter().all(|value| owned.contains(value))
    };
    let names = rule.resource_names.is_empty()
        || (!right.resource_names.is_empty()
            && right.resource_names.iter().all(|name| rule.resource_names.contains(name)));
    let resource = |wanted: &String| {
        let of_any = wanted.split_once('/').map(|(_, part)| format!("{ALL}/{part}"));
        rule.resources.contains(wanted) || of_any.is_some_and(|of_any| rule.resources.contains(&of_any))
    };
    let resources = rule.resources.iter().any(|value| value == ALL) || right.resources.iter().all(resource);
    let urls = right
        .non_resource_urls
        .iter()
        .all(|url| rule.non_resource_urls.iter().any(|owned| is_path(owned, url)));
    has_all(&rule.verbs, &right.verbs)
        && has_all(&rule.api_groups, &right.api_groups)
        && resources
        && names
        && urls
}

/// Joins rights that differ only in their verb.
pub fn compacted(rights: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for right in rights {
        let same = |rule: &&mut PolicyRule| {
            !right.resources.is_empty()
                && rule.api_groups == right.api_groups
                && rule.resources == right.resources
                && rule.resource_names == right.resource_names
        };
        match rules.iter_mut().find(same) {
            Some(rule) => {
                let new: Vec<String> =
                    right.verbs.into_iter().filter(|verb| !rule.verbs.contains(verb)).collect();
                rule.verbs.extend(new);
            }
            None => rules.push(right),
        }
    }
    rules
}

/// A rule in the form that Kubernetes shows, with Go's quoted lists.
fn compact_text(rule: &PolicyRule) -> String {
    let lists = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let shown: Vec<String> = lists
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", quoted(values)))
        .collect();
    format!("{{{}}}", shown.join(", "))
}

/// A list as Go's `%q` writes it.
pub fn quoted(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(owned: Value, wanted: Value, expected: &str) {
        let rules = |value: Value| serde_json::from_value::<Vec<PolicyRule>>(value).unwrap();
        assert_eq!(describe(missing(&rules(owned), &rules(wanted))), expected);
    }

    #[test]
    fn nothing_beyond_what_is_owned() {
        let pods = || json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]);
        check(json!([]), pods(), r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#);
        check(pods(), pods(), "");
        let one = json!([{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"]}]);
        check(one.clone(), pods(), r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#);
        check(one.clone(), json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*/scale"]}]), "");
        // Rights from several rules add up, each of them from one rule.
        let two = json!([one[0], {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
        check(two, pods(), "");
        let scale = json!([{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]}]);
        check(
            scale.clone(),
            json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}]),
            "",
        );
        check(
            scale,
            json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}]),
            r#"{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}"#,
        );
    }

    #[test]
    fn names_and_paths() {
        let named = |names: Value| json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
        check(named(json!(["a", "b"])), named(json!(["a"])), "");
        check(named(json!([])), named(json!(["a"])), "");
        check(
            named(json!(["a"])),
            named(json!([])),
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#,
        );
        check(
            named(json!(["a"])),
            named(json!(["b"])),
            r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#,
        );
        let paths = |path: &str| json!([{"verbs": ["get"], "nonResourceURLs": [path]}]);
        check(paths("/healthz/*"), paths("/healthz/etcd"), "");
        check(paths("*"), paths("/metrics"), "");
        check(paths("/healthz"), paths("/healthz/*"), r#"{NonResourceURLs:["/healthz/*"], Verbs:["get"]}"#);
        let all = serde_json::to_value(everything()).unwrap();
        check(all.clone(), all, "");
    }
}
