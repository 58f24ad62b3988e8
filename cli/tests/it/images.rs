//! `dunlin image`, and what pods use.

use std::fs;

use crate::{pods::pod, site::Site};

#[test]
fn a_module_in_use_stays_when_another_image_that_holds_it_goes() {
    let site = Site::start();
    let machine = site.join("n1", &site.token(&[]));
    site.push("ticker");
    site.ok(&["apply", "-f", "-"], &pod("ticks", "Always", "image: dunlin.local/ticker, args: ['50']"));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));
    let (state, archive) = (machine.state.display().to_string(), site.data().join("ticker.tar"));
    let archive = archive.display().to_string();
    let image = |words: &[&str]| site.dunlin(&[&["image"], words, &["--state", &state]].concat(), "");
    let modules = || fs::read_dir(machine.state.join("modules")).unwrap().flatten().count();

    let before = modules();
    assert_eq!(image(&["export", "dunlin.local/ticker", "-o", &archive]).code, 0);
    assert_eq!(image(&["import", "--name", "site.example/ticker:1", &archive]).code, 0);
    let listed = image(&["ls"]).stdout;
    assert!(listed.contains("dunlin.local/ticker") && listed.contains("site.example/ticker"), "{listed}");
    assert_eq!(image(&["rm", "site.example/ticker:1"]).code, 0);
    assert_eq!(modules(), before);
    let refused = image(&["rm", "dunlin.local/ticker"]);
    assert!(refused.stderr.contains("used by pod default/ticks"), "{}", refused.stderr);
}
