//! Linux images, pulled from a registry within the test.

mod archive;
mod collect;
mod linux;
mod registry;

use std::{fs, path::Path, sync::Arc};

use dunlin_edge_node_core::{
    node::{PullKey, PullOrder},
    pod::{ContainerIndex, PulledImage},
};
use dunlin_link::{Digest, PodUid, pod::PullPolicy, reference::Reference};
use dunlin_registry::{Client, RegistriesConfig, config::HostConfig};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use self::registry::Registry;
use super::{Containers, ImageContent, Images, LinuxImage, ModuleFiles, Pins, PullEnded};

/// A node's images, and a registry that they come from.
struct Bench {
    state: tempfile::TempDir,
    registry: Registry,
    images: Images,
}

impl Bench {
    /// `None` where the test may not unpack what root owns.
    async fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Some(Self::in_folder(tempfile::tempdir().unwrap()).await)
    }

    async fn in_folder(state: tempfile::TempDir) -> Self {
        let registry = Registry::start().await;
        let images = open(state.path(), &registry.address, Containers::Run);
        Self { state, registry, images }
    }

    /// As after a restart of the agent.
    fn reopen(&mut self) {
        self.images = open(self.state.path(), &self.registry.address, Containers::Run);
    }

    fn name(&self, name: &str) -> Reference {
        format!("{}/{name}", self.registry.address).parse().unwrap()
    }

    async fn pull(&self, name: &str) -> PulledImage {
        self.pull_after(name, None).await
    }

    async fn pull_after(&self, name: &str, last: Option<Digest>) -> PulledImage {
        self.pull_ended(name, last).await.answer
    }

    async fn pull_ended(&self, name: &str, last: Option<Digest>) -> PullEnded {
        let image = self.name(name);
        let key =
            PullKey { uid: PodUid::new("uid"), container: ContainerIndex(0), reference: image.to_string() };
        let order = PullOrder { key, policy: PullPolicy::Always, last, secrets: Vec::new() };
        let folder = self.state.path().join("modules");
        fs::create_dir_all(&folder).unwrap();
        let modules = ModuleFiles { folder, pins: Pins::default() };
        self.images.pull(order, image, modules).await
    }

    /// Pulls what is refused.
    async fn check_refused(&self, name: &str, expected: &str) {
        match self.pull(name).await {
            PulledImage::Failed(why) => assert!(why.contains(expected), "{why} lacks {expected}"),
            other => panic!("{name} is refused: {other:?}"),
        }
        assert_eq!(self.images.of(&self.name(name)), None, "{name}");
    }

    fn linux(&self, name: &str) -> Option<Arc<LinuxImage>> {
        match self.images.of(&self.name(name))?.1 {
            ImageContent::Linux(image) => Some(image),
            ImageContent::Module(module) => panic!("{module} is a module"),
            ImageContent::Guest(guest) => panic!("{guest:?} is for WASM"),
        }
    }

    /// What a file of an image's highest layer that has it says.
    fn read(&self, image: &LinuxImage, path: &str) -> Option<String> {
        let layers = image.layers.iter().rev().map(|layer| self.images.layers().path(layer).join(path));
        layers.filter_map(|path| fs::read_to_string(path).ok()).next()
    }

    /// Names of what lies in a folder of the state.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state.path().join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing is here, and nothing of anything is left.
    fn check_nothing_is_left(&self) {
        for folder in ["images", "image-configs", "layers/sha256", "layers/part", "layers/archives"] {
            assert_eq!(self.files(folder), [""; 0], "{folder}");
        }
    }
}

fn open(state: &Path, registry: &str, containers: Containers) -> Images {
    let host = HostConfig { plain_http: Some(true), ..HostConfig::default() };
    let config =
        RegistriesConfig { configs: [(registry.to_owned(), host)].into(), ..RegistriesConfig::default() };
    Images::open(Client::new(&config).unwrap(), state, containers).unwrap()
}

/// An archive of files, with each content after its path.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, content).unwrap();
    gzip.finish().unwrap()
}

/// A config for this machine whose layers unpack to these archives.
fn config(tars: &[&[u8]]) -> Value {
    let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
    let platform = &super::pull::platforms(&Containers::Run)[3];
    json!({
        "os": "linux", "architecture": platform.architecture, "variant": platform.variant,
        "config": { "Cmd": ["/bin/it"], "User": "7" }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}
