//! The table of interfaces names tests that are there.

use std::{fs, path::Path};

#[test]
fn the_table_of_interfaces_names_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs/wasi.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |"));
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        for test in last.split(", ") {
            let (file, function) =
                test.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("no test: {row}"));
            let folder =
                if file.contains('/') { root.clone() } else { root.join("edge-node/wasm-host/src/tests") };
            let text =
                fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("fn {function}()")), "{file} has no test {function}: {row}");
        }
        named += 1;
    }
    assert!(named > 20, "{named} rows");
}
