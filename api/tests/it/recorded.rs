//! The whole of the recorded data, where it is.

use crate::{case::Case, data, own::check_update_without_a_change, replay::replay, service};

#[test]
fn defaulting() {
    run("defaulting.json");
}

#[test]
fn validation() {
    run("validation.json");
}

#[test]
fn patches() {
    run("patch.json");
}

#[test]
fn applies() {
    run("apply.json");
}

#[test]
fn updates_without_a_change_change_nothing() {
    let Some(cases) = data::read("golden/defaulting.json") else { return };
    let cases = Case::parse_all(&cases);
    for case in cases.iter().filter(|case| service::answers(case, None).is_none()) {
        check_update_without_a_change(case);
    }
}

fn run(name: &str) {
    if let Some(cases) = data::read(&format!("golden/{name}")) {
        replay(&Case::parse_all(&cases));
    }
}
