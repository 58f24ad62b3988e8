//! A node pulls from a registry: with credentials and without, by each policy, and when the registry is gone.

use std::fs;

use super::programs::Registry;
use crate::{
    cluster::wait_until,
    pods::pod,
    site::{Machine, Site},
};

/// A site of one node that may speak plainly with `registry`.
fn site(registry: &Registry) -> (Site, Machine) {
    let site = Site::start();
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--config-file", &config(&site, registry)]);
    site.wait_for_ready(&machine);
    (site, machine)
}

/// A file for both of them, in which the registry may be spoken to plainly.
pub(crate) fn config(site: &Site, registry: &Registry) -> String {
    let file = site.data().join("plain.yaml");
    let registries =
        format!("  registries:\n    configs:\n      '{}': {{ plainHttp: true }}\n", registry.address);
    let text = format!("edgeNode:\n{registries}coordinator:\n{registries}");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// A site whose coordinator may speak plainly with `registry`, too, with its Secret and one node, and the file of both.
pub(crate) fn site_of(registry: &Registry, options: &[&str]) -> (Site, Machine, String) {
    let mut site = Site::start();
    let file = config(&site, registry);
    site.kill_coordinator();
    site.start_coordinator_with(&["--config-file", &file]);
    make_secret(&site, registry);
    let mut machine = site.machine("n1", "n1");
    let token = site.token(&[]);
    machine.start_agent(&[&["--join", &token, "--config-file", &file], options].concat());
    site.wait_for_ready(&machine);
    (site, machine, file)
}

pub(crate) fn with_secret(pod: &str) -> String {
    pod.replace("spec:\n", "spec:\n  imagePullSecrets: [{name: harbour}]\n")
}

pub(crate) fn make_secret(site: &Site, registry: &Registry) {
    let server = format!("--docker-server={}", registry.address);
    let login = ["--docker-username=gull", "--docker-password=tideline"];
    site.ok(&[&["create", "secret", "docker-registry", "harbour", &server], login.as_slice()].concat(), "");
}

fn status(site: &Site, pod: &str, path: &str) -> String {
    let path = format!("jsonpath={{.status.containerStatuses[0]{path}}}");
    site.dunlin(&["get", "pod", pod, "-o", &path], "").stdout
}

/// Waits until a container waits for this reason; answers the message.
pub(crate) fn waits(site: &Site, pod: &str, reason: &str) -> String {
    wait_until(&format!("pod {pod} {reason}"), || {
        let found = status(site, pod, ".state.waiting.reason");
        let described = || site.dunlin(&["describe", "pod", pod], "").stdout;
        if found == reason { Ok(()) } else { Err(format!("{found}\n{}", described())) }
    });
    status(site, pod, ".state.waiting.message")
}

#[test]
fn pods_run_images_of_a_registry_as_their_secrets_and_policies_say() {
    let Some(mut registry) = Registry::start() else { return };
    let digest = registry.push("ticker", "team/ticker:1");
    let (site, mut machine) = site(&registry);
    let image = format!("image: '{}/team/ticker:1'", registry.address);

    // Nobody's pull is refused, and the status says whose credentials would do.
    site.ok(&["apply", "-f", "-"], &pod("nobody", "Always", &image));
    let why = waits(&site, "nobody", "ImagePullBackOff");
    assert!(why.contains("Back-off pulling image") && why.contains("other credentials than none"), "{why}");

    // The Secret comes later than the pod that names it.
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("late", "Always", &image)));
    waits(&site, "late", "ImagePullBackOff");
    make_secret(&site, &registry);
    site.wait_for(&["get", "pod", "late", "--no-headers"], |row| row.contains("Running"));
    assert_eq!(status(&site, "late", ".imageID"), format!("{}/team/ticker@{digest}", registry.address));
    let events = site.ok(&["get", "events"], "");
    for expected in ["Pulling image", "Successfully pulled image", "Failed to pull image"] {
        assert!(events.contains(expected), "{expected} is missing in {events}");
    }
    site.wait_for(&["get", "node", "n1", "-o", "jsonpath={.status.images}"], |images| {
        images.contains(&digest)
    });

    for (name, container, reason, words) in [
        (
            "never",
            image.replace(":1'", ":2', imagePullPolicy: Never"),
            "ErrImageNeverPull",
            "pull policy of Never",
        ),
        ("absent", image.replace(":1'", ":2'"), "ImagePullBackOff", "team/ticker:2: not found"),
        ("nowhere", "image: '127.0.0.1:1/x:1'".to_owned(), "ImagePullBackOff", "dial tcp 127.0.0.1:1"),
        ("misspelt", "image: '127.0.0.1:1/X:1'".to_owned(), "InvalidImageName", "invalid reference format"),
    ] {
        site.ok(&["apply", "-f", "-"], &with_secret(&pod(name, "Always", &container)));
        let why = waits(&site, name, reason);
        assert!(why.contains(words), "{name}: {why}");
    }
    // What is here needs neither registry nor Secret.
    site.ok(&["apply", "-f", "-"], &pod("here", "Always", &format!("{image}, imagePullPolicy: Never")));
    site.wait_for(&["get", "pod", "here", "--no-headers"], |row| row.contains("Running"));

    // Without a registry, and without a coordinator for that matter, a pod starts again what it ran.
    let always = format!("{image}, imagePullPolicy: Always");
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("always", "Always", &always)));
    site.wait_for(&["get", "pod", "always", "--no-headers"], |row| row.contains("Running"));
    registry.stop();
    machine.stop_agent();
    machine.kill_runner();
    machine.start_agent(&["--config-file", &config(&site, &registry)]);
    wait_until("a restarted pod", || {
        let restarts = status(&site, "always", ".restartCount");
        let running = status(&site, "always", ".state.running");
        let described = || site.dunlin(&["describe", "pod", "always"], "").stdout;
        if restarts == "1" && !running.is_empty() {
            Ok(())
        } else {
            Err(format!("{restarts} {running}\n{}", described()))
        }
    });
    assert_eq!(status(&site, "always", ".imageID"), format!("{}/team/ticker@{digest}", registry.address));
    let events =
        site.wait_for(&["get", "events"], |events| events.contains("starting what this pod ran before"));
    assert!(events.contains("dial tcp"), "{events}");

    // Once it is there again, what waited for it is pulled.
    registry.restart();
    site.ok(&["delete", "pod", "nobody", "--grace-period=1"], "");
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("nobody", "Always", &always)));
    site.wait_for(&["get", "pod", "nobody", "--no-headers"], |row| row.contains("Running"));
}

#[test]
fn the_coordinator_compiles_what_a_node_pulls() {
    let Some(registry) = Registry::start() else { return };
    registry.push("ticker", "team/ticker:1");
    registry.push("hello", "team/hello:1");
    let (mut site, _machine, file) = site_of(&registry, &["--compile", "never"]);
    let image = |name: &str| format!("image: '{}/team/{name}:1'", registry.address);
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("ticks", "Always", &image("ticker"))));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));
    let log = site.log();
    assert!(log.contains("pulled an image to compile it") && log.contains("compiled a module"), "{log}");

    // One that cannot reach the registry says why there is no code.
    site.kill_coordinator();
    let strict = fs::read_to_string(&file).unwrap().replace("plainHttp: true", "plainHttp: false");
    fs::write(&file, strict).unwrap();
    site.start_coordinator_with(&["--config-file", &file]);
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("greets", "Never", &image("hello"))));
    let why = waits(&site, "greets", "ImagePullBackOff");
    let causes =
        ["this node does not compile", "the coordinator cannot pull the image", "answered without TLS"];
    assert!(causes.iter().all(|cause| why.contains(cause)), "{why}");
    assert!(status(&site, "ticks", ".restartCount") == "0", "{}", site.log());
}
