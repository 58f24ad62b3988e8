//! Containers of busybox in pods, by each OCI runtime that is installed.

use super::image::push_busybox;
use crate::{
    cluster::wait_until,
    registries::{
        node::{config, make_secret},
        programs::{Registry, is_installed},
    },
    site::{Machine, Site},
};

/// A site of one node that runs containers by `runtime`, and the full name of an image of busybox; `None`, said aloud, where a program
/// is missing or the node cannot run any.
fn site(runtime: &str) -> Option<(Site, Machine, Registry, String)> {
    let registry = Registry::start()?;
    let image = push_busybox(&registry, "team/busybox:1")?;
    let site = Site::start();
    make_secret(&site, &registry);
    let mut machine = site.machine("n1", "n1");
    let file = config(&site, &registry);
    machine.start_agent(&["--join", &site.token(&[]), "--runtime", runtime, "--config-file", &file]);
    site.wait_for_ready(&machine);
    let condition = site.ok(&["get", "node", "n1", "-o", "jsonpath={.status.conditions[4]}"], "");
    if !condition.contains("\"False\"") {
        // Nobody may be there to read it.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("SKIPPED: no containers here by {runtime}: {condition}\n").as_bytes(),
        );
        return None;
    }
    Some((site, machine, registry, image))
}

/// The runtimes that are here.
fn runtimes() -> impl Iterator<Item = &'static str> {
    let there = |name: &&str| std::path::Path::new("/usr/sbin").join(name).exists() || is_installed(name);
    ["crun", "runc"].into_iter().filter(there)
}

fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  imagePullSecrets: [{{name: harbour}}]\n  \
         terminationGracePeriodSeconds: 2\n{spec}  containers:\n  - name: c\n    imagePullPolicy: IfNotPresent\n{container}"
    )
}

fn wait_for(site: &Site, pod: &str, path: &str, wanted: &str) {
    wait_until(&format!("{path} of pod {pod} is {wanted}"), || {
        let found =
            site.dunlin(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.{path}}}")], "").stdout;
        let described = || site.dunlin(&["describe", "pod", pod], "").stdout;
        if found == wanted { Ok(()) } else { Err(format!("{found}\n{}", described())) }
    });
}

const FIELDS: &str = "  restartPolicy: Never
  hostname: nest
  hostAliases: [{ip: 10.9.8.7, hostnames: [gull.example]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [10.0.0.53], searches: [shore.example], options: [{name: ndots, value: '2'}]}
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, supplementalGroups: [3000]}
  volumes: [{name: shared, emptyDir: {}}, {name: map, configMap: {name: settings}}]
";

const SCRIPT: &str = "    command: [sh, -c]
    args:
    - |
      echo user $(id -u) $(id -g) $(id -G)
      echo host $(hostname), folder $(pwd), $GREETING, $(cat /map/key)
      grep -o 'nameserver 10.0.0.53' /etc/resolv.conf
      grep -o 'gull.example' /etc/hosts
      touch /x 2>/dev/null || echo the root is read-only
      touch /shared/x && echo the volume is not
      grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -s '\\t' ' '
      mount -t tmpfs x /shared 2>/dev/null || echo no mounts
      [ $(ls /proc | grep -c '^[0-9]') -lt 9 ] && echo no processes of others
      exit 3
    workingDir: /www
    env: [{name: COLOUR, value: red}, {name: GREETING, value: 'the knot is $(COLOUR)'}]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: map, mountPath: /map}]
";

const SEEN: &str = "user 1000 1000 1000 500 2000 3000
host nest, folder /www, the knot is red, value
nameserver 10.0.0.53
gull.example
the root is read-only
the volume is not
CapEff: 0000000000000000
NoNewPrivs: 1
Seccomp: 2
no mounts
no processes of others
";

#[test]
fn a_container_sees_what_its_pod_says() {
    for runtime in runtimes() {
        let Some((site, _machine, _registry, image)) = site(runtime) else { return };
        site.ok(&["create", "configmap", "settings", "--from-literal=key=value"], "");
        let manifest = pod("fields", FIELDS, &format!("    image: '{image}'\n{SCRIPT}"));
        site.ok(&["apply", "-f", "-"], &manifest);
        wait_for(&site, "fields", "phase", "Failed");
        wait_for(&site, "fields", "containerStatuses[0].state.terminated.exitCode", "3");
        assert_eq!(site.ok(&["logs", "fields"], ""), SEEN, "{runtime}");
        // The image's own groups count unless the pod says otherwise.
        let strict = FIELDS.replace("runAsUser", "supplementalGroupsPolicy: Strict, runAsUser");
        let groups = format!("    image: '{image}'\n    command: [id, -G]\n");
        site.ok(&["apply", "-f", "-"], &pod("strict", &strict, &groups));
        wait_for(&site, "strict", "phase", "Succeeded");
        assert_eq!(site.ok(&["logs", "strict"], ""), "1000 2000 3000\n", "{runtime}");
    }
}

#[test]
fn a_container_is_entered_restarted_and_stopped() {
    for runtime in runtimes() {
        let Some((site, _machine, _registry, image)) = site(runtime) else { return };
        let server = "    command: [httpd, -f, -p, '8080', -h, /www]\n";
        site.ok(&["apply", "-f", "-"], &pod("web", "", &format!("    image: '{image}'\n{server}")));
        wait_for(&site, "web", "phase", "Running");
        let exec =
            |words: &[&str], stdin: &str| site.dunlin(&[&["exec", "-i", "web", "--"], words].concat(), stdin);
        assert_eq!(exec(&["wget", "-qO-", "http://127.0.0.1:8080/"], "").stdout, "dunlin\n", "{runtime}");
        assert_eq!(exec(&["cat"], "heard").stdout, "heard");
        assert_eq!(exec(&["sh", "-c", "exit 42"], "").code, 42);
        // Its end is followed by another run.
        exec(&["sh", "-c", "kill -9 1; kill -15 1"], "");
        let hungry = "    command: [sh, -c, 'tail /dev/zero']\n    resources: {limits: {memory: 16Mi}}\n";
        let spec = "  restartPolicy: Never\n";
        site.ok(&["apply", "-f", "-"], &pod("hungry", spec, &format!("    image: '{image}'\n{hungry}")));
        wait_for(&site, "hungry", "containerStatuses[0].state.terminated.reason", "OOMKilled");
        site.ok(&["delete", "pod", "web", "hungry"], "");
        site.wait_for(&["get", "pods", "--no-headers"], |rows| {
            rows.trim().is_empty() || rows.contains("No resources")
        });
    }
}

#[test]
fn a_module_and_a_container_share_a_pod() {
    for runtime in runtimes() {
        let Some((site, _machine, _registry, image)) = site(runtime) else { return };
        site.push("http-hello");
        let module =
            "  - {name: w, image: dunlin.local/http-hello, ports: [{name: http, containerPort: 8080}]}\n";
        let sleeper = format!("    image: '{image}'\n    command: [sleep, '1000']\n{module}");
        site.ok(&["apply", "-f", "-"], &pod("mixed", "", &sleeper));
        site.wait_for(&["get", "pod", "mixed", "--no-headers"], |row| {
            row.contains("2/2") && row.contains("Running")
        });
        let asked =
            site.dunlin(&["exec", "mixed", "-c", "c", "--", "wget", "-qO-", "http://127.0.0.1:8080/"], "");
        assert_eq!((asked.code, asked.stdout.is_empty()), (0, false), "{runtime}: {asked:?}");
        site.ok(&["delete", "pod", "mixed"], "");
    }
}
