//! Modules by URL: from a server of a private authority, which the coordinator compiles, and from the node's own disk.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::Arc,
};

use dunlin_link::Digest;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::node::waits;
use crate::{
    cluster::{wait_until, workloads},
    pods::pod,
    site::Site,
};

/// A server of files with TLS.
struct Server {
    port: u16,
    ca: String,
}

impl Server {
    /// Serves what is below `folder`, whole, whatever is asked of it.
    fn start(folder: &Path) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let cert = CertificateDer::from(cert.signed_by(&key, &issuer).unwrap());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
        let (config, folder) = (Arc::new(config), folder.to_owned());
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                // Who hangs up early has seen enough.
                drop(answer(&mut stream, &folder));
            }
        });
        Self { port, ca: ca_pem }
    }

    fn url(&self, file: &str, digest: Digest) -> String {
        format!("https://localhost:{}/{file}@{digest}", self.port)
    }
}

fn answer(
    stream: &mut rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>,
    folder: &Path,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().trim_start_matches('/');
    let (status, body) = match fs::read(folder.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn image_id(site: &Site, pod: &str) -> String {
    let path = "jsonpath={.status.containerStatuses[0].imageID}";
    site.dunlin(&["get", "pod", pod, "-o", path], "").stdout
}

/// A configuration by which coordinator and nodes trust the server.
fn trusting(site: &Site, server: &Server) -> String {
    let (ca, file) = (site.data().join("files-ca.pem"), site.data().join("files.yaml"));
    fs::write(&ca, &server.ca).unwrap();
    let host = format!("'localhost:{}': {{ tls: {{ ca: '{}' }} }}", server.port, ca.display());
    let registries = format!("  registries:\n    configs:\n      {host}\n");
    fs::write(&file, format!("edgeNode:\n{registries}coordinator:\n{registries}")).unwrap();
    file.display().to_string()
}

#[test]
fn a_module_runs_from_a_server_of_files_and_the_coordinator_compiles_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("nest")).unwrap();
    fs::copy(workloads().join("ticker.wasm"), folder.path().join("nest/ticker.wasm")).unwrap();
    fs::write(folder.path().join("page"), "<html>").unwrap();
    let digest = |file: &str| Digest::of(&fs::read(folder.path().join(file)).unwrap());
    let server = Server::start(folder.path());
    let mut site = Site::start();
    let config = trusting(&site, &server);
    site.kill_coordinator();
    site.start_coordinator_with(&["--config-file", &config]);
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--compile", "never", "--config-file", &config]);
    site.wait_for_ready(&machine);
    let url = server.url("nest/ticker.wasm", digest("nest/ticker.wasm"));
    site.ok(&["apply", "-f", "-"], &pod("ticks", "Always", &format!("image: '{url}'")));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));
    assert_eq!(image_id(&site, "ticks"), url);
    let log = site.log();
    assert!(log.contains("pulled an image to compile it") && log.contains("compiled a module"), "{log}");

    let undigested = format!("https://localhost:{}/nest/ticker.wasm", server.port);
    for (name, image, reason, words) in [
        ("undigested", undigested, "InvalidImageName", "named with its digest: https://HOST/PATH@sha256:HEX"),
        ("page", server.url("page", digest("page")), "ImagePullBackOff", "only a WASM module can be had"),
        ("none", server.url("none", digest("page")), "ImagePullBackOff", "not found"),
        ("other", server.url("nest/ticker.wasm", digest("page")), "ImagePullBackOff", "instead of sha256:"),
    ] {
        site.ok(&["apply", "-f", "-"], &pod(name, "Always", &format!("image: '{image}'")));
        let why = waits(&site, name, reason);
        assert!(why.contains(words), "{name}: {why}");
    }
}

#[test]
fn a_module_runs_from_the_node_s_own_disk_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("task.wasm"), folder.path().display().to_string());
    fs::copy(workloads().join("ticker.wasm"), &file).unwrap();
    let site = Site::start();
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--compile", "never"]);
    site.wait_for_ready(&machine);
    let image = format!("image: 'file://{}'", file.display());
    site.ok(&["apply", "-f", "-"], &pod("task", "Always", &format!("{image}, args: ['20']")));
    let why = waits(&site, "task", "ImagePullBackOff");
    assert!(why.contains("takes no modules from files; `--module-dir`"), "{why}");

    // Where it may be taken, nobody else can compile it.
    machine.stop_agent();
    machine.start_agent(&["--compile", "never", "--module-dir", &dir]);
    wait_until("that there is no code", || {
        let why = waits(&site, "task", "ImagePullBackOff");
        if why.contains("this node does not compile (--compile never)") { Ok(()) } else { Err(why) }
    });
    machine.stop_agent();
    machine.start_agent(&["--compile", "auto", "--module-dir", &dir]);
    site.wait_for(&["get", "pod", "task", "--no-headers"], |row| row.contains("Running"));
    let pinned = |module: &str| {
        let digest = Digest::of(&fs::read(workloads().join(module)).unwrap());
        format!("file://{}@{digest}", file.display())
    };
    assert_eq!(image_id(&site, "task"), pinned("ticker.wasm"));
    let etc = "image: 'file:///etc/hostname', imagePullPolicy: Never";
    site.ok(&["apply", "-f", "-"], &pod("etc", "Always", etc));
    let why = waits(&site, "etc", "ImagePullBackOff");
    assert!(why.contains("in none of the folders"), "{why}");

    // What the file is now is what the next run is.
    fs::copy(workloads().join("hello.wasm"), &file).unwrap();
    machine.kill_runner();
    wait_until("the other module", || {
        let found = image_id(&site, "task");
        if found == pinned("hello.wasm") { Ok(()) } else { Err(format!("{found}\n{}", machine.log())) }
    });
}
