//! Images that tools push to the coordinator, in pods: their content comes over the link.

use std::fs;

use super::{
    image::Busybox,
    shore::{RUNTIMES, is_there, runs_containers},
};
use crate::{
    cluster::wait_until,
    registries::{
        node::waits,
        tools::{authority, builder},
    },
    site::Site,
};

/// Pushes to the site's own registry.
fn push(site: &Site, image: &Busybox, name: &str, token: &str) {
    let certificates = site.data().join("certs.d");
    fs::create_dir_all(&certificates).unwrap();
    fs::write(certificates.join("ca.crt"), authority(site)).unwrap();
    let (login, certificates) = (format!("any:{token}"), certificates.display().to_string());
    let to = format!("{}/{name}", site.address());
    image.push(&to, &["--dest-creds", &login, "--dest-cert-dir", &certificates]);
}

fn pod(name: &str, containers: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 2\n  containers:\n{containers}"
    )
}

fn image_id(site: &Site, pod: &str) -> String {
    site.ok(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].imageID}"], "")
}

#[test]
fn an_image_that_was_pushed_to_the_coordinator_runs() {
    let Some(image) = Busybox::make() else { return };
    for runtime in RUNTIMES.into_iter().filter(|runtime| is_there(runtime)) {
        let mut site = Site::start();
        let token = builder(&site);
        let mut machine = site.machine(runtime, runtime);
        machine.start_agent(&["--join", &site.token(&[]), "--runtime", runtime]);
        site.wait_for_ready(&machine);
        if !runs_containers(&site, runtime) {
            return;
        }

        // The pod is there before its image.
        let server =
            "  - {name: c, image: 'dunlin.local/team/busybox:1', command: [httpd, -f, -p, '80', -h, /www]}\n";
        site.ok(&["apply", "-f", "-"], &pod("web", server));
        let why = waits(&site, "web", "ImagePullBackOff");
        assert!(why.contains("nothing was pushed as `dunlin.local/team/busybox:1`"), "{why}");
        push(&site, &image, "team/busybox:1", &token);
        site.wait_for(&["get", "pod", "web", "--no-headers"], |row| row.contains("Running"));
        let asked = site.dunlin(&["exec", "web", "--", "wget", "-qO-", "http://127.0.0.1/"], "").stdout;
        assert_eq!(asked, "dunlin\n", "{runtime}");
        let id = image_id(&site, "web");
        assert!(id.starts_with("dunlin.local/team/busybox@sha256:"), "{id}");
        let events = site.ok(&["get", "events"], "");
        assert!(events.contains("Successfully pulled image \"dunlin.local/team/busybox:1\""), "{events}");

        // By its digest, beside a module that nobody has here yet.
        site.push("http-hello");
        let both = format!(
            "  - {{name: c, image: '{id}', command: [sleep, '1000']}}\n  - {{name: w, image: dunlin.local/http-hello, \
             ports: [{{containerPort: 8080}}]}}\n"
        );
        site.ok(&["apply", "-f", "-"], &pod("both", &both));
        site.wait_for(&["get", "pod", "both", "--no-headers"], |row| row.contains("2/2"));
        let asked =
            site.dunlin(&["exec", "both", "-c", "c", "--", "wget", "-qO-", "http://127.0.0.1:8080/"], "");
        assert_eq!(asked.code, 0, "{runtime}: {asked:?}");

        // As a volume of another container.
        let mounted = "  - {name: c, image: 'dunlin.local/team/busybox:1', command: [sleep, '1000'], volumeMounts: \
                       [{name: site, mountPath: /site, subPath: www}]}\n  volumes:\n  - {name: site, image: {reference: \
                       'dunlin.local/team/site:1'}}\n";
        site.ok(&["apply", "-f", "-"], &pod("mounts", mounted));
        let why = waits(&site, "mounts", "ImagePullBackOff");
        assert!(why.contains("nothing was pushed as `dunlin.local/team/site:1`"), "{why}");
        push(&site, &image, "team/site:1", &token);
        site.wait_for(&["get", "pod", "mounts", "--no-headers"], |row| row.contains("Running"));
        let read = site.dunlin(&["exec", "mounts", "--", "cat", "/site/index.html"], "").stdout;
        assert_eq!(read, "dunlin\n", "{runtime}");

        // Its container outlives the agent, and is reached again.
        machine.stop_agent();
        site.kill_coordinator();
        machine.start_agent(&["--runtime", runtime]);
        site.start_coordinator();
        site.wait_for_ready(&machine);
        wait_until("its container is reached again", || {
            let reached = site.dunlin(&["exec", "web", "--", "true"], "");
            if reached.code == 0 { Ok(()) } else { Err(reached.stderr) }
        });
        assert_eq!(image_id(&site, "web"), id);

        let missing = "  - {name: c, image: 'dunlin.local/team/busybox@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}\n";
        site.ok(&["apply", "-f", "-"], &pod("missing", missing));
        let why = waits(&site, "missing", "ImagePullBackOff");
        assert!(why.contains("was not pushed to `dunlin.local/team/busybox`"), "{why}");
        site.ok(&["delete", "pod", "web", "both", "mounts", "missing"], "");
        site.wait_for(&["get", "pods", "--no-headers"], |rows| {
            rows.trim().is_empty() || rows.contains("No resources")
        });
    }
}
