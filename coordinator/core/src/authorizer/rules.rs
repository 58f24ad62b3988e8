//! Rules of roles: as they are written, and packed for the index.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Attributes, Target};

/// One rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// What may be done; `*` is everything.
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    /// In which API groups; `*` is all.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// To which resources, for instance `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only to objects of these names; empty is any.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// To which paths, for instance `/version` or `/healthz/*`.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// The rules of a role in three allocations, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// All values of all lists, one after the other.
    text: Box<str>,
    /// Where each value ends.
    ends: Box<[u32]>,
    /// For each list of each rule, how many values there are up to its end.
    lists: Box<[u32]>,
}

/// One of a role's packed rules.
#[derive(Clone, Copy)]
struct Packed<'a> {
    rules: &'a Rules,
    position: usize,
}

/// The lists of a rule, in the order they are packed.
#[derive(Clone, Copy)]
enum List {
    Verbs,
    ApiGroups,
    Resources,
    ResourceNames,
    NonResourceUrls,
}

impl PolicyRule {
    fn lists(&self) -> [&Vec<String>; LISTS] {
        [&self.verbs, &self.api_groups, &self.resources, &self.resource_names, &self.non_resource_urls]
    }
}

impl Rules {
    /// Packs `rules`.
    pub fn pack(rules: &[PolicyRule]) -> Self {
        let (mut text, mut ends, mut lists) = (String::new(), Vec::new(), Vec::new());
        for list in rules.iter().flat_map(PolicyRule::lists) {
            for value in list {
                text.push_str(value);
                ends.push(small(text.len()));
            }
            lists.push(small(ends.len()));
        }
        Self { text: text.into(), ends: ends.into(), lists: lists.into() }
    }

    /// The rules as they were.
    pub fn unpack(&self) -> Vec<PolicyRule> {
        let list = |rule: Packed<'_>, list| rule.list(list).map(str::to_owned).collect();
        self.iter()
            .map(|rule| PolicyRule {
                verbs: list(rule, List::Verbs),
                api_groups: list(rule, List::ApiGroups),
                resources: list(rule, List::Resources),
                resource_names: list(rule, List::ResourceNames),
                non_resource_urls: list(rule, List::NonResourceUrls),
            })
            .collect()
    }

    /// Whether one of the rules allows what is asked.
    pub fn allow(&self, asked: &Attributes<'_>) -> bool {
        self.iter().any(|rule| rule.allows(asked))
    }

    fn iter(&self) -> impl Iterator<Item = Packed<'_>> {
        (0..self.lists.len() / LISTS).map(|position| Packed { rules: self, position })
    }
}

impl<'a> Packed<'a> {
    fn list(self, list: List) -> impl Iterator<Item = &'a str> {
        let Rules { text, ends, lists } = self.rules;
        let at = self.position * LISTS + list as usize;
        let upto = |count: Option<&u32>| count.map_or(0, |count| *count as usize);
        let first = at.checked_sub(1).map_or(0, |before| upto(lists.get(before)));
        (first..upto(lists.get(at))).map(move |value| {
            let start = value.checked_sub(1).map_or(0, |before| upto(ends.get(before)));
            &text[start..upto(ends.get(value))]
        })
    }

    fn allows(self, asked: &Attributes<'_>) -> bool {
        let has = |list, wanted: &str| self.list(list).any(|value| value == ALL || value == wanted);
        if !has(List::Verbs, asked.verb) {
            return false;
        }
        match asked.target {
            Target::Resource { group, resource, subresource, name, .. } => {
                let names_all = self.list(List::ResourceNames).next().is_none();
                has(List::ApiGroups, group)
                    && self.list(List::Resources).any(|rule| is_resource(rule, resource, subresource))
                    && (names_all || self.list(List::ResourceNames).any(|rule| rule == name))
            }
            Target::Path(path) => self.list(List::NonResourceUrls).any(|rule| is_path(rule, path)),
        }
    }
}

/// Whether a rule's resource means this one: `pods`, `pods/log`, `*/log`, or `*` for everything with all its parts.
fn is_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        _ if rule == ALL => true,
        None => subresource.is_empty() && rule == resource,
        Some((main, part)) => {
            !subresource.is_empty() && part == subresource && (main == ALL || main == resource)
        }
    }
}

/// Whether a rule's path means this one; a trailing `*` stands for any end.
pub(super) fn is_path(rule: &str, path: &str) -> bool {
    rule == path || rule.strip_suffix(ALL).is_some_and(|start| path.starts_with(start))
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::<Vec<String>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn small(length: usize) -> u32 {
    u32::try_from(length).expect("a stored object has a few MiB at most")
}

/// Stands for everything.
pub(super) const ALL: &str = "*";

/// Lists of a rule.
const LISTS: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(rule: Value) -> Rules {
        let rule: PolicyRule = serde_json::from_value(rule).unwrap();
        Rules::pack(&[PolicyRule::default(), rule, PolicyRule::default()])
    }

    /// What is allowed and refused is `VERB GROUP/RESOURCE[/SUBRESOURCE] [NAME]`.
    fn check(rule: Value, allowed: &[&str], refused: &[&str]) {
        let rules = rules(rule);
        let allows = |asked: &&str| {
            let words: Vec<&str> = asked.split(' ').collect();
            let mut place = words[1].splitn(3, '/');
            let mut next = || place.next().unwrap_or_default();
            let (group, resource, subresource) = (next(), next(), next());
            let name = words.get(2).copied().unwrap_or_default();
            let target = Target::Resource { group, resource, subresource, namespace: "d", name };
            rules.allow(&Attributes { verb: words[0], target })
        };
        assert_eq!(allowed.iter().find(|asked| !allows(asked)), None, "is refused");
        assert_eq!(refused.iter().find(|asked| allows(asked)), None, "is allowed");
    }

    #[test]
    fn resources_are_matched() {
        check(
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}),
            &["get /pods p", "list /pods", "get /pods/log p"],
            &["get /pods/exec p", "create /pods", "get apps/pods p", "get /podslog"],
        );
        check(
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}),
            &["update apps/deployments/scale d"],
            &["update apps/deployments d", "update apps/deployments/status d"],
        );
        check(
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            &["update apps/deployments/scale d"],
            &[],
        );
        check(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]}),
            &["get /secrets b"],
            &["get /secrets c", "get /secrets"],
        );
        check(json!({"verbs": ["get"], "nonResourceURLs": ["*"]}), &[], &["get /pods p"]);
        check(json!({"verbs": null, "resources": ["pods"]}), &[], &["get /pods p"]);
    }

    #[test]
    fn paths_are_matched() {
        let check = |rule: &str, path: &str, expected: bool| {
            let asked = Attributes { verb: "get", target: Target::Path(path) };
            let found = rules(json!({"verbs": ["get"], "nonResourceURLs": [rule]})).allow(&asked);
            assert_eq!(found, expected, "{rule} {path}");
        };
        check("/version", "/version", true);
        check("/version", "/version/", false);
        check("/healthz/*", "/healthz/etcd", true);
        check("/healthz/*", "/healthz", false);
        check("/healthz*", "/healthzz", true);
        check("*", "/metrics", true);
        check("/*/x", "/a/x", false);
    }

    #[test]
    fn packing_keeps_everything() {
        let rules: Vec<PolicyRule> = serde_json::from_value(json!([
            {"verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["a", "b/c"], "resourceNames": ["\u{e9}"]},
            {"verbs": []},
            {"verbs": ["*"], "nonResourceURLs": ["/x", ""]},
        ]))
        .unwrap();
        assert_eq!(Rules::pack(&rules).unpack(), rules);
    }
}
