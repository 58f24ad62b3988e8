//! Modules of other registries: pulled as the node's pods may, compiled, and told to nobody else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use dunlin_coordinator_core::lower::lower;
use dunlin_link::{
    PodUid, Revision,
    assignment::{AssignedPod, Desired},
    pod::{ConfigKind, ConfigObject},
    reference::Reference,
};
use dunlin_registry::{Client, RegistriesConfig, config::HostConfig};
use serde_json::json;
use tokio::sync::mpsc;

use super::*;

/// A registry of one repository, which everybody may read who shows `password`, or everybody where that is empty.
struct Registry {
    address: String,
    module: Arc<Mutex<&'static [u8]>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(password: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = Self { address, module: Arc::new(Mutex::new(MODULES[0])), asked: Arc::default() };
        let (module, asked) = (Arc::clone(&registry.module), Arc::clone(&registry.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let head = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = head.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap().to_owned();
                asked.lock().unwrap().push(path.clone());
                let may = password.is_empty()
                    || head.iter().any(|line| line.to_lowercase().starts_with("authorization: basic"));
                let module = *module.lock().unwrap();
                let (status, body) = match path.strip_prefix("/v2/team/app/") {
                    _ if !may => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", Vec::new()),
                    Some("manifests/1") => ("200 OK", manifest(module)),
                    Some("manifests/linux") => ("200 OK", linux_manifest()),
                    Some(blob) if blob.ends_with(&Digest::of(LINUX_CONFIG).to_string()) => {
                        ("200 OK", LINUX_CONFIG.to_vec())
                    }
                    Some(_) => ("200 OK", module.to_vec()),
                    None => ("404 Not Found", Vec::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: {length}\r\n\r\n"
                );
                (&stream).write_all(&[head.as_bytes(), &body].concat()).unwrap();
            }
        });
        registry
    }

    fn client(&self) -> Client {
        let host = HostConfig { plain_http: Some(true), ..HostConfig::default() };
        let configs = BTreeMap::from([(self.address.clone(), host)]);
        Client::new(&RegistriesConfig { mirrors: BTreeMap::new(), configs }).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The set of a node with a pod of this registry's image, and its Secrets.
    fn desired(&self, secrets: &[&str]) -> Desired {
        self.desired_of("1", secrets)
    }

    fn desired_of(&self, tag: &str, secrets: &[&str]) -> Desired {
        let names: Vec<_> = secrets.iter().map(|name| json!({ "name": name })).collect();
        let pod = json!({
            "metadata": { "name": "p", "namespace": "default", "uid": "p" },
            "spec": {
                "imagePullSecrets": names,
                "containers": [{ "name": "c", "image": format!("{}/team/app:{tag}", self.address) }],
            },
        });
        let elsewhere = |_: &str| Err("elsewhere".to_owned());
        let mut assignment = lower(pod.to_string().as_bytes(), &elsewhere).unwrap();
        let mut objects = BTreeMap::new();
        for secret in &mut assignment.config {
            let config =
                json!({ "auths": { &self.address: { "username": "gull", "password": secret.name } } });
            let data = vec![(".dockerconfigjson".to_owned(), config.to_string().into_bytes())];
            let id = Digest::of(secret.name.as_bytes());
            objects.insert(id, Arc::new(ConfigObject { kind: ConfigKind::Secret, data }));
            secret.digest = Some(id);
        }
        let revision = Revision(1);
        let pod = AssignedPod { revision, assignment: Arc::new(assignment) };
        Desired {
            revision,
            pods: Arc::new(BTreeMap::from([(PodUid::new("p"), pod)])),
            tombstones: Arc::default(),
            objects: Arc::new(objects),
        }
    }
}

fn manifest(module: &[u8]) -> Vec<u8> {
    let config = json!({
        "mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"").to_string(), "size": 0,
    });
    let layer = json!({
        "mediaType": "application/wasm", "digest": Digest::of(module).to_string(), "size": module.len(),
    });
    serde_json::to_vec(&json!({ "schemaVersion": 2, "config": config, "layers": [layer] })).unwrap()
}

/// An ordinary image.
fn linux_manifest() -> Vec<u8> {
    let config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest::of(LINUX_CONFIG).to_string(), "size": LINUX_CONFIG.len(),
    });
    let layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": Digest::of(b"l").to_string(), "size": 1,
    });
    serde_json::to_vec(&json!({ "schemaVersion": 2, "config": config, "layers": [layer] })).unwrap()
}

/// Its config.
const LINUX_CONFIG: &[u8] =
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

impl Fixture {
    fn pulling(&self, registry: &Registry) -> Compiling {
        self.telling(registry, mpsc::channel(1).0)
    }

    fn telling(&self, registry: &Registry, linux: mpsc::Sender<Reference>) -> Compiling {
        let signer = CodeSigner::open(self.folder.path(), &self.pki).unwrap();
        let compiler = self.compiler("new", "a", COPY);
        let parts = (Some(compiler), Some((registry.client(), linux)));
        Compiling::open(self.folder.path(), self.artifacts(), signer, parts).unwrap()
    }
}

#[tokio::test]
async fn the_code_of_an_image_elsewhere_is_made_ahead_and_follows_its_tag() {
    let (fixture, registry) = (Fixture::new(), Registry::start(""));
    let compiling = fixture.pulling(&registry);
    let desired = registry.desired(&[]);
    let (old, new) = (Digest::of(MODULES[0]), Digest::of(MODULES[1]));
    compiling.want_foreign(&desired, "a");
    compiling.want_foreign(&desired, "a");
    compiling.get_foreign(&desired, old, "a").await.unwrap();
    assert_eq!((fixture.log(), registry.asked()), (vec!["new a".to_owned()], 2));
    // It is for no pod to have, and for no node without such a pod.
    assert!(!fixture.path("modules/sha256").join(old.hex()).exists());
    let empty = Desired { pods: Arc::default(), ..desired.clone() };
    assert_eq!(compiling.get_foreign(&empty, old, "a").await.unwrap_err().reason, CompileRefusal::NotHere);

    // The tag moves, and a node saw that before the coordinator did.
    *registry.module.lock().unwrap() = MODULES[1];
    let moved = within(async {
        loop {
            match compiling.get_foreign(&desired, new, "a").await {
                Ok(signed) => return signed,
                Err(refused) => assert_eq!(refused.reason, CompileRefusal::NotHere),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(moved.await.record.module, new);
    // Whoever runs the older one is served still.
    compiling.get_foreign(&desired, old, "a").await.unwrap();
    compiling.shut_down().await;
}

#[tokio::test]
async fn an_image_for_linux_is_told_of() {
    let (fixture, registry) = (Fixture::new(), Registry::start(""));
    let (sender, mut linux) = mpsc::channel(1);
    let compiling = fixture.telling(&registry, sender);
    compiling.want_foreign(&registry.desired(&[]), "a");
    compiling.want_foreign(&registry.desired_of("linux", &[]), "a");
    let found = within(linux.recv()).await.unwrap();
    assert_eq!(found.to_string(), format!("{}/team/app:linux", registry.address));
    compiling.shut_down().await;
    assert!(linux.try_recv().is_err());
}

#[tokio::test]
async fn what_a_pod_may_not_pull_is_not_compiled_for_it() {
    let (fixture, registry) = (Fixture::new(), Registry::start("tideline"));
    let compiling = fixture.pulling(&registry);
    let module = Digest::of(MODULES[0]);
    let (with, without) = (registry.desired(&["tideline"]), registry.desired(&[]));
    compiling.get_foreign(&with, module, "a").await.unwrap();
    let refused = compiling.get_foreign(&without, module, "a").await.unwrap_err();
    assert_eq!(refused.reason, CompileRefusal::NotHere);
    assert!(refused.message.contains("wants other credentials than none"), "{refused}");
    // That is remembered for a while.
    let asked = registry.asked();
    compiling.get_foreign(&without, module, "a").await.unwrap_err();
    assert_eq!(registry.asked(), asked);
    compiling.shut_down().await;
}
