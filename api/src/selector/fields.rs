//! Field selectors: `metadata.name=a,status.phase!=Running`.

use std::fmt;

use serde_json::Value;

use super::SelectorError;
use crate::kind::Kind;

/// A parsed field selector over fields that the kind supports; the default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    relation: Relation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
}

impl FieldSelector {
    /// Parses a selector over objects of `kind`.
    ///
    /// # Errors
    ///
    /// When the syntax is wrong or a field is not supported by the kind.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_unescaped(text).into_iter().filter(|part| !part.is_empty()) {
            let Some((field, relation, value)) = split_term(part) else {
                return Err(SelectorError::new(format_args!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let value = unescape(value)?;
            let Some(field) = kind.selectable(field) else {
                return Err(SelectorError::new(kind.unsupported_field(field)));
            };
            terms.push(Term { field: field.to_owned(), value, relation });
        }
        Ok(Self { terms })
    }

    /// Whether it selects `object`, which is of the kind the selector was parsed for.
    pub fn matches(&self, kind: &Kind, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let equal = kind.field_value(object, &term.field) == term.value;
            equal == (term.relation == Relation::Equal)
        })
    }

    /// Selects of the same objects only those of this name.
    pub fn and_name(mut self, name: &str) -> Self {
        let (field, value) = ("metadata.name".to_owned(), name.to_owned());
        self.terms.push(Term { field, value, relation: Relation::Equal });
        self
    }

    /// Leaves out what [`FieldSelector::exact`] says of `field`, for whoever looks only at objects of which it is true.
    pub fn forget_exact(&mut self, field: &str) {
        let term = |term: &Term| term.field == field && term.relation == Relation::Equal;
        if let Some(place) = self.terms.iter().position(term) {
            self.terms.remove(place);
        }
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that `field` must equal, when the selector says so: lets a list of one name become a read.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let term = self.terms.iter().find(|term| term.field == field && term.relation == Relation::Equal)?;
        Some(&term.value)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.terms.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let operator = if term.relation == Relation::Equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Parts between commas that no backslash precedes.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(part: &str) -> Option<(&str, Relation, &str)> {
    for (position, _) in part.char_indices() {
        for (operator, relation) in
            [("!=", Relation::NotEqual), ("==", Relation::Equal), ("=", Relation::Equal)]
        {
            if let Some(value) = part[position..].strip_prefix(operator) {
                return Some((&part[..position], relation, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    return Err(SelectorError::new(format_args!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError::new(format_args!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind;

    fn check(kind: &str, selector: &str, expected: Result<bool, &str>) {
        let object = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "n1"},
            "status": {"phase": "Running"}, "involvedObject": {"name": "x"}});
        let kind = kind::by_kind("v1", kind).unwrap();
        let got = FieldSelector::parse(kind, selector).map(|selector| selector.matches(kind, &object));
        assert_eq!(got, expected.map_err(SelectorError::new), "{selector}");
    }

    #[test]
    fn a_name_narrows_what_was_selected() {
        let kind = kind::by_kind("v1", "Pod").unwrap();
        let object = json!({"metadata": {"name": "a,b"}, "spec": {"nodeName": "n1"}});
        let check = |selector: &str, name: &str, expected: bool| {
            let narrowed = FieldSelector::parse(kind, selector).unwrap().and_name(name);
            assert_eq!(narrowed.matches(kind, &object), expected, "{selector} and {name}");
        };
        check("", "a,b", true);
        check("", "a", false);
        check("spec.nodeName=n1", "a,b", true);
        check("spec.nodeName=n2", "a,b", false);
        check("metadata.name=other", "a,b", false);
    }

    #[test]
    fn what_is_known_need_not_be_looked_at() {
        let kind = kind::by_kind("v1", "Pod").unwrap();
        let check = |selector: &str, left: &str| {
            let mut selector = FieldSelector::parse(kind, selector).unwrap();
            selector.forget_exact("metadata.name");
            assert_eq!(selector.to_string(), left);
        };
        check("metadata.name=a", "");
        check("metadata.name!=a,spec.nodeName=n", "metadata.name!=a,spec.nodeName=n");
        check("spec.nodeName=n,metadata.name=a,metadata.name=b", "spec.nodeName=n,metadata.name=b");
    }

    #[test]
    fn field_selectors() {
        check("Pod", "", Ok(true));
        check("Pod", "metadata.name=a", Ok(true));
        check("Pod", "metadata.name==a,metadata.namespace!=zz", Ok(true));
        check("Pod", "metadata.name!=a", Ok(false));
        check("Pod", r"metadata.name=a\,b", Ok(false));
        check("Pod", "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed", Ok(true));
        check("Pod", "spec.nodeName=", Ok(false));
        check("Pod", "spec.schedulerName=", Ok(true));
        check("Node", "spec.unschedulable=false", Ok(true));
        check("Event", "involvedObject.name=x", Ok(true));
        check("Event", "reportingComponent=", Ok(true));
        check("Pod", "spec.containers=x", Err("field label not supported: spec.containers"));
        check("Node", "status.phase=x", Err("field label not supported: status.phase"));
        let only = r#"only "metadata.name", "metadata.namespace""#;
        check("ConfigMap", "data.v=1", Err(&format!(r#""data.v" is not a known field selector: {only}"#)));
        check("ConfigMap", "=a", Err(&format!(r#""" is not a known field selector: {only}"#)));
        check(
            "Secret",
            "metadata.name=a,b",
            Err("invalid selector: 'metadata.name=a,b'; can't understand 'b'"),
        );
        check("Pod", "metadata.name=a=b", Err("invalid field selector: unescaped character in value: ="));
    }
}
