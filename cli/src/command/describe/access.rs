//! Roles and who has them.

use serde_json::Value;

use super::Sheet;
use crate::document::{items, text};

pub(super) fn role(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, &["metadata", "name"]));
    sheet.labels(object);
    sheet.line(0, "PolicyRule:");
    sheet.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    sheet.line(1, "---------\t-----------------\t--------------\t-----");
    for rule in compact(items(object, &["rules"])) {
        sheet.line(1, rule.line());
    }
}

pub(super) fn binding(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, &["metadata", "name"]));
    sheet.labels(object);
    sheet.line(0, "Role:");
    sheet.field(1, "Kind", text(object, &["roleRef", "kind"]));
    sheet.field(1, "Name", text(object, &["roleRef", "name"]));
    sheet.line(0, "Subjects:");
    sheet.line(1, "Kind\tName\tNamespace");
    sheet.line(1, "----\t----\t---------");
    for subject in items(object, &["subjects"]) {
        let word = |field: &str| text(subject, &[field]);
        sheet.line(1, format!("{}\t{}\t{}", word("kind"), word("name"), word("namespace")));
    }
}

/// What may be done to one type, one object of it, or one path.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rule {
    verbs: Vec<String>,
    group: String,
    resource: String,
    name: Option<String>,
    url: String,
}

impl Rule {
    fn line(&self) -> String {
        let (main, part) = self.resource.split_once('/').map_or((self.resource.as_str(), ""), |pair| pair);
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let part = if part.is_empty() { String::new() } else { format!("/{part}") };
        let name = self.name.as_deref().unwrap_or_default();
        format!("{main}{group}{part}\t[{}]\t[{name}]\t[{}]", self.url, self.verbs.join(" "))
    }

    /// kubectl orders rules by how Go prints them, verbs first.
    fn order(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        format!("[{}],[{}],[{}],[{name}],[{}]", self.verbs.join(" "), self.group, self.resource, self.url)
    }
}

/// The same rights, with all verbs of a type in one rule; each verb of a path stays by itself.
fn compact(rules: &[Value]) -> Vec<Rule> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        items(rule, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let names = words(rule, "resourceNames");
        let names: Vec<Option<String>> =
            if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for name in &names {
                    let is_same = |other: &&mut Rule| {
                        other.url.is_empty()
                            && other.group == group
                            && other.resource == resource
                            && other.name == *name
                    };
                    let (group, resource, name) = (group.clone(), resource.clone(), name.clone());
                    match compacted.iter_mut().find(is_same) {
                        Some(known) => known.verbs.extend(words(rule, "verbs")),
                        None => {
                            compacted.push(Rule {
                                verbs: words(rule, "verbs"),
                                group,
                                resource,
                                name,
                                ..Rule::default()
                            });
                        }
                    }
                }
            }
        }
        for url in words(rule, "nonResourceURLs") {
            let one = |verb| Rule { verbs: vec![verb], url: url.clone(), ..Rule::default() };
            compacted.extend(words(rule, "verbs").into_iter().map(one));
        }
    }
    compacted.sort_by_cached_key(Rule::order);
    compacted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::compact;

    // As kubectl 1.36 prints the same role.
    #[test]
    fn rules_are_told_by_type() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "resourceNames": ["a"], "verbs": ["*"]},
            {"nonResourceURLs": ["/x"], "verbs": ["get"]},
        ]);
        let lines: Vec<String> = compact(rules.as_array().unwrap()).iter().map(super::Rule::line).collect();
        let expected = [
            "deployments.apps/scale\t[]\t[a]\t[*]",
            "deployments.apps\t[]\t[a]\t[*]",
            "pods\t[]\t[]\t[get list]",
            "\t[/x]\t[]\t[get]",
        ];
        assert_eq!(lines, expected);
    }
}
