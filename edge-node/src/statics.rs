//! Static pods: the folder of manifests that the node runs by itself, read at the start and whenever it looks different.
//!
//! The folder is looked at every few seconds, by names, sizes and times; files are read only when one of those changed, and looking
//! writes nothing. How a manifest becomes a pod the node is told by its owner, for it does not know Kubernetes' encodings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use dunlin_edge_node_core::node::static_pod;
use dunlin_link::{
    Digest, PodUid,
    limits::{MODULE_BYTES_MAX, STATIC_POD_BYTES_MAX},
    pod::{Image, PodAssignment},
    reference::{Reference, is_registry},
};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentHost;

/// Answers the digest of an image that a manifest names, or why there is none.
pub type ResolveImage<'a> = dyn Fn(&str) -> Result<Digest, String> + 'a;

/// Makes a pod of a manifest: decodes, defaults, validates and lowers it.
#[derive(Clone)]
pub struct ManifestParser(Arc<Parse>);

type Parse = dyn Fn(&[u8], &ResolveImage<'_>) -> Result<ParsedManifest, String> + Send + Sync;

/// What a manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedManifest {
    /// What the node runs.
    pub pod: PodAssignment,
    /// The object of the API as it is written there, in JSON, for the coordinator to show.
    pub object: Vec<u8>,
}

/// A manifest that is no static pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedManifest {
    /// Name of its file.
    pub file: String,
    /// Why, for a person.
    pub reason: String,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) pods: Vec<PodAssignment>,
    /// What their manifests hold, in JSON, but for those that are too large to be told.
    pub(crate) objects: BTreeMap<PodUid, Arc<[u8]>>,
    /// Modules that were taken into the node's store, with their sizes.
    pub(crate) modules: Vec<(Digest, u64)>,
    pub(crate) rejected: Vec<RejectedManifest>,
}

/// The folder, as it was seen last.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    modules_dir: PathBuf,
    node: String,
    parser: ManifestParser,
    seen: Option<Vec<Seen>>,
    /// What each file held when it last was a pod: a slip of the editor stops nothing.
    good: BTreeMap<String, Good>,
    rejected: Vec<RejectedManifest>,
}

type Seen = (String, u64, Option<SystemTime>);

/// A file that was a pod, with what it holds; `None` when that is too large to be told.
type Good = (PodAssignment, Option<Arc<[u8]>>);

impl ManifestParser {
    /// A parser.
    pub fn new(
        parse: impl Fn(&[u8], &ResolveImage<'_>) -> Result<ParsedManifest, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(parse))
    }
}

impl fmt::Debug for ManifestParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManifestParser(..)")
    }
}

impl Folder {
    /// The folder `dir` of the node `node`; modules beside manifests are taken into `modules_dir`.
    pub(crate) fn new(dir: PathBuf, modules_dir: PathBuf, node: String, parser: ManifestParser) -> Self {
        let (good, rejected) = (BTreeMap::new(), Vec::new());
        Self { dir, modules_dir, node, parser, seen: None, good, rejected }
    }

    /// Keeps the agent told of the folder until `shutdown`.
    pub(crate) async fn watch(mut self, host: AgentHost, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = shutdown.cancelled() => return,
            }
            let looked = tokio::task::spawn_blocking(move || {
                let scan = self.look();
                (self, scan)
            });
            let Ok((folder, scan)) = looked.await else {
                tracing::error!("looking at the static pods' folder panicked; it is looked at no more");
                return shutdown.cancelled().await;
            };
            self = folder;
            if let Some(scan) = scan {
                host.statics(scan).await;
            }
        }
    }

    /// What the folder holds, if it looks different from last time. A folder that is missing or cannot be read says nothing: it may be
    /// on a disk that comes later, and the pods that ran from it go on.
    pub(crate) fn look(&mut self) -> Option<Scan> {
        let seen = match list(&self.dir) {
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "the static pods' folder cannot be read");
                return None;
            }
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        let scan = self.read(&seen);
        for RejectedManifest { file, reason } in &scan.rejected {
            let known = self.rejected.iter().any(|known| known.file == *file && known.reason == *reason);
            if !known {
                tracing::error!(file, reason, "a manifest is no static pod");
            }
        }
        self.rejected.clone_from(&scan.rejected);
        self.seen = Some(seen);
        Some(scan)
    }

    fn read(&mut self, seen: &[Seen]) -> Scan {
        let mut scan = Scan::default();
        let mut names = BTreeSet::new();
        let before = std::mem::take(&mut self.good);
        let manifests = seen.iter().filter(|(name, ..)| is_manifest(name));
        for (count, (file, ..)) in manifests.enumerate() {
            let parsed = if count < MANIFESTS_MAX {
                self.parse(file, &mut scan.modules)
            } else {
                Err(format!("more than {MANIFESTS_MAX} manifests in one folder"))
            };
            let pod = match parsed {
                Ok(pod) => Some(pod),
                Err(reason) => {
                    scan.rejected.push(RejectedManifest { file: file.clone(), reason });
                    before.get(file).cloned()
                }
            };
            let Some((pod, object)) = pod else { continue };
            if names.insert((pod.namespace.clone(), pod.name.clone())) {
                scan.objects.extend(object.iter().map(|object| (pod.uid.clone(), Arc::clone(object))));
                self.good.insert(file.clone(), (pod.clone(), object));
                scan.pods.push(pod);
            } else {
                let reason = format!("another file has a pod {}/{} already", pod.namespace, pod.name);
                scan.rejected.push(RejectedManifest { file: file.clone(), reason });
            }
        }
        scan
    }

    fn parse(&self, file: &str, modules: &mut Vec<(Digest, u64)>) -> Result<Good, String> {
        let bytes =
            read_bounded(&self.dir.join(file), MANIFEST_BYTES_MAX).map_err(|error| error.to_string())?;
        let taken = std::cell::RefCell::new(Vec::new());
        let resolve = |image: &str| {
            if is_elsewhere(image) {
                return Err(format!("image `{image}` is pulled from its registry"));
            }
            if let Some((_, digest)) = image.split_once('@') {
                return digest.parse().map_err(|_| format!("`{digest}` is no digest"));
            }
            let (digest, bytes) = self.take_module(image)?;
            taken.borrow_mut().push((digest, bytes));
            Ok(digest)
        };
        let ParsedManifest { pod, object } = (self.parser.0)(&bytes, &resolve)?;
        if !pod.config.is_empty() {
            return Err("a static pod cannot name ConfigMaps or Secrets".to_owned());
        }
        let all = pod.spec.init_containers.iter().chain(&pod.spec.containers);
        let is_missing = |image: &Image| image.digest.is_none() && !is_elsewhere(&image.reference);
        if let Some(container) = all.clone().find(|container| is_missing(&container.image)) {
            return Err(container.image.unresolved.clone());
        }
        modules.extend(taken.into_inner());
        let object = (object.len() <= STATIC_POD_BYTES_MAX).then(|| object.into());
        if object.is_none() {
            tracing::warn!(
                file,
                bytes_max = STATIC_POD_BYTES_MAX,
                "a manifest is too large for a mirror pod"
            );
        }
        Ok((static_pod(pod, file, &self.node), object))
    }

    /// Takes `IMAGE.wasm` beside the manifests into the node's store of modules.
    fn take_module(&self, image: &str) -> Result<(Digest, u64), String> {
        let file = format!("{image}.wasm");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !image.bytes().all(plain) {
            return Err(format!(
                "image `{image}`: a static pod names its module by digest (NAME@sha256:HEX), in a registry (HOST/NAME:TAG, or NAME:TAG), or as NAME with NAME.wasm beside the manifest"
            ));
        }
        let failed = |error: io::Error| format!("image `{image}`: {file} beside the manifest: {error}");
        let module = read_bounded(&self.dir.join(&file), MODULE_BYTES_MAX).map_err(failed)?;
        let digest = Digest::of(&module);
        let path = self.modules_dir.join(format!("{}.wasm", digest.hex()));
        if !path.exists() {
            let part = self.modules_dir.join(format!("{}.taken", digest.hex()));
            let mut copy = fs::File::create(&part).map_err(failed)?;
            copy.write_all(&module).and_then(|()| copy.sync_all()).map_err(failed)?;
            fs::rename(&part, &path).map_err(failed)?;
        }
        Ok((digest, module.len() as u64))
    }
}

/// Whether an image is of a registry other than the coordinator, from which the node pulls by itself: of one that it names, or of the
/// usual one where it has a tag or a folder, which modules of the folder have not.
fn is_elsewhere(image: &str) -> bool {
    if image.contains("://") {
        return image.parse::<Reference>().is_ok();
    }
    let names_one = image.split_once('/').is_some_and(|(first, _)| is_registry(first));
    let is_short = image.contains([':', '/']) && !image.contains('@');
    (names_one || is_short) && image.parse::<Reference>().is_ok_and(|reference| !reference.is_local())
}

/// Files by name, with what tells that one changed. Hidden ones are left out, as editors make them.
fn list(dir: &Path) -> io::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Links are followed: a folder of links is how some tools put files in place.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() && !name.starts_with('.') {
            seen.push((name, metadata.len(), metadata.modified().ok()));
        }
    }
    seen.sort();
    Ok(seen)
}

fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// How often the folder is looked at: soon enough for a person, and rare enough to cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// As long as an object of the API may be.
const MANIFEST_BYTES_MAX: u64 = 3 << 20;

/// A node has few static pods; a folder of very many files is not one of manifests.
const MANIFESTS_MAX: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// A manifest of these tests is the pod's name alone, which is its image too.
    fn parse(bytes: &[u8], resolve: &ResolveImage<'_>) -> Result<ParsedManifest, String> {
        let name = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
        let digest = resolve(&name)?;
        let mut pod = sample::pod();
        pod.spec.labels = vec![("digest".to_owned(), digest.hex())];
        pod.spec.hostname.clone_from(&name);
        (pod.uid, pod.namespace, pod.name) = (PodUid::new(""), "default".to_owned(), name);
        Ok(ParsedManifest { pod, object: bytes.to_vec() })
    }

    #[test]
    fn images_of_registries_are_pulled_from_there() {
        for (image, expected) in [
            ("busybox:1.36", true),
            ("library/busybox", true),
            ("registry.example/a", true),
            ("localhost:5000/a:v1", true),
            ("web", false),
            ("dunlin.local/web:v1", false),
            ("no name:1", false),
        ] {
            assert_eq!(is_elsewhere(image), expected, "{image}");
        }
        let by_digest = format!("web@{}", Digest::of(b"module"));
        assert!(!is_elsewhere(&by_digest));
    }

    #[test]
    fn a_folder_is_read_when_it_looks_different_and_slips_stop_nothing() {
        let dirs = tempfile::tempdir().unwrap();
        let (dir, modules) = (dirs.path().join("static"), dirs.path().join("modules"));
        fs::create_dir(&modules).unwrap();
        let parser = ManifestParser::new(parse);
        let mut folder = Folder::new(dir.clone(), modules.clone(), "n1".to_owned(), parser);
        assert!(folder.look().is_none());
        fs::create_dir(&dir).unwrap();
        assert!(folder.look().unwrap().pods.is_empty());
        assert!(folder.look().is_none());

        fs::write(dir.join("web.yaml"), "web").unwrap();
        let scan = folder.look().unwrap();
        assert!(scan.pods.is_empty() && scan.rejected[0].reason.contains("web.wasm beside"), "{scan:?}");
        fs::write(dir.join("web.wasm"), b"module").unwrap();
        let scan = folder.look().unwrap();
        let digest = Digest::of(b"module");
        assert_eq!(scan.modules, [(digest, 6)]);
        assert!(modules.join(format!("{}.wasm", digest.hex())).exists());
        let pod = scan.pods[0].clone();
        assert_eq!((pod.name.as_str(), pod.spec.hostname.as_str()), ("web-n1", "web-n1"));
        let source = ("kubernetes.io/config.source".to_owned(), "file".to_owned());
        assert!(pod.spec.annotations.contains(&source) && scan.rejected.is_empty());
        assert_eq!(scan.objects[&pod.uid].as_ref(), b"web");

        fs::write(dir.join("web.yaml"), "nothing beside").unwrap();
        fs::write(dir.join("web2.yaml"), "web").unwrap();
        fs::write(dir.join(".hidden.yaml"), "web").unwrap();
        let scan = folder.look().unwrap();
        assert_eq!(scan.pods, [pod]);
        assert_eq!(scan.objects.len(), 1, "what the file held before is told as well");
        let files: Vec<_> = scan.rejected.iter().map(|rejected| rejected.file.as_str()).collect();
        assert_eq!(files, ["web.yaml", "web2.yaml"]);

        fs::remove_file(dir.join("web.yaml")).unwrap();
        fs::remove_file(dir.join("web2.yaml")).unwrap();
        assert!(folder.look().unwrap().pods.is_empty());
    }
}
