//! A network by a plugin that fails for a while.

use std::{fs, io::Write as _, path::Path, process::Command, sync::Arc};

use dunlin_edge_node_core::{launch::linux::pod_spec, node::SandboxOrder};
use tokio::time::timeout;

use super::*;
use crate::{config::PluginFolders, sample};

/// A plugin that writes down how it is run, and whose DEL fails while a file is there.
fn plugin(dir: &Path) -> PluginFolders {
    let folders = PluginFolders { conf_dir: dir.join("conf"), bin_dir: dir.join("bin") };
    fs::create_dir_all(&folders.conf_dir).unwrap();
    fs::create_dir_all(&folders.bin_dir).unwrap();
    let log = dir.join("log");
    let text = format!(
        "#!/bin/sh\necho $CNI_COMMAND >> {log}\ntest $CNI_COMMAND = DEL -a -e {log}.fail && exit 1\n\
         test $CNI_COMMAND = ADD && echo '{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"10.99.0.7/24\"}}]}}'\nexit 0\n",
        log = log.display()
    );
    // By another process: while this one had it open for writing, it could not be run.
    let mut shell = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(folders.bin_dir.join("p"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    folders
}

fn lines(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_could_not_be_taken_out_is_tried_again_and_a_lack_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let folders = plugin(dir.path());
    let network = PodNetwork::plugins(&folders, dir.path());
    network.look().await;
    assert!(network.lacks(), "there is no list");
    let list = r#"{"cniVersion":"1.0.0","name":"n","type":"p"}"#;
    fs::write(folders.conf_dir.join("1.conf"), list).unwrap();
    network.look().await;
    assert!(!network.lacks());

    // Some other namespace than that of this process.
    let mut other = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
    let netns = format!("/proc/{}/ns/net", other.id());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    for _ in 0..1000 {
        match fs::read_link(&netns) {
            Ok(found) if found != own => break,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    let pod = sample::pod();
    let linux = pod_spec(&pod);
    let order = SandboxOrder { pod: Arc::new(pod.clone()), linux, address: Some([10, 42, 0, 1].into()) };
    let attached = network.attach(&order, &netns).await;
    let _ = other.kill();
    let _ = other.wait();
    if attached.is_err()
        && own == fs::read_link("/proc/self/ns/net").unwrap()
        && !rustix::process::geteuid().is_root()
    {
        println!("SKIPPED: no network namespaces: {attached:?}");
        return;
    }
    assert_eq!(attached, Ok(Some([10, 99, 0, 7].into())));
    fs::write(dir.path().join("log.fail"), "").unwrap();
    network.detach(&pod.uid).await;
    assert_eq!(lines(dir.path()), ["ADD", "DEL"]);
    let again = async {
        while lines(dir.path()).len() < 4 {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(600), again).await.unwrap();
    fs::remove_file(dir.path().join("log.fail")).unwrap();
    let gone = async {
        while !network.inner.left.lock().await.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(600), gone).await.unwrap();
    let attempts = lines(dir.path()).len();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lines(dir.path()).len(), attempts);
}
