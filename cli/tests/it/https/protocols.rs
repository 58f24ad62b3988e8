//! What comes before HTTP, and HTTP/2 as it is not meant.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::wire::{Access, Wire};
use crate::site::Site;

/// The first message of a client that knows TLS up to this version, with suites that servers used to take.
fn client_hello(version: u16) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    let suites: [u16; 4] = [0xc02f, 0xc013, 0x009c, 0x002f];
    body.extend(8_u16.to_be_bytes());
    suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    // Curves, signatures and the host's name; no `supported_versions`.
    let mut extensions = vec![0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 6, 0, 4, 4, 3, 4, 1];
    let name = b"localhost";
    let length = u16::try_from(name.len()).unwrap();
    extensions.extend([0, 0]);
    extensions.extend((length + 5).to_be_bytes());
    extensions.extend((length + 3).to_be_bytes());
    extensions.push(0);
    extensions.extend(length.to_be_bytes());
    extensions.extend(name);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    record.extend(message);
    record
}

/// All that is answered to raw bytes, until the connection ends.
fn answer(site: &Site, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(site.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(words).unwrap();
    let mut told = Vec::new();
    match stream.read_to_end(&mut told) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    told
}

#[test]
fn old_tls_and_no_tls_are_refused() {
    let site = Site::start();
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;
    for version in [0x0300, 0x0301, 0x0302, 0x0303] {
        let told = answer(&site, &client_hello(version));
        assert_eq!(told.first(), Some(&ALERT), "{version:x}: {told:?}");
        assert_eq!(told.get(5..7), Some(&[2, PROTOCOL_VERSION][..]), "{version:x}: {told:?}");
    }
    for words in [
        &b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0x80, 0x2e, 1, 0, 2],
        &[22, 3, 1, 0xff, 0xff, 1],
    ] {
        let mut words = words.to_vec();
        words.resize(20_000, 0);
        let told = answer(&site, &words);
        assert!(told.is_empty() || told[0] == ALERT, "{told:?}");
    }
    assert_eq!(Access::nobody(&site).get("/livez").status, 200);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /livez` of `https://x`, in HPACK.
fn request() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, 6];
    block.extend(b"/livez");
    block.extend([0x01, 1, b'x']);
    block
}

fn connect(access: &Access) -> Wire {
    let mut wire = access.connect_with(&["h2"]);
    wire.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    wire
}

/// The error code of the GOAWAY that ends a connection.
fn farewell(told: &[u8]) -> Option<u32> {
    let mut rest = told;
    let mut code = None;
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let payload = rest.get(9..9 + length)?;
        if rest[3] == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    code
}

#[test]
fn rapid_resets_end_the_connection() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let site = Site::start();
    let nobody = Access::nobody(&site);
    let mut wire = connect(&nobody);
    let mut flood = Vec::new();
    for number in 0..2000_u32 {
        let stream = 2 * number + 1;
        flood.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &request()));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // Who has heard enough does not listen to the end.
    let _ = wire.write(&flood);
    assert_eq!(farewell(&wire.hear()), Some(ENHANCE_YOUR_CALM));
    assert_eq!(nobody.get("/livez").status, 200);
}

#[test]
fn headers_without_end_end_the_connection() {
    let site = Site::start();
    let nobody = Access::nobody(&site);
    let mut wire = connect(&nobody);
    let mut flood = frame(HEADERS, 0, 1, &request());
    let mut field = vec![0x00, 1, b'a', 0x7f, 0x81, 0x7f];
    field.resize(16_000, b'b');
    for _ in 0..200 {
        flood.extend(frame(CONTINUATION, 0, 1, &field));
    }
    let _ = wire.write(&flood);
    let told = wire.hear();
    assert!(farewell(&told).is_some_and(|code| code != 0), "{told:?}");
    // What is no frame, and a preface that is none.
    for words in [&[0xff; 100][..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut wire = nobody.connect_with(&["h2"]);
        let _ = wire.write(words);
        wire.hear();
    }
    assert_eq!(nobody.get("/livez").status, 200);
}
