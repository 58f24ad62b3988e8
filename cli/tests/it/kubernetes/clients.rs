//! The programs of `clients/`, each with another library, against a cluster with nodes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::kubectl::kubeconfig;
use crate::cluster::{Namespace, workloads};

#[test]
fn the_python_client_makes_its_round() {
    if !library("python").join(".complete").is_file() {
        println!("SKIPPED: the Python client is not there; `cargo xtask packages` installs it");
        return;
    }
    let mut command = Command::new("python3");
    command.arg(sources("python/round.py")).env("PYTHONPATH", library("python"));
    make_round(command);
}

#[test]
fn the_javascript_client_makes_its_round() {
    if !library("node").join(".complete").is_file() {
        println!("SKIPPED: the JavaScript client is not there; `cargo xtask packages` installs it");
        return;
    }
    let mut command = Command::new("node");
    command.arg(sources("node/round.mjs")).env("CLIENT_LIBRARY", library("node"));
    make_round(command);
}

#[test]
fn kube_rs_makes_its_round() {
    let program = library("kube-rs").join("debug/kube-rs-round");
    if !program.is_file() {
        println!("SKIPPED: the program with kube-rs is not there; `cargo xtask packages` builds it");
        return;
    }
    make_round(Command::new(program));
}

/// Runs a program in a namespace of its own; it ends by itself.
fn make_round(mut command: Command) {
    let namespace = Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, kubeconfig(&namespace.cluster.config(), &namespace.name)).unwrap();
    command.env("KUBECONFIG", config).env("NAMESPACE", &namespace.name).env("HOME", dir.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}{}", output.status, said(&output.stdout), said(&output.stderr));
    assert!(said(&output.stdout).ends_with("done\n"));
}

fn library(name: &str) -> PathBuf {
    workloads().parent().unwrap().join("clients").join(name)
}

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("clients").join(name)
}
