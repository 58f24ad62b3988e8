//! A connection on which anything can be said.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;

use crate::site::Site;

/// Whom a client is and whom it trusts.
#[derive(Debug)]
pub(super) struct Access {
    authority: CertificateDer<'static>,
    shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    address: String,
}

/// A connection whose TLS is done, as far as the client knows.
pub(super) struct Wire(StreamOwned<ClientConnection, TcpStream>);

/// Requests one after another on one connection.
pub(super) struct Session(Wire);

/// What was answered to one request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Access {
    /// Who shows nothing.
    pub(super) fn nobody(site: &Site) -> Self {
        Self { shown: None, ..Self::admin(site) }
    }

    /// The administrator.
    pub(super) fn admin(site: &Site) -> Self {
        Self::of(&site.config(), site)
    }

    /// The first user of a kubeconfig, at a site, whose authority is trusted.
    pub(super) fn of(kubeconfig: &Path, site: &Site) -> Self {
        let read = |path: &Path| -> Value {
            serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let (own, user) = (read(&site.config()), read(kubeconfig));
        let authority = decoded(&own["clusters"][0]["cluster"]["certificate-authority-data"]);
        let user = &user["users"][0]["user"];
        let certificate = CertificateDer::from_pem_slice(&decoded(&user["client-certificate-data"])).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&decoded(&user["client-key-data"])).unwrap();
        Self {
            authority: CertificateDer::from_pem_slice(&authority).unwrap(),
            shown: Some((certificate, key)),
            address: site.address(),
        }
    }

    /// The node whose state is in a folder.
    pub(super) fn node(state: &Path, site: &Site) -> Self {
        let file = |name: &str| std::fs::read(state.join("identity").join(name)).unwrap();
        let key = PrivatePkcs8KeyDer::from(file("node.key"));
        Self {
            authority: CertificateDer::from(file("ca.der")),
            shown: Some((CertificateDer::from(file("node.der")), key.into())),
            address: site.address(),
        }
    }

    /// Opens a connection.
    pub(super) fn connect(&self) -> Wire {
        self.connect_with(&[])
    }

    /// Opens one that offers these protocols.
    pub(super) fn connect_with(&self, protocols: &[&str]) -> Wire {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shown {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire(StreamOwned::new(tls, stream))
    }

    /// All that is answered to these bytes on a connection of their own, until it ends.
    pub(super) fn say(&self, words: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect();
        // Who has heard enough does not listen to the end.
        let _ = wire.write(words.as_ref());
        String::from_utf8_lossy(&wire.hear()).into_owned()
    }

    /// Sends a request with a body of JSON, which may be empty, and further headers.
    pub(super) fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let kind = if headers.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
        let length =
            if body.is_empty() { String::new() } else { format!("{kind}Content-Length: {}\r\n", body.len()) };
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{length}\r\n");
        Answer::read(&self.say(format!("{head}{body}")))
    }

    /// Opens a connection for many requests.
    pub(super) fn session(&self) -> Session {
        Session(self.connect())
    }

    /// Asks for a path.
    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, body: body.to_owned() }
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Session {
    /// Sends a request with a body of JSON, which may be empty, and reads an answer that says its length.
    pub(super) fn send(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.write(format!("{head}{body}").as_bytes()).unwrap();
        let mut heard = Vec::new();
        loop {
            let part = self.0.read().unwrap();
            assert!(!part.is_empty(), "{method} {target}: {}", String::from_utf8_lossy(&heard));
            heard.extend(part);
            let text = String::from_utf8_lossy(&heard);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                return Answer::read(&text);
            }
        }
    }
}

impl Wire {
    /// Sends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// What comes next, as much as there is at once; nothing at the end.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut part = vec![0; 64 << 10];
        match self.0.read(&mut part) {
            Ok(count) => {
                part.truncate(count);
                Ok(part)
            }
            // Ended without a word of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// All that comes until the end, however that comes; panics when it does not.
    pub(super) fn hear(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            match self.read() {
                Ok(part) if part.is_empty() => return heard,
                Ok(part) => heard.extend(part),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("the connection stays open after {:?}", String::from_utf8_lossy(&heard))
                }
                Err(_) => return heard,
            }
        }
    }
}

/// How long the other side may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);
