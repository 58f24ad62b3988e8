//! Images out of archives and into them, also those of other tools.

use std::{fs::File, process::Command};

use super::*;
use crate::images::Goal;

impl Bench {
    fn modules(&self) -> ModuleFiles {
        let folder = self.state.path().join("modules");
        fs::create_dir_all(&folder).unwrap();
        ModuleFiles { folder, pins: Pins::default() }
    }

    async fn import(&self, file: &Path, rename: Option<&str>) -> Result<Vec<String>, String> {
        let (images, modules, file) = (self.images.clone(), self.modules(), File::open(file).unwrap());
        let rename: Option<Reference> = rename.map(|name| name.parse().unwrap());
        let import = move || images.import(file, rename.as_ref(), &modules);
        let imported = tokio::task::spawn_blocking(import).await.unwrap();
        let imported = imported.map_err(|error| error.to_string())?;
        Ok(imported.into_iter().flat_map(|image| image.names).collect())
    }

    fn export(&self, name: &str, file: &Path) -> Result<(), String> {
        let name: Reference = name.parse().unwrap();
        let (image, _) = self.images.of(&name).ok_or_else(|| format!("{name}: no such image"))?;
        self.images.export((&image, &name), &self.modules(), File::create(file).unwrap())
    }

    async fn forget_all(&self) {
        self.images.collect(std::collections::BTreeSet::new(), Goal::All).unwrap().await.unwrap();
        self.check_nothing_is_left();
        assert_eq!(self.files("layers/recipes"), [""; 0]);
    }
}

/// Pulls an image of two layers as `it:1`; answers its name.
async fn pulled(bench: &Bench) -> String {
    let (base, app) = (tar(&[("etc/name", "base"), ("bin/it", "it")]), tar(&[("etc/name", "app")]));
    let config = config(&[&base, &app, &base]);
    let layers: [(&str, &[u8]); 3] = [("tar+gzip", &gzip(&base)), ("tar", &app), ("tar+gzip", &gzip(&base))];
    bench.registry.image("1", &config, &layers);
    assert!(matches!(bench.pull("it:1").await, PulledImage::Fetched { .. }));
    bench.name("it:1").to_string()
}

/// `None`, said aloud, where it is not installed.
fn skopeo(args: &[&str]) -> Option<String> {
    let Ok(ran) = Command::new("skopeo").arg("--insecure-policy").args(args).output() else {
        eprintln!("SKIPPED: `skopeo` is not installed");
        return None;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).unwrap())
}

#[tokio::test]
async fn what_is_exported_is_the_same_image_when_it_is_imported() {
    let Some(bench) = Bench::start().await else { return };
    let name = pulled(&bench).await;
    let before = bench.linux("it:1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.tar");
    bench.export(&name, &file).unwrap();
    bench.forget_all().await;
    assert_eq!(bench.export(&name, &file.with_extension("2")).unwrap_err(), format!("{name}: no such image"));

    assert_eq!(bench.import(&file, None).await.unwrap(), std::slice::from_ref(&name));
    assert_eq!(bench.linux("it:1").unwrap(), before);
    assert_eq!(bench.read(&before, "bin/it").as_deref(), Some("it"));
    assert_eq!(bench.files("layers/archives"), [""; 0]);
    // A layer that is another than it was is not passed on.
    let changed = bench.images.layers().path(&before.layers[0]).join("etc/name");
    fs::write(changed, "BASE").unwrap();
    let error = bench.export(&name, &file).unwrap_err();
    assert!(error.contains("cannot be exported") && error.contains("has digest"), "{error}");
}

#[tokio::test]
async fn other_tools_read_what_is_exported_and_write_what_is_imported() {
    let Some(bench) = Bench::start().await else { return };
    let name = pulled(&bench).await;
    let before = bench.linux("it:1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (own, oci, docker) = (path("own.tar"), path("oci.tar"), path("docker.tar"));
    bench.export(&name, Path::new(&own)).unwrap();
    let Some(seen) = skopeo(&["inspect", "--config", &format!("oci-archive:{own}")]) else { return };
    assert!(seen.contains("/bin/it"), "{seen}");
    skopeo(&["inspect", &format!("docker-archive:{own}")]);
    skopeo(&["copy", &format!("oci-archive:{own}"), &format!("oci-archive:{oci}:r.io/oci:2")]);
    skopeo(&["copy", &format!("oci-archive:{own}"), &format!("docker-archive:{docker}:r.io/docker:3")]);
    bench.forget_all().await;
    for (file, rename, expected) in [
        (&oci, None, "r.io/oci:2"),
        (&docker, None, "r.io/docker:3"),
        (&docker, Some("r.io/renamed"), "r.io/renamed:latest"),
    ] {
        assert_eq!(bench.import(Path::new(file), rename).await.unwrap(), [expected]);
        let ImageContent::Linux(image) = bench.images.of(&expected.parse().unwrap()).unwrap().1 else {
            panic!("{expected} is none for Linux")
        };
        assert_eq!(
            (image.layers.clone(), image.config.user.clone()),
            (before.layers.clone(), before.config.user.clone())
        );
        bench.forget_all().await;
    }
}

#[tokio::test]
async fn archives_that_lie_leave_nothing_behind() {
    let Some(bench) = Bench::start().await else { return };
    let good = tar(&[("a", "b")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.tar");
    let check = async |config: &Value, layer: &[u8], expected: &str| {
        let list = json!([{ "Config": "c.json", "RepoTags": ["r.io/a:1"], "Layers": ["l.tar"] }]).to_string();
        let config = config.to_string();
        let mut archive = tar::Builder::new(File::create(&file).unwrap());
        for (path, content) in
            [("manifest.json", list.as_bytes()), ("c.json", config.as_bytes()), ("l.tar", layer)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content).unwrap();
        }
        archive.into_inner().unwrap();
        let error = bench.import(&file, None).await.unwrap_err();
        assert!(error.contains(expected), "{error} lacks {expected}");
        bench.check_nothing_is_left();
    };
    check(&config(&[b"else"]), &good, "was expected").await;
    check(&config(&[&good]), &good[..600], "cannot be read").await;
    let mut other = config(&[&good]);
    other["architecture"] = json!("s390x");
    check(&other, &good, "it is there for linux/s390x").await;
}
