//! The service account of a pod, as its containers find it: token, authority, namespace, and where the API is.

use std::{fs, net::Ipv4Addr, process::Command};

use super::{
    node,
    shore::{Berth, is_there, on_each_runtime, skipped},
};
use crate::{
    cluster::wait_until,
    kubernetes::{client::Client, kubectl::Kubectl},
};

/// What the API answers to whoever shows this token.
fn status_of_pods(berth: &Berth, token: &str) -> u16 {
    let site = &berth.shore.site;
    let mut client = Client::nobody(&site.config(), &site.address());
    let authorization = format!("Bearer {token}");
    let path = format!("/api/v1/namespaces/{}/pods", berth.namespace);
    client.send("GET", &path, &[("authorization", &authorization)], b"").status
}

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const SLEEPER: &str = "containers: [{name: c, image: BUSYBOX, command: [sleep, '1000']}]\n";

#[test]
fn a_container_has_the_token_of_its_account_and_knows_where_the_api_is() {
    on_each_runtime("accounts", |berth| {
        berth.ok(&["create", "serviceaccount", "gull"]);
        berth.pod("caller", &format!("serviceAccountName: gull\n{SLEEPER}"));
        berth.wait_for("caller", "phase", "Running");
        let run = |pod: &str, words: &str| berth.ok(&["exec", pod, "--", "sh", "-c", words]);
        let token = run("caller", &format!("cat {FOLDER}/token"));
        assert_eq!(run("caller", &format!("cat {FOLDER}/namespace")), berth.namespace);
        assert!(run("caller", &format!("cat {FOLDER}/ca.crt")).starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(run("caller", &format!("stat -Lc '%a %u' {FOLDER}/token")), "644 0\n");
        let named = run("caller", "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT");
        // The coordinator listens on the loopback of the machine, which is not the pod's: the bridge carries there.
        let (host, port) = named.trim().split_once(':').unwrap();
        assert!(host.starts_with("10.42."), "{named}");
        assert_eq!(Some(port), berth.shore.site.address().strip_prefix("127.0.0.1:"));
        // What it may do is what its account may do.
        assert_eq!(status_of_pods(berth, &token), 403);
        berth.ok(&["create", "role", "reader", "--verb=list", "--resource=pods"]);
        let account = format!("--serviceaccount={}:gull", berth.namespace);
        berth.ok(&["create", "rolebinding", "gull", "--role=reader", &account]);
        assert_eq!(status_of_pods(berth, &token), 200);
        // Where all containers have one user, it alone can read the token; else the pod's group, if there is one.
        let user = "securityContext: {runAsUser: 1000}\n";
        let both = "securityContext: {runAsUser: 1000, fsGroup: 2000}\n";
        for (name, spec, seen) in [("user", user, "600 1000 0\n"), ("both", both, "640 1000 2000\n")] {
            berth.pod(name, &format!("{spec}{SLEEPER}"));
            berth.wait_for(name, "phase", "Running");
            assert_eq!(run(name, &format!("stat -Lc '%a %u %g' {FOLDER}/token")), seen, "{name}");
            assert!(run(name, &format!("cat {FOLDER}/token")).len() > 100);
        }
        // It ends with its pod.
        berth.ok(&["delete", "pod", "caller", "user", "both"]);
        wait_until("the end of the token", || match status_of_pods(berth, &token) {
            401 => Ok(()),
            other => Err(other.to_string()),
        });
    });
}

#[test]
fn a_token_for_somebody_else_is_asked_for_and_none_is_mounted_where_none_is_wanted() {
    on_each_runtime("vault", |berth| {
        let spec = "automountServiceAccountToken: false\nvolumes:\n- name: t\n  projected:\n    sources:\n    \
                    - serviceAccountToken: {path: vault/token, audience: vault, expirationSeconds: 600}\n    \
                    - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}\n";
        let mounts = "volumeMounts: [{name: t, mountPath: /t}]";
        let container =
            format!("containers: [{{name: c, image: BUSYBOX, command: [sleep, '1000'], {mounts}}}]\n");
        berth.pod("vaulted", &format!("{spec}{container}"));
        berth.wait_for("vaulted", "phase", "Running");
        let run = |words: &str| berth.dunlin(&["exec", "vaulted", "--", "sh", "-c", words], "");
        let token = run("cat /t/vault/token").stdout;
        assert_eq!(token.split('.').count(), 3, "{token}");
        assert_eq!(status_of_pods(berth, &token), 401, "it is not for the API");
        assert_eq!(run("cat /t/name").stdout, "vaulted");
        assert_ne!(run(&format!("ls {FOLDER}")).code, 0);
    });
}

/// An address of the machine that is not loopback's and nobody else's: that of a bridge without ports.
struct OwnAddress {
    name: String,
    address: Ipv4Addr,
}

impl OwnAddress {
    /// `None`, said aloud, where there can be none.
    fn new() -> Option<Self> {
        let number = std::process::id();
        let name = format!("dltest{}", number % 100_000);
        let address = Ipv4Addr::new(10, 231, 1 + u8::try_from(number % 250).unwrap(), 1);
        let own = Self { name, address };
        let made = own.ip(&["link", "add", &own.name, "type", "bridge"])
            && own.ip(&["address", "add", &format!("{address}/32"), "dev", &own.name])
            && own.ip(&["link", "set", &own.name, "up"]);
        if !made {
            skipped("the machine lets this test have no address of its own");
        }
        made.then_some(own)
    }

    fn ip(&self, words: &[&str]) -> bool {
        Command::new("ip").args(words).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for OwnAddress {
    fn drop(&mut self) {
        self.ip(&["link", "delete", &self.name]);
    }
}

#[test]
fn a_container_calls_the_api_from_its_own_network() {
    let Some(own) = is_there("crun").then(OwnAddress::new).flatten() else { return };
    let Some((site, machine, _registry, image)) = node::site_at(own.address, "crun") else { return };
    let Some(kubectl) = Kubectl::new(&site.config(), "default") else {
        return skipped("there is no kubectl 1.36; `cargo xtask packages` installs it");
    };
    // The machine's files, because kubectl needs its libraries.
    let spec = "  volumes: [{name: host, hostPath: {path: /}}]\n";
    let container = format!(
        "    image: {image}\n    command: [sleep, '1000']\n    volumeMounts: [{{name: host, mountPath: /host, readOnly: true}}]\n"
    );
    site.ok(&["apply", "-f", "-"], &node::pod("caller", spec, &container));
    node::wait_for(&site, "caller", "phase", "Running");
    let pod_ip = site.ok(&["get", "pod", "caller", "-o", "jsonpath={.status.podIP}"], "");
    assert!(pod_ip.starts_with("10.42."), "{pod_ip}");
    let libraries = format!("/host/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    // No configuration: it is told by the variables, and finds token, authority and namespace where they are mounted.
    let line = format!(
        "unset KUBECONFIG; HOME=/tmp; export HOME; echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; \
         exec {libraries}/ld-linux-*.so.* --library-path {libraries} /host{} get pods -o name",
        fs::canonicalize(kubectl.program()).unwrap().display()
    );
    let call = || site.dunlin(&["exec", "caller", "--", "sh", "-c", &line], "");
    let refused = call();
    assert!(
        refused
            .stderr
            .contains("User \"system:serviceaccount:default:default\" cannot list resource \"pods\""),
        "{refused:?}"
    );
    site.ok(
        &["create", "rolebinding", "callers", "--clusterrole=view", "--serviceaccount=default:default"],
        "",
    );
    wait_until("an answer of the API", || {
        let answer = call();
        let expected = format!("{}\npod/caller\n", site.address());
        if answer.stdout == expected { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    drop(machine);
}
