//! A node that runs containers, and what tests on it begin with.

use std::{net::Ipv4Addr, path::Path};

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
pub(super) fn site(runtime: &str) -> Option<(Site, Machine, Registry, String)> {
    site_on(runtime, |_| true, &[])
}

/// The same with a coordinator that pods reach from their own network.
pub(super) fn site_at(host: Ipv4Addr, runtime: &str) -> Option<(Site, Machine, Registry, String)> {
    join(|| Site::start_at(host), runtime, |_| true, &[])
}

/// The same with something done about the folder of the node's state before there is one, unless that fails, and with options.
pub(super) fn site_on(
    runtime: &str,
    prepare: impl FnOnce(&Path) -> bool,
    options: &[&str],
) -> Option<(Site, Machine, Registry, String)> {
    join(Site::start, runtime, prepare, options)
}

fn join(
    start: impl FnOnce() -> Site,
    runtime: &str,
    prepare: impl FnOnce(&Path) -> bool,
    options: &[&str],
) -> Option<(Site, Machine, Registry, String)> {
    let registry = Registry::start()?;
    let image = push_busybox(&registry, "team/busybox:1")?;
    let site = start();
    make_secret(&site, &registry);
    let mut machine = site.machine("n1", "n1");
    if !prepare(&machine.state) {
        return None;
    }
    let (file, token) = (config(&site, &registry), site.token(&[]));
    let own = ["--join", &token, "--runtime", runtime, "--config-file", &file];
    machine.start_agent(&[own.as_slice(), options].concat());
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
pub(super) fn runtimes() -> impl Iterator<Item = &'static str> {
    let there = |name: &&str| Path::new("/usr/sbin").join(name).exists() || is_installed(name);
    ["crun", "runc"].into_iter().filter(there)
}

pub(super) fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  imagePullSecrets: [{{name: harbour}}]\n  \
         terminationGracePeriodSeconds: 2\n{spec}  containers:\n  - name: c\n    imagePullPolicy: IfNotPresent\n{container}"
    )
}

pub(super) fn wait_for(site: &Site, pod: &str, path: &str, wanted: &str) {
    wait_until(&format!("{path} of pod {pod} is {wanted}"), || {
        let found =
            site.dunlin(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.{path}}}")], "").stdout;
        let described = || site.dunlin(&["describe", "pod", pod], "").stdout;
        if found == wanted { Ok(()) } else { Err(format!("{found}\n{}", described())) }
    });
}
