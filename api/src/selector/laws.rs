//! What selectors select, held against the meaning of each requirement spelled out, and that their text says all of it.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    prelude::{BoxedStrategy, Strategy, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};
use serde_json::{Value, json};

use super::{FieldSelector, LabelSelector};
use crate::kind;

/// A requirement as its author means it.
#[derive(Clone, Debug)]
enum Meaning {
    Is(&'static str, String),
    IsNot(&'static str, String),
    Among(&'static str, Vec<String>),
    NotAmong(&'static str, Vec<String>),
    There(&'static str),
    Missing(&'static str),
    Above(&'static str, i64),
    Below(&'static str, i64),
}

type Labels = BTreeMap<&'static str, String>;

impl Meaning {
    fn holds(&self, labels: &Labels) -> bool {
        let number = |key: &str| labels.get(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Among(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotAmong(key, values) => !labels.get(key).is_some_and(|value| values.contains(value)),
            Self::There(key) => labels.contains_key(key),
            Self::Missing(key) => !labels.contains_key(key),
            Self::Above(key, bound) => number(key).is_some_and(|number| number > *bound),
            Self::Below(key, bound) => number(key).is_some_and(|number| number < *bound),
        }
    }

    /// As a client may write it; `style` chooses among forms that mean the same.
    fn text(&self, style: usize) -> String {
        let space = ["", " ", "  "][style % 3];
        match self {
            Self::Is(key, value) => {
                format!("{space}{key}{space}{}{space}{value}", ["=", "=="][style % 2])
            }
            Self::IsNot(key, value) => format!("{key}{space}!={space}{value}{space}"),
            Self::Among(key, values) => format!("{key} in{space}({space}{}{space})", values.join(",")),
            Self::NotAmong(key, values) => format!("{key} notin ({}){space}", values.join(" , ")),
            Self::There(key) => format!("{space}{key}{space}"),
            Self::Missing(key) => format!("!{space}{key}"),
            Self::Above(key, bound) => format!("{key}{space}>{space}{bound}"),
            Self::Below(key, bound) => format!("{key}{space}<{space}{bound}"),
        }
    }

    /// As an expression of a spec, where there is one.
    fn expression(&self) -> Option<Value> {
        let (key, operator, values) = match self {
            Self::Is(key, value) => (key, "In", vec![value.clone()]),
            Self::IsNot(key, value) => (key, "NotIn", vec![value.clone()]),
            Self::Among(key, values) => (key, "In", values.clone()),
            Self::NotAmong(key, values) => (key, "NotIn", values.clone()),
            Self::There(key) => (key, "Exists", Vec::new()),
            Self::Missing(key) => (key, "DoesNotExist", Vec::new()),
            Self::Above(..) | Self::Below(..) => return None,
        };
        Some(json!({"key": key, "operator": operator, "values": values}))
    }
}

const KEYS: [&str; 5] = ["app", "in", "notin", "example.com/tier", "a.b-c_d"];

fn value() -> BoxedStrategy<String> {
    select(vec!["", "x", "in", "notin", "1", "2", "10", "a.b-c_d", "X"]).prop_map(str::to_owned).boxed()
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(select(KEYS.to_vec()), value(), 0..5)
}

fn meaning() -> impl Strategy<Value = Meaning> {
    let key = || select(KEYS.to_vec());
    let values = || vec(value(), 1..4);
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Meaning::Is(key, value)),
        (key(), value()).prop_map(|(key, value)| Meaning::IsNot(key, value)),
        (key(), values()).prop_map(|(key, values)| Meaning::Among(key, values)),
        (key(), values()).prop_map(|(key, values)| Meaning::NotAmong(key, values)),
        key().prop_map(Meaning::There),
        key().prop_map(Meaning::Missing),
        (key(), 0..11_i64).prop_map(|(key, bound)| Meaning::Above(key, bound)),
        (key(), 0..11_i64).prop_map(|(key, bound)| Meaning::Below(key, bound)),
    ]
}

fn as_object(labels: &Labels) -> Value {
    json!(labels)
}

proptest! {
    #[test]
    fn a_label_selector_selects_what_it_means(
        meanings in vec((meaning(), 0..6_usize), 0..4),
        labels in vec(labels(), 1..6),
    ) {
        let text: Vec<String> = meanings.iter().map(|(meaning, style)| meaning.text(*style)).collect();
        let selector = LabelSelector::parse(&text.join(",")).unwrap();
        for labels in &labels {
            let expected = meanings.iter().all(|(meaning, _)| meaning.holds(labels));
            prop_assert_eq!(selector.matches(as_object(labels).as_object()), expected, "{} {:?}", selector, labels);
        }
        prop_assert_eq!(selector.is_empty(), meanings.is_empty());
        let printed = selector.to_string();
        let again = LabelSelector::parse(&printed).unwrap();
        prop_assert_eq!(again.to_string(), printed);
        for labels in &labels {
            let labels = as_object(labels);
            prop_assert_eq!(again.matches(labels.as_object()), selector.matches(labels.as_object()));
        }
    }

    #[test]
    fn the_selector_of_a_spec_selects_the_same(meanings in vec(meaning(), 0..4), labels in labels()) {
        let expressions: Vec<Value> = meanings.iter().filter_map(Meaning::expression).collect();
        let selector = LabelSelector::from_object(&json!({"matchExpressions": expressions})).unwrap();
        let said = meanings.iter().filter(|meaning| meaning.expression().is_some());
        let expected = said.into_iter().all(|meaning| meaning.holds(&labels));
        prop_assert_eq!(selector.matches(as_object(&labels).as_object()), expected);
        let again = LabelSelector::parse(&selector.to_string()).unwrap();
        prop_assert_eq!(again.matches(as_object(&labels).as_object()), expected);
    }

    #[test]
    fn labels_of_a_spec_must_all_be_there(wanted in labels(), labels in labels()) {
        let selector = LabelSelector::from_object(&json!({"matchLabels": as_object(&wanted)})).unwrap();
        let expected = wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
        prop_assert_eq!(selector.matches(as_object(&labels).as_object()), expected);
    }

    #[test]
    fn a_field_selector_compares_values_as_they_are(
        terms in vec((0..3_usize, 0..3_usize, r"[a=,\\]{0,4}"), 0..4),
        values in (r"[a=,\\]{0,4}", r"[a=,\\]{0,4}", r"[a=,\\]{0,4}"),
    ) {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        let fields = ["metadata.name", "spec.nodeName", "status.phase"];
        let values = [values.0, values.1, values.2];
        let object = json!({
            "metadata": {"name": values[0]}, "spec": {"nodeName": values[1]}, "status": {"phase": values[2]},
        });
        let escaped = |value: &str| value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
        let text: Vec<String> = terms
            .iter()
            .map(|(field, operator, value)| {
                format!("{}{}{}", fields[*field], ["=", "==", "!="][*operator], escaped(value))
            })
            .collect();
        let selector = FieldSelector::parse(pod, &text.join(",")).unwrap();
        let holds = |(field, operator, value): &(usize, usize, String)| {
            (values[*field] == *value) == (*operator < 2)
        };
        prop_assert_eq!(selector.matches(pod, &object), terms.iter().all(holds), "{}", selector);
        prop_assert_eq!(&FieldSelector::parse(pod, &selector.to_string()).unwrap(), &selector);
    }

    #[test]
    fn no_text_is_too_strange_to_be_refused(text in r"[a!=<>(), .in/-]{0,16}") {
        // What parses says the same when it is printed and parsed again.
        if let Ok(selector) = LabelSelector::parse(&text) {
            let printed = selector.to_string();
            prop_assert_eq!(LabelSelector::parse(&printed).unwrap().to_string(), printed);
        }
    }
}
