//! What is made of options, and what is said of those that are wrong.

use super::*;
use crate::config::machine::short_serial;

fn machine() -> Machine {
    Machine {
        hostname: "gull".to_owned(),
        serial: Some("0a1b2c3d".to_owned()),
        machine_id: None,
        state_dir: PathBuf::from("/state"),
    }
}

#[test]
fn nothing_given_is_valid() {
    let config = EdgeNodeArgs::default().validate(machine()).unwrap();
    assert_eq!((config.node_name.as_str(), config.state_dir), ("gull", PathBuf::from("/state")));
    assert_eq!(config.blocks.capacity(), 992);
}

#[test]
fn names_are_made_of_what_the_machine_has() {
    let check = |template: &str, expected: &str| {
        let args = EdgeNodeArgs { node_name: Some(template.to_owned()), ..EdgeNodeArgs::default() };
        let found = args.validate(machine());
        let found = found.map(|config| config.node_name).unwrap_or_else(|error| error.to_string());
        assert!(found.contains(expected), "{found}");
    };
    check("pi-{serial}.{hostname}", "pi-0a1b2c3d.gull");
    check("pi-{machineId}", "node name `pi-{machineId}`: this machine has no {machineId}");
    check("pi-{model}", "node name `pi-{model}`: lower-case");
    assert_eq!(short_serial("10000000a1b2c3D4\0").as_deref(), Some("a1b2c3d4"));
    assert_eq!(short_serial("\n"), None);
}

#[test]
fn all_problems_are_told_at_once() {
    let args = EdgeNodeArgs {
        node_name: Some("Not_A_Name".to_owned()),
        labels: ["a=b", "nothing", "node-role.kubernetes.io/worker=", "node.kubernetes.io/x=y"]
            .map(str::to_owned)
            .to_vec(),
        taints: vec!["k=v:Sometimes".to_owned()],
        coordinator: vec!["host".to_owned()],
        address_blocks: Some("1020+9".to_owned()),
        loopback: Some(0),
        logs_max_mib: Some(9),
        eviction_soft: Some("pid.available<7".to_owned()),
        ..EdgeNodeArgs::default()
    };
    let text = args.validate(machine()).unwrap_err().to_string();
    assert!(!text.contains("node.kubernetes.io/x"), "{text}");
    let role = "label `node-role.kubernetes.io/worker=`: no node may give itself this one";
    let parts = [
        "Not_A_Name",
        "label `nothing`",
        role,
        "k=v:Sometimes",
        "`host`",
        "1020+9",
        "loopback `0`",
        "`9` MiB",
        "grace period must be specified for the soft eviction threshold pid.available",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn given_options_hide_those_of_the_file() {
    let given = EdgeNodeArgs { join: Some("token".to_owned()), ..EdgeNodeArgs::default() };
    let file = EdgeNodeArgs {
        join_file: Some(PathBuf::from("/file")),
        taints: vec!["k:NoExecute".to_owned()],
        ..EdgeNodeArgs::default()
    };
    let config = given.or(file).validate(machine()).unwrap();
    assert_eq!(config.join, Some(JoinSource::Token("token".to_owned())));
    assert_eq!(config.taints, [("k".to_owned(), String::new(), "NoExecute".to_owned())]);
}
