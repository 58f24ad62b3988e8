//! A node that cannot run containers says so, runs its modules, and gets no pod of which it is known that it has one.

use super::image::push_busybox;
use crate::{
    cluster::wait_until,
    pods::pod,
    registries::{
        node::{site_of, waits, with_secret},
        programs::Registry,
    },
};

#[test]
fn a_node_without_a_runtime_says_what_it_lacks_and_gets_no_containers() {
    let Some(registry) = Registry::start() else { return };
    let Some(image) = push_busybox(&registry, "team/busybox:1") else { return };
    registry.push("ticker", "team/ticker:1");
    let (site, _machine, _file) = site_of(&registry, &["--runtime", "none"]);

    let of_node = |path: &str| site.ok(&["get", "node", "n1", "-o", &format!("jsonpath={path}")], "");
    assert_eq!(of_node(r"{.metadata.labels.dunlin\.dev/containers}"), "false");
    let condition = |field: &str| of_node(&format!("{{.status.conditions[4].{field}}}"));
    assert_eq!((&*condition("type"), &*condition("status")), ("ContainersUnavailable", "True"));
    assert_eq!(condition("reason"), "NoRuntime");
    assert!(
        condition("message").contains("set `runtime: auto` in section `edgeNode`"),
        "{}",
        condition("message")
    );

    // Nobody knows what is in the image yet: the node finds out, and says why it is of no use there.
    let container = format!("image: '{image}', command: [sleep, '1000']");
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("first", "Always", &container)));
    let why = waits(&site, "first", "ImagePullBackOff");
    assert!(why.contains("this node runs no Linux containers") && why.contains("`runtime: auto`"), "{why}");
    wait_until("what is in the image is known", || {
        let log = site.log();
        if log.contains("an image holds no module") { Ok(()) } else { Err(log) }
    });
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("second", "Always", &container)));
    let events = site.wait_for(&["get", "events"], |events| events.contains("FailedScheduling"));
    assert!(events.contains("0/1 nodes are available: 1 node(s) cannot run Linux containers."), "{events}");

    // Modules run all the same.
    let ticker = format!("image: '{}/team/ticker:1'", registry.address);
    site.ok(&["apply", "-f", "-"], &with_secret(&pod("ticks", "Always", &ticker)));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));
}
