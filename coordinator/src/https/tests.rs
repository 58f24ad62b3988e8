//! The front over pipes, where TLS is done already, and over the coordinator's own port.

mod figures;
mod gzip;
mod http1;
mod http2;
mod port;

use std::time::Duration;

use dunlin_link::UnixMillis;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{HttpsFront, Lifetime, Version};
use crate::{
    authn::Authenticator,
    members::Members,
    pki::{Peer, Pki},
    service::{ApiService, Clock, User},
    store::{Store, StoreOptions},
    tokens::Tokens,
};

/// A front on a service of its own.
struct Fixture {
    front: HttpsFront,
    pki: Pki,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(folder.path().join("store"));
        options.log_bytes = 1 << 20;
        let store = Store::open(&options).unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let api = ApiService::new(store.clone(), Clock::system());
        api.bootstrap().await.unwrap();
        let tokens = Tokens::new(store, pki.digest());
        let members = Members::new(pki.clone(), tokens.clone(), Clock::system(), Duration::from_secs(3600));
        let front = HttpsFront::new(api.clone(), Authenticator::new(members, tokens, api));
        Self { front, pki, stop: CancellationToken::new(), _folder: folder }
    }

    /// What a certificate for a user, that ends so long from now, shows.
    fn peer(&self, name: &str, group: &str, ends_in_seconds: i64) -> Peer {
        let user = User::new(name, [group.to_owned()]);
        let end = Clock::system().now_millis().0 + ends_in_seconds * 1000;
        let lifetime = Duration::from_secs(60);
        let issued = self.pki.issue_user(&user, UnixMillis(end - 60_000), lifetime).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        Peer::from_certificate(&der).unwrap()
    }

    fn admin(&self) -> Peer {
        self.peer("admin", "system:masters", 60)
    }

    /// The client's end of a new connection.
    fn connect(&self, version: Version, peer: Option<Peer>) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(PIPE_BYTES);
        let (front, stop) = (self.front.clone(), self.stop.clone());
        let served = tokio::spawn(async move {
            let tasks = TaskTracker::new();
            front.serve(server, version, peer, Lifetime { tasks: &tasks, stop: &stop }).await;
            tasks.close();
            tasks.wait().await;
        });
        (client, served)
    }

    /// All that the administrator is told on a connection of HTTP/1.1 after saying this.
    async fn say(&self, words: impl AsRef<[u8]>) -> String {
        self.say_as(Some(self.admin()), words).await
    }

    async fn say_as(&self, peer: Option<Peer>, words: impl AsRef<[u8]>) -> String {
        let (client, served) = self.connect(Version::Http1, peer);
        let (mut reader, mut writer) = tokio::io::split(client);
        let mut told = Vec::new();
        let (_, read) = tokio::join!(
            // A server that has heard enough does not listen to the end.
            async { drop(writer.write_all(words.as_ref()).await) },
            reader.read_to_end(&mut told)
        );
        read.unwrap();
        drop((reader, writer));
        served.await.unwrap();
        String::from_utf8(told).unwrap()
    }
}

/// The status line's code of an answer.
fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// The JSON body of an answer that has a length.
fn json_body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn config_map(name: &str, value: &str) -> String {
    json!({"metadata": {"name": name}, "data": {"key": value}}).to_string()
}

const PIPE_BYTES: usize = 64 << 10;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
