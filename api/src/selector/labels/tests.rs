//! Tests of label selectors.

use serde_json::json;

use super::*;

fn check(selector: &str, expected: &[usize]) {
    let selector = LabelSelector::parse(selector).unwrap();
    let selected = (0..4).filter(|i| {
        let labels = json!({"i": i.to_string(), "par": if i % 2 == 0 { "even" } else { "odd" }});
        selector.matches(labels.as_object())
    });
    assert_eq!(selected.collect::<Vec<_>>(), expected, "{selector}");
    assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
}

fn check_error(selector: &str, message: &str) {
    assert_eq!(LabelSelector::parse(selector).unwrap_err().to_string(), message, "{selector}");
}

#[test]
fn label_selectors() {
    check("", &[0, 1, 2, 3]);
    check("par=even", &[0, 2]);
    check("par!=even", &[1, 3]);
    check("zz!=even", &[0, 1, 2, 3]);
    check("i in (0,2)", &[0, 2]);
    check("i notin (0,2)", &[1, 3]);
    check("par", &[0, 1, 2, 3]);
    check("!par", &[]);
    check("i<2", &[0, 1]);
    check("i>1", &[2, 3]);
    check("par=even,i!=0", &[2]);
    check("zz", &[]);
    check(" par = even ", &[0, 2]);
    check("par in (even, odd),i=3", &[3]);
    check("i=", &[]);
    check("par==odd", &[1, 3]);
}

#[test]
fn label_selector_errors() {
    check_error("a in", "unable to parse requirement: found '' expected: '('");
    check_error("a=b=c", "found '=', expected: ',' or 'end of string'");
    check_error("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'");
    check_error("a=b,", "found '', expected: identifier after ','");
    check_error(",a", "found ',', expected: !, identifier, or 'end of string'");
}

#[test]
fn object_form() {
    let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]});
    let selector = LabelSelector::from_object(&selector).unwrap();
    assert_eq!(selector.to_string(), "a=b,c notin (d)");
    assert!(selector.matches(json!({"a": "b"}).as_object()));
    assert!(!selector.matches(json!({"a": "b", "c": "d"}).as_object()));
    assert!(!selector.matches(None));
}
