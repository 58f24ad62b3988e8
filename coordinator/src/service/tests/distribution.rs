//! The registry under `/v2/`: pieces, ranges, mounts, tags, refusals, and what of it nodes follow.

use dunlin_coordinator_core::scheduler::PLATFORMS_PREFIX;
use dunlin_link::Digest;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::Fixture;
use crate::{
    artifacts::{Artifacts, Content, ModuleName},
    service::{Response, User, distribution::Asked},
    store::{ListOptions, Txn, Write},
};

const MODULE: &[u8] = b"\0asm\x01\0\0\0\x00\x0b\x04noteabcdef";
const CONFIG: &[u8] = br#"{"os": "wasip1", "architecture": "wasm"}"#;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Registry {
    fixture: Fixture,
    artifacts: Artifacts,
    folder: TempDir,
}

impl Registry {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path(), fixture.service.store().clone()).unwrap();
        fixture.service.attach_artifacts(artifacts.clone());
        Self { fixture, artifacts, folder }
    }

    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.ask_as(&self.fixture.admin, method, target, headers, body).await
    }

    async fn ask_as(
        &self,
        user: &User,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        mut body: &[u8],
    ) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let query: Vec<_> = query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let method: Method = method.parse().unwrap();
        let asked = Asked { method: &method, path, query: &query, headers: &headers };
        self.fixture.service.handle_distribution(user, asked, &mut body).await
    }

    /// Pushes a blob at once.
    async fn blob(&self, repository: &str, content: &[u8]) {
        let digest = Digest::of(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.ask("POST", &target, &[], content).await.head.status, 201);
    }

    /// Pushes the artifact; answers its manifest's digest.
    async fn push(&self, repository: &str, tag: &str) -> String {
        self.blob(repository, CONFIG).await;
        self.blob(repository, MODULE).await;
        let put = self.put(repository, tag, &manifest()).await;
        assert_eq!(put.head.status, 201, "{:?}", put.body);
        header(&put, "docker-content-digest")
    }

    async fn put(&self, repository: &str, tag: &str, manifest: &Value) -> Response {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.ask("PUT", &path, &[("content-type", MANIFEST)], manifest.to_string().as_bytes()).await
    }

    async fn status(&self, method: &str, target: &str) -> u16 {
        self.ask(method, target, &[], b"").await.head.status
    }
}

fn manifest() -> Value {
    let descriptor = |media_type: &str, content: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(content).to_string(), "size": content.len() });
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.wasm.config.v0+json", CONFIG),
        "layers": [descriptor("application/wasm", MODULE)],
    })
}

fn header(response: &Response, name: &str) -> String {
    response
        .headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

async fn code(response: Response) -> (u16, String) {
    let status = response.head.status;
    let body: Value = serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_pushed_is_served_and_followed_by_nodes() {
    let registry = Registry::start().await;
    let digest = registry.push("team/app", "1").await;
    let module = registry.artifacts.resolve("dunlin.local/team/app:1").await.unwrap();
    assert_eq!((module.digest, module.bytes), (Digest::of(MODULE), MODULE.len() as u64));

    let pinned = format!("dunlin.local/team/app@{digest}");
    assert_eq!(registry.artifacts.resolve(&pinned).await.unwrap(), module);
    for name in ["1", &digest] {
        let got = registry.ask("GET", &format!("/v2/team/app/manifests/{name}"), &[], b"").await;
        assert_eq!((got.head.status, got.head.content_type.as_str()), (200, MANIFEST));
        assert_eq!(got.into_bytes().await.unwrap(), manifest().to_string());
    }
    let blob = format!("/v2/team/app/blobs/{}", Digest::of(MODULE));
    let got = registry.ask("GET", &blob, &[], b"").await;
    assert_eq!(header(&got, "content-length"), MODULE.len().to_string());
    assert_eq!(got.into_bytes().await.unwrap(), MODULE);
    let rest = registry.ask("GET", &blob, &[("range", "bytes=8-")], b"").await;
    assert_eq!((rest.head.status, header(&rest, "content-range")), (206, "bytes 8-20/21".to_owned()));
    assert_eq!(rest.into_bytes().await.unwrap(), MODULE[8..]);
    assert_eq!(code(registry.ask("GET", &blob, &[("range", "bytes=21-")], b"").await).await.0, 416);

    registry.put("team/app", "2", &manifest()).await;
    let tags = registry.ask("GET", "/v2/team/app/tags/list?n=1", &[], b"").await;
    assert_eq!(header(&tags, "link"), "</v2/team/app/tags/list?n=1&last=1>; rel=\"next\"");
    assert_eq!(registry.status("DELETE", "/v2/team/app/manifests/2").await, 202);
    assert_eq!(registry.status("GET", "/v2/team/app/manifests/2").await, 404);
    assert_eq!(registry.status("DELETE", &format!("/v2/team/app/manifests/{digest}")).await, 202);
    assert_eq!(registry.status("GET", "/v2/team/app/manifests/1").await, 404);
    assert!(registry.artifacts.resolve("dunlin.local/team/app:1").await.is_err());
}

#[tokio::test]
async fn what_linux_images_are_for_is_recorded_with_their_names() {
    let registry = Registry::start().await;
    let recorded = async |name: &str| {
        let key = format!("{PLATFORMS_PREFIX}dunlin.local/os{name}");
        let found = registry.fixture.service.store().get(&key).await.unwrap();
        found.map(|found| String::from_utf8(found.value.to_vec()).unwrap()).unwrap_or_default()
    };
    registry.blob("os", MODULE).await;
    let mut digests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({ "os": "linux", "architecture": architecture }).to_string();
        registry.blob("os", config.as_bytes()).await;
        let mut image = manifest();
        image["config"] = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
            "digest": Digest::of(config.as_bytes()).to_string() });
        image["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
        let put = registry.put("os", architecture, &image).await;
        digests.push((header(&put, "docker-content-digest"), put.head.status));
    }
    let [(amd64, 201), (arm64, 201)] = &digests[..] else { panic!("{digests:?}") };
    assert_eq!(recorded(":amd64").await, r#"["linux/amd64"]"#);
    assert_eq!(recorded(&format!("@{arm64}")).await, r#"["linux/arm64"]"#);

    let entry = |digest: &str| json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
    let mut unknown = entry(amd64);
    unknown["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let mut named = entry(arm64);
    named["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
    let index = |entries: &[&Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let put_index = async |index: Value| {
        let (path, body) = ("/v2/os/manifests/both", index.to_string());
        registry.ask("PUT", path, &[("content-type", INDEX)], body.as_bytes()).await
    };
    let put = put_index(index(&[&entry(amd64), &unknown, &named])).await;
    assert_eq!(put.head.status, 201, "{:?}", put.body);
    assert_eq!(recorded(":both").await, r#"["linux/amd64","linux/arm/v7"]"#);

    // One that may be WASM runs everywhere, and what a tag meant before is gone with it.
    let module = registry.push("os", "module").await;
    let put = put_index(index(&[&entry(amd64), &entry(&module)])).await;
    assert_eq!((put.head.status, recorded(":both").await), (201, String::new()));
    registry.push("os", "amd64").await;
    assert_eq!(recorded(":amd64").await, "");
    assert_eq!(registry.status("DELETE", &format!("/v2/os/manifests/{arm64}")).await, 202);
    assert_eq!(
        (recorded(":arm64").await, recorded(&format!("@{arm64}")).await),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn a_module_without_a_manifest_is_shown_with_one_until_a_tool_pushes_another() {
    let registry = Registry::start().await;
    let module = registry.artifacts.upload(MODULE, None).await.unwrap();
    let name = ModuleName::parse("app:1").unwrap();
    registry.artifacts.tag(&name, &module).await.unwrap();
    let shown = registry.ask("GET", "/v2/app/manifests/1", &[], b"").await;
    let digest = header(&shown, "docker-content-digest");
    let text = shown.into_bytes().await.unwrap();
    assert_eq!(Digest::of(&text).to_string(), digest);
    assert_eq!(registry.status("GET", &format!("/v2/app/manifests/{digest}")).await, 200);
    let parsed: Value = serde_json::from_slice(&text).unwrap();
    for descriptor in [&parsed["config"], &parsed["layers"][0]] {
        let target = format!("/v2/app/blobs/{}", descriptor["digest"].as_str().unwrap());
        let blob = registry.ask("GET", &target, &[], b"").await.into_bytes().await.unwrap();
        assert_eq!(blob.len() as u64, descriptor["size"].as_u64().unwrap());
    }
    let pushed = registry.push("app", "1").await;
    let now = registry.ask("HEAD", "/v2/app/manifests/1", &[], b"").await;
    assert!(pushed != digest && header(&now, "docker-content-digest") == pushed);
    registry.artifacts.tag(&name, &module).await.unwrap();
    let again = registry.ask("HEAD", "/v2/app/manifests/1", &[], b"").await;
    assert_eq!(header(&again, "docker-content-digest"), digest);
}

#[tokio::test]
async fn blobs_come_in_pieces_and_from_other_repositories() {
    let registry = Registry::start().await;
    let begun = registry.ask("POST", "/v2/a/blobs/uploads/", &[], b"").await;
    let upload = header(&begun, "location");
    assert_eq!(begun.head.status, 202);
    let first = registry.ask("PATCH", &upload, &[("content-range", "0-9")], &MODULE[..10]).await;
    assert_eq!((first.head.status, header(&first, "range")), (202, "0-9".to_owned()));
    let gap = registry.ask("PATCH", &upload, &[("content-range", "11-20")], &MODULE[11..]).await;
    assert_eq!(code(gap).await, (416, "BLOB_UPLOAD_INVALID".to_owned()));
    let told = registry.ask("GET", &upload, &[], b"").await;
    assert_eq!((told.head.status, header(&told, "range")), (204, "0-9".to_owned()));
    let other = format!("{upload}?digest={}", Digest::of(b"other"));
    assert_eq!(code(registry.ask("PUT", &other, &[], b"").await).await, (400, "DIGEST_INVALID".to_owned()));
    let whole = format!("{upload}?digest={}", Digest::of(MODULE));
    assert_eq!(registry.ask("PUT", &whole, &[], &MODULE[10..]).await.head.status, 201);
    assert_eq!(registry.status("GET", &upload).await, 404);

    let begun = registry.ask("POST", "/v2/a/blobs/uploads/", &[], b"").await;
    let upload = header(&begun, "location");
    // Of another repository it is nobody's.
    let elsewhere = upload.replace("/v2/a/", "/v2/b/");
    assert_eq!(registry.status("PATCH", &elsewhere).await, 404);
    assert_eq!(registry.status("DELETE", &upload).await, 204);
    assert_eq!(registry.status("PATCH", &upload).await, 404);

    // What only another repository has is there for nobody who merely knows its digest.
    let blob = format!("/v2/b/blobs/{}", Digest::of(MODULE));
    assert_eq!(registry.status("HEAD", &blob).await, 404);
    registry.blob("b", CONFIG).await;
    assert_eq!(
        code(registry.put("b", "1", &manifest()).await).await,
        (404, "MANIFEST_BLOB_UNKNOWN".to_owned())
    );
    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=a", Digest::of(MODULE));
    assert_eq!(registry.status("POST", &mount.replace("from=a", "from=c")).await, 202);
    assert_eq!(registry.status("POST", &mount).await, 201);
    assert_eq!(registry.status("HEAD", &blob).await, 200);
    assert_eq!(registry.put("b", "1", &manifest()).await.head.status, 201);
}

#[tokio::test]
async fn what_is_attached_to_an_image_is_found_by_it() {
    let registry = Registry::start().await;
    let image = registry.push("app", "1").await;
    let mut signature = manifest();
    signature["subject"] = json!({ "mediaType": MANIFEST, "digest": image, "size": 1 });
    signature["artifactType"] = json!("application/x-signature");
    signature["annotations"] = json!({ "by": "gull" });
    let put = registry.put("app", "signed", &signature).await;
    assert_eq!((put.head.status, header(&put, "oci-subject")), (201, image.clone()));
    let attached = async |query: &str| {
        let found = registry.ask("GET", &format!("/v2/app/referrers/{image}{query}"), &[], b"").await;
        assert_eq!(found.head.status, 200);
        let filtered = header(&found, "oci-filters-applied");
        let index: Value = serde_json::from_slice(&found.into_bytes().await.unwrap()).unwrap();
        (index["manifests"].as_array().unwrap().clone(), filtered)
    };
    let (all, filtered) = attached("").await;
    assert_eq!((all.len(), filtered.as_str()), (1, ""));
    assert_eq!(all[0]["digest"], header(&put, "docker-content-digest"));
    assert_eq!(
        (&all[0]["artifactType"], &all[0]["annotations"]["by"]),
        (&json!("application/x-signature"), &json!("gull"))
    );
    assert_eq!(attached("?artifactType=application/x-signature").await, (all, "artifactType".to_owned()));
    assert_eq!(attached("?artifactType=other").await.0, [] as [Value; 0]);
    let none = format!("/v2/app/referrers/{}", Digest::of(b"nobody"));
    assert_eq!(registry.status("GET", &none).await, 200);
}

#[tokio::test]
async fn refusals_are_in_the_protocols_words() {
    let registry = Registry::start().await;
    let early = registry.put("a", "1", &manifest()).await;
    assert_eq!(code(early).await, (404, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    let broken = registry.put("a", "1", &json!({ "schemaVersion": 2 })).await;
    assert_eq!(code(broken).await, (400, "MANIFEST_INVALID".to_owned()));
    let large = json!({ "schemaVersion": 2, "padding": "x".repeat(1 << 20) });
    assert_eq!(code(registry.put("a", "1", &large).await).await, (413, "SIZE_INVALID".to_owned()));
    let bad_module = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": manifest()["config"],
        "layers": [{ "mediaType": "application/wasm", "digest": Digest::of(b"text").to_string(), "size": 4 }],
    });
    registry.blob("a", CONFIG).await;
    registry.blob("a", b"text").await;
    assert_eq!(code(registry.put("a", "1", &bad_module).await).await, (400, "MANIFEST_INVALID".to_owned()));
    for (method, target, expected) in [
        ("GET", "/v2/a/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/A/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a/manifests/none", (404, "MANIFEST_UNKNOWN")),
        ("GET", "/v2/a/blobs/sha256:1", (400, "DIGEST_INVALID")),
        ("DELETE", "/v2/a/manifests/none", (404, "MANIFEST_UNKNOWN")),
        ("PATCH", "/v2/a/manifests/1", (405, "UNSUPPORTED")),
    ] {
        let refused = code(registry.ask(method, target, &[], b"").await).await;
        assert_eq!((refused.0, refused.1.as_str()), expected, "{method} {target}");
    }

    let nobody = registry.ask_as(&User::anonymous(), "GET", "/v2/", &[], b"").await;
    assert_eq!(header(&nobody, "www-authenticate"), "Basic realm=\"dunlin\"");
    assert_eq!(code(nobody).await, (401, "UNAUTHORIZED".to_owned()));
    let nobody = registry.ask_as(&User::anonymous(), "GET", "/v2/a/manifests/1", &[], b"").await;
    assert_eq!(code(nobody).await, (401, "UNAUTHORIZED".to_owned()));
    let someone = User::new("someone", []).authenticated();
    assert_eq!(registry.ask_as(&someone, "GET", "/v2/", &[], b"").await.head.status, 200);
    let denied = registry.ask_as(&someone, "GET", "/v2/a/manifests/1", &[], b"").await;
    assert_eq!(code(denied).await, (403, "DENIED".to_owned()));
}

#[tokio::test]
async fn what_a_manifest_names_is_found_without_looking_through_all() {
    let mut registry = Registry::start().await;
    let digest = registry.push("app", "1").await;
    // Whoever pushed it is forgotten with the process.
    registry.artifacts =
        Artifacts::open(registry.folder.path(), registry.fixture.service.store().clone()).unwrap();
    let blobs = [CONFIG, MODULE].map(Digest::of);
    for blob in blobs {
        assert!(registry.artifacts.has_blob("app", blob).await.unwrap());
        assert!(!registry.artifacts.has_blob("ap", blob).await.unwrap());
    }
    let digest = digest.parse().unwrap();
    assert!(registry.artifacts.remove_manifest("app", digest).await.unwrap());
    assert!(!registry.artifacts.has_blob("app", blobs[1]).await.unwrap());
    let left = ListOptions { prefix: "/dunlin/held/".to_owned(), after: None, limit: None, at: None };
    assert!(registry.fixture.service.store().list(left).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn nodes_are_given_what_their_images_are_made_of() {
    let registry = Registry::start().await;
    let push = async |config: &[u8], layer: &[u8]| {
        let described = |media_type: &str, content: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(content).to_string(), "size": content.len() });
        registry.blob("app", config).await;
        registry.blob("app", layer).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        let digest = Digest::of(manifest.to_string().as_bytes());
        assert_eq!(registry.put("app", &digest.to_string(), &manifest).await.head.status, 201);
        (digest, described(MANIFEST, manifest.to_string().as_bytes()))
    };
    let (one, described) = push(b"{}", b"layer").await;
    let (two, _) = push(b"{ }", b"other").await;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [described] });
    let all = Digest::of(index.to_string().as_bytes());
    let path = format!("/v2/app/manifests/{all}");
    let put = registry.ask("PUT", &path, &[("content-type", INDEX)], index.to_string().as_bytes()).await;
    assert_eq!(put.head.status, 201);
    let shown = registry.push("app", "wasm").await.parse::<Digest>().unwrap();

    let given = async |repository: &str, named: &[Digest], digest: Digest| {
        let named = named.iter().copied().collect();
        match registry.artifacts.content(repository, (digest, 1), &named).await.unwrap() {
            None => "nothing".to_owned(),
            Some(Content::Module) => "a module".to_owned(),
            Some(Content::Text { media_type, .. }) => media_type,
            Some(Content::File(mut file)) => {
                let mut rest = String::new();
                file.content.read_to_string(&mut rest).await.unwrap();
                rest
            }
        }
    };
    let (layer, other) = (Digest::of(b"layer"), Digest::of(b"other"));
    for (named, digest, expected) in [
        (&[one][..], one, MANIFEST),
        (&[one], layer, "ayer"),
        (&[one], Digest::of(b"{}"), "}"),
        (&[one], other, "nothing"),
        (&[one], two, "nothing"),
        (&[one], all, "nothing"),
        (&[all], all, INDEX),
        (&[all], one, MANIFEST),
        (&[all], layer, "ayer"),
        (&[all], other, "nothing"),
        (&[all, two], other, "ther"),
        (&[], layer, "nothing"),
        // That a pod names a digest does not make it content of the repository, also where there is such a blob.
        (&[Digest::of(b"x")], Digest::of(b"x"), "nothing"),
        (&[layer], layer, "nothing"),
        (&[Digest::of(MODULE)], Digest::of(MODULE), "a module"),
        (&[shown], Digest::of(MODULE), "asm\x01\0\0\0\x00\x0b\x04noteabcdef"),
        (&[shown], layer, "nothing"),
    ] {
        assert_eq!(given("app", named, digest).await, expected, "{digest} of {named:?}");
    }
    assert_eq!(given("ap", &[one], layer).await, "nothing", "the repository is another");
}

#[tokio::test]
async fn a_repository_has_so_many_tags() {
    let registry = Registry::start().await;
    let digest = registry.push("app", "1").await;
    let tags = (1..1000).map(|tag| Write::Put(format!("/dunlin/tags/app:v{tag}"), digest.clone().into()));
    let txn = Txn { compares: Vec::new(), writes: tags.collect() };
    registry.fixture.service.store().txn(txn).await.unwrap();
    let (status, code) = code(registry.put("app", "2", &manifest()).await).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    // What is there can still be moved, and others are not concerned.
    assert_eq!(registry.put("app", "v7", &manifest()).await.head.status, 201);
    registry.push("other", "1").await;
}
