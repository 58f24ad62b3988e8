//! Commands that need no cluster, and what is said when there is none.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use expect_test::{Expect, expect};

use crate::cluster::at_home_in;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Runs `dunlin` with a configuration file of its own.
    fn dunlin(&self, args: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(args).env("DUNLIN_CONFIG", self.dir.path().join("config")).current_dir(self.dir.path());
        at_home_in(&mut command, self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads no stdin may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Writes a context whose server is a port on which nobody listens.
    fn with_unreachable_server(self) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let pair = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let certificate = STANDARD.encode(pair.cert.pem());
        let key = STANDARD.encode(pair.signing_key.serialize_pem());
        let config = format!(
            "current-context: dev\nclusters:\n- name: dev\n  cluster: {{server: 'quic://127.0.0.1:{port}', \
             certificate-authority-data: {certificate}}}\nusers:\n- name: dev\n  user: {{client-certificate-data: \
             {certificate}, client-key-data: {key}}}\ncontexts:\n- name: dev\n  context: {{cluster: dev, user: dev}}\n"
        );
        std::fs::write(self.dir.path().join("config"), config).unwrap();
        self
    }
}

fn check(home: &Home, args: &[&str], code: i32, expected: &Expect) {
    let output = home.dunlin(args, "");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    expected.assert_eq(&text.replace(home.dir.path().to_str().unwrap(), "HOME"));
}

#[test]
fn without_a_configuration() {
    let home = Home::new();
    check(
        &home,
        &["version", "--client"],
        0,
        &expect![[r"
        Client Version: v0.0.0
    "]],
    );
    check(
        &home,
        &["get", "pods"],
        64,
        &expect![[r"
        error: no cluster is configured: HOME/config does not exist; start a cluster here with `dunlin dev`, or name a client configuration with --config
    "]],
    );
    let script = home.dunlin(&["completion", "bash"], "");
    assert!(String::from_utf8(script.stdout).unwrap().contains("_dunlin()"));
}

#[test]
fn wrong_usage_exits_with_64() {
    let home = Home::new();
    let check = |args: &[&str], expected: &str| {
        let output = home.dunlin(args, "");
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(&["aply"], "similar subcommand exists: 'apply'");
    check(&["get", "pods", "--selektor", "a=b"], "'--selector'");
    check(&["get", "pods", "-o", "xml"], "allowed formats are: wide, yaml, json, name, jsonpath=TEMPLATE");
    check(&["config", "use-context", "x"], "no cluster is configured");
    check(&["shim"], "--dir is missing");
}

#[test]
fn an_unreachable_coordinator_is_told_at_once() {
    let home = Home::new().with_unreachable_server();
    let start = std::time::Instant::now();
    let output = home.dunlin(&["get", "pods"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: quic://127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("refused the connection: is the coordinator running"), "{stderr}");
    assert!(start.elapsed() < std::time::Duration::from_secs(4));
}

#[test]
fn contexts_are_shown_and_changed() {
    let home = Home::new().with_unreachable_server();
    check(
        &home,
        &["config", "get-contexts"],
        0,
        &expect![[r"
        CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE
        *         dev    dev       dev        
    "]],
    );
    check(
        &home,
        &["config", "set-context", "--current", "-n", "demo"],
        0,
        &expect![[r#"
        Context "dev" modified.
    "#]],
    );
    check(
        &home,
        &["config", "use-context", "nope"],
        64,
        &expect![[r#"
        error: no context exists with the name: "nope"; there are: dev
    "#]],
    );
    let view = home.dunlin(&["config", "view"], "");
    let view = String::from_utf8(view.stdout).unwrap();
    assert!(view.contains("namespace: demo") && view.contains("DATA+OMITTED"), "{view}");
}
