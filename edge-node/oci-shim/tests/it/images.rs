//! An image that somebody else's tool made, with all that layers can say of each other, as a container sees it.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use dunlin_edge_node_core::sandbox::ExitCause;
use dunlin_layers::{Bounds, Compression, Layers};
use dunlin_link::Digest;
use serde_json::Value;

use crate::pod::{Pod, make_image, runtimes};

/// An image in OCI's layout that is made a layer at a time.
struct Image<'a> {
    folder: &'a Path,
}

impl Image<'_> {
    fn umoci(&self, words: &[&str]) {
        let name = format!("{}:it", self.folder.join("layout").display());
        let words = words.iter().map(|word| if *word == "NAME" { name.as_str() } else { word });
        let output = Command::new(UMOCI).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn bundle(&self) -> String {
        self.folder.join("bundle").display().to_string()
    }

    /// Makes a layer of what `change` does to the file system.
    fn layer(&self, change: impl FnOnce(&Path)) {
        let bundle = self.bundle();
        self.umoci(&["unpack", "--image", "NAME", &bundle]);
        change(&self.folder.join("bundle/rootfs"));
        self.umoci(&["repack", "--image", "NAME", &bundle]);
        fs::remove_dir_all(&bundle).unwrap();
    }

    fn json(&self, digest: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob(digest)).unwrap()).unwrap()
    }

    fn blob(&self, digest: &Value) -> PathBuf {
        self.folder
            .join("layout/blobs/sha256")
            .join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
    }

    /// Unpacks all layers, the lowest first.
    fn unpack(&self, layers: &Layers) -> Vec<PathBuf> {
        let index: Value =
            serde_json::from_slice(&fs::read(self.folder.join("layout/index.json")).unwrap()).unwrap();
        let manifest = self.json(&index["manifests"][0]["digest"]);
        let config = self.json(&manifest["config"]["digest"]);
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        let found = manifest["layers"].as_array().unwrap().iter().zip(diff_ids).map(|(layer, diff_id)| {
            let diff_id: Digest = diff_id.as_str().unwrap().parse().unwrap();
            let blob = File::open(self.blob(&layer["digest"])).unwrap();
            layers.add(blob, Compression::Gzip, &diff_id).unwrap();
            layers.find(&diff_id).unwrap()
        });
        found.collect()
    }
}

#[test]
fn layers_lie_over_each_other() {
    if !Path::new(UMOCI).exists() {
        eprintln!("skipped: there is no {UMOCI}");
        return;
    }
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let image = Image { folder: &pod.dir.path().join("made") };
        fs::create_dir_all(image.folder).unwrap();
        image.umoci(&["init", "--layout", &image.folder.join("layout").display().to_string()]);
        image.umoci(&["new", "--image", "NAME"]);
        image.layer(|rootfs| {
            make_image(rootfs);
            for (file, text) in [("kept", "kept"), ("gone", "x"), ("changed", "old"), ("d/inside", "x")] {
                fs::create_dir_all(rootfs.join("d")).unwrap();
                fs::write(rootfs.join(file), text).unwrap();
            }
            fs::hard_link(rootfs.join("kept"), rootfs.join("same")).unwrap();
            symlink("/kept", rootfs.join("link")).unwrap();
            fs::write(rootfs.join("setuid"), "").unwrap();
            fs::set_permissions(rootfs.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        });
        image.layer(|rootfs| {
            fs::remove_file(rootfs.join("gone")).unwrap();
            fs::remove_dir_all(rootfs.join("d")).unwrap();
            fs::write(rootfs.join("changed"), "new").unwrap();
        });
        image.layer(|rootfs| {
            fs::create_dir(rootfs.join("d")).unwrap();
            fs::write(rootfs.join("d/after"), "x").unwrap();
            fs::write(rootfs.join("n".repeat(200)), "long").unwrap();
        });
        let layers = Layers::open(&pod.dir.path().join("layers"), Bounds::DEFAULT).unwrap();
        let found = image.unpack(&layers);
        assert_eq!(found.len(), 3);
        let line = "cat kept; echo; cat link; echo; cat changed; echo; ls -d gone 2>/dev/null || echo gone; ls d; \
                    stat -c '%a %h' setuid same; ls | grep -c nnn; touch kept && echo written";
        let mut spec = pod.spec("a", line);
        spec.layers = found.iter().map(|layer| layer.display().to_string()).collect();
        assert_eq!(pod.run(spec).cause, ExitCause::Code(0));
        let output = pod.output("a").replace("stdout: ", "").replace('\n', " ");
        assert_eq!(output, "kept kept new gone after 4755 1 644 2 1 written ");
        pod.shut_down();
    }
}

const UMOCI: &str = "/usr/bin/umoci";
