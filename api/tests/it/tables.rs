//! Columns of tables.

use std::collections::BTreeMap;

use dunlin_api::{
    Kind, kind,
    table::{self, IncludeObject},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::data;

#[test]
fn own_tables_have_the_columns_of_kubernetes() {
    let compared = compare(include_str!("../golden/tables.json"));
    assert!(compared.len() > 5);
}

#[test]
fn every_kind_has_the_columns_of_kubernetes() {
    let Some(tables) = data::read("tables.json") else { return };
    let compared = compare(&tables);
    // What other kinds have is said by their definition, or by who added them.
    let missing: Vec<_> = kind::all().map(list_path).filter(|path| !compared.contains(path)).collect();
    println!("{} tables compared; not in the data: {missing:?}", compared.len());
}

/// Compares the kinds that are served, and answers the paths of their lists.
fn compare(tables: &str) -> Vec<String> {
    let mut tables: BTreeMap<String, Value> = serde_json::from_str(tables).expect("tables are JSON");
    let mut compared = Vec::new();
    for kind in kind::all() {
        let path = list_path(kind);
        let Some(expected) = tables.remove(&path) else { continue };
        let found = table::render(kind, [], IncludeObject::None, Timestamp::UNIX_EPOCH);
        let column =
            |column: &Value| json!([column["name"], column["type"], column["format"], column["priority"]]);
        let found: Value = found["columnDefinitions"].as_array().into_iter().flatten().map(column).collect();
        assert_eq!(found, expected, "{path}");
        compared.push(path);
    }
    compared
}

fn list_path(kind: &Kind) -> String {
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    format!("/{root}/{}/{}", kind.api_version(), kind.plural)
}
