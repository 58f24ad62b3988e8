//! A registry that serves what it is given.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use dunlin_link::Digest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// It serves until it is dropped.
pub(super) struct Registry {
    pub(super) address: String,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// By path.
    content: HashMap<String, (String, Vec<u8>)>,
    /// Paths that were asked for.
    asked: Vec<String>,
    /// Breaks off after as many bytes of a body, so often.
    breaks: Option<(usize, u32)>,
}

impl Registry {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Mutex<Shared>>::default();
        let served = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&served)));
            }
        });
        Self { address, shared, server }
    }

    /// Nobody is there any more.
    pub(super) fn stop(&self) {
        self.server.abort();
    }

    /// Adds an image of these layers, each as it is sent; answers the descriptor of its manifest.
    pub(super) fn image(&self, name: &str, config: &Value, layers: &[(&str, &[u8])]) -> Value {
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let layers: Vec<_> = layers
            .iter()
            .map(|(end, layer)| self.blob(&format!("application/vnd.oci.image.layer.v1.{end}"), layer))
            .collect();
        self.manifest(
            name,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }),
        )
    }

    /// Adds an index of manifests.
    pub(super) fn index(&self, name: &str, manifests: &[Value]) -> Value {
        self.manifest(name, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
    }

    /// Has a blob be something else than what its digest says.
    pub(super) fn spoil(&self, content: &[u8]) {
        let path = format!("blobs/{}", Digest::of(content));
        self.lock().content.get_mut(&path).unwrap().1[0] ^= 1;
    }

    /// Breaks the next answers off after as many bytes.
    pub(super) fn break_off(&self, after: usize, times: u32) {
        self.lock().breaks = Some((after, times));
    }

    /// What was asked for since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }

    pub(super) fn manifest(&self, name: &str, manifest: &Value) -> Value {
        let text = manifest.to_string().into_bytes();
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let digest = Digest::of(&text).to_string();
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": text.len() });
        for name in [name, &digest] {
            self.lock().content.insert(format!("manifests/{name}"), (media_type.clone(), text.clone()));
        }
        descriptor
    }

    pub(super) fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content).to_string();
        let kept = ("application/octet-stream".to_owned(), content.to_vec());
        self.lock().content.insert(format!("blobs/{digest}"), kept);
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reads one request and answers it, from where its range begins.
async fn answer(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let path = head.split_whitespace().nth(1).unwrap().strip_prefix("/v2/it/").unwrap().to_owned();
    let range = head.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-'));
    let start = range.map(|(start, _)| start.parse::<usize>().unwrap());
    let (head, body) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(path.clone());
        match shared.content.get(&path).cloned() {
            None => ("404 Not Found\r\nContent-Length: 0".to_owned(), Vec::new()),
            Some((media_type, content)) => {
                let all = content.len();
                let body = content[start.unwrap_or(0)..].to_vec();
                let status = match start {
                    Some(start) => {
                        format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{all}", all - 1)
                    }
                    None => "200 OK".to_owned(),
                };
                let head =
                    format!("{status}\r\nContent-Type: {media_type}\r\nContent-Length: {}", body.len());
                let length = match &mut shared.breaks {
                    Some((after, times)) if *times > 0 && *after < body.len() => {
                        *times -= 1;
                        *after
                    }
                    _ => body.len(),
                };
                (head, body[..length].to_vec())
            }
        }
    };
    let answer = [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), &body].concat();
    // Who breaks off reads no more.
    let _ = stream.write_all(&answer).await;
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
