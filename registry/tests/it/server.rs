//! A registry that answers from a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What was asked: the first line and the headers, in lower case.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// Answers each connection with the next of `answers`, then with 500. Whole answers, head and body; what is cut short is cut there.
pub(crate) async fn serve(answers: impl IntoIterator<Item = Vec<u8>>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let (mut answers, heard) = (answers.into_iter().collect::<VecDeque<_>>(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, &mut answers, &heard).await;
        }
    });
    (address, asked)
}

/// The same with TLS; answers the port.
pub(crate) async fn serve_tls(answers: Vec<Vec<u8>>, cert: &str, key: &str) -> (u16, Asked) {
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // A name may mean either loopback.
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let (mut answers, heard) = (VecDeque::from(answers), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust it goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, &mut answers, &heard).await;
            }
        }
    });
    (port, asked)
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: &mut VecDeque<Vec<u8>>,
    heard: &Asked,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    heard.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
    let answer = answers.pop_front().unwrap_or_else(|| reply("500 Internal Server Error", &[], b""));
    stream.write_all(&answer).await.unwrap();
    // Who reads no further hangs up by itself.
    drop(stream.shutdown().await);
}

/// A whole answer.
pub(crate) fn reply(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}
