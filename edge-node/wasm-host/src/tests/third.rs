//! Interfaces of WASI 0.3 as the workload `service` uses them, and those that no version is served of.

use super::{
    handlers::free_address,
    network::{echo, host, only, told_as},
    *,
};
use crate::{Access, EgressHosts, Preopen};

/// What the workload says that it came to.
async fn said(words: &[&str], guest: Guest) -> String {
    let output = Arc::<Captured>::default();
    let Guest { args, output: captured, .. } = told_as("service", words, &output);
    let guest = Guest { entry: EntryChoice::Run, args, output: captured, ..guest };
    let ended = start(&workload("service"), guest).end().await;
    assert_eq!(ended.cause, Cause::Code(0), "{ended:?}");
    let text = output.text();
    let (_, said) = text.split_once('\n').unwrap();
    said.trim_end().to_owned()
}

#[tokio::test]
async fn a_guest_of_0_3_has_environment_chance_and_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let preopen =
        Preopen { dir: folder.path().to_owned(), path: "/data".to_owned(), access: Access::ReadOnly };
    let given = Guest {
        env: vec![("NAME".to_owned(), "value".to_owned())],
        working_dir: Some("/data".to_owned()),
        preopens: vec![preopen],
        ..guest()
    };
    assert_eq!(said(&["variable", "NAME"], given.clone()).await, "value");
    assert_eq!(said(&["folder"], given.clone()).await, "/data");
    assert_eq!(said(&["read", "file"], given.clone()).await, "content");
    assert_ne!(said(&["read", "../data/file"], given.clone()).await, "content");
    assert_eq!(said(&["random", "65536"], given).await, "65536 bytes");
}

#[tokio::test]
async fn a_guest_of_0_3_reaches_what_the_list_says() {
    let closed = || Guest { egress: only(&[]), ..guest() };
    let (address, _neighbour, echo) = echo("127.77.0.6").await;
    let send = ["send", &address.to_string()];
    assert!(said(&send, closed()).await.contains("AccessDenied"));
    assert_eq!(said(&send, guest()).await, "a datagram");
    echo.await.unwrap();

    let named = only(&[(EgressHosts::Name("localhost".to_owned()), None)]);
    let found = said(&["resolve", "localhost"], Guest { egress: named, ..guest() }).await;
    assert!(found.contains("127.0.0.1"), "{found}");
    assert!(!said(&["resolve", "localhost"], closed()).await.contains("127.0.0.1"));

    let address: SocketAddr = format!("127.77.0.7:{}", free_address().port()).parse().unwrap();
    let listen = vec![Listening { port: 80, ..Listening::tcp(address) }];
    let mut server = start(&workload("http-hello"), Guest { listen, ..guest() });
    (&mut server.started).await.unwrap();
    let fetch = ["fetch", &address.to_string(), "/a"];
    let may = only(&[(host(address), Some(address.port()))]);
    let answer = said(&fetch, Guest { egress: may, ..guest() }).await;
    assert!(answer.starts_with("200 hello") && answer.contains("GET /a"), "{answer}");
    let answer = said(&fetch, closed()).await;
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
}

/// A component that asks for bytes by chance, by the words of an interface and of its parameter.
fn chance(interface: &str, parameter: &str, count: u32) -> String {
    format!(
        r#"(component
            (import "{interface}" (instance $random
                (export "get-random-bytes" (func (param "{parameter}" u64) (result (list u8))))))
            (core module $libc
                (memory (export "memory") 4)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $libc (instantiate $libc))
            (core func $get (canon lower (func $random "get-random-bytes")
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
            (core module $m
                (import "" "get" (func $get (param i64 i32)))
                (func (export "run") (result i32)
                    (call $get (i64.const {count}) (i32.const 16))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "" (instance (export "get" (func $get))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#
    )
}

#[tokio::test]
async fn chance_comes_in_bounded_pieces() {
    for (interface, parameter) in
        [("wasi:random/random@0.2.0", "len"), ("wasi:random/random@0.3.0", "max-len")]
    {
        let ended = start(&program(&chance(interface, parameter, 65_536)), guest()).end().await;
        assert_eq!(ended.cause, Cause::Code(0), "{interface}: {ended:?}");
        // One may give less than was asked for, the other has to fail.
        let ended = start(&program(&chance(interface, parameter, 65_537)), guest()).end().await;
        let expected = if parameter == "len" { Cause::Trap } else { Cause::Code(0) };
        assert_eq!(ended.cause, expected, "{interface}: {ended:?}");
    }
}

#[tokio::test]
async fn interfaces_that_are_not_served_are_refused_by_name() {
    for interface in [
        "wasi:keyvalue/watch@0.2.0-draft2",
        "wasi:messaging/producer@0.2.0-draft",
        "wasi:blobstore/blobstore@0.2.0-draft",
        "wasi:nn/graph@0.2.0-rc-2024-10-28",
        "wasi:tls/types@0.2.0-draft",
        "wasi:logging/logging@0.1.0-draft",
        "wasi:messaging/producer@0.3.0",
        "wasi:clocks/monotonic-clock@0.3.0-rc-2025-09-16",
        "somebody:own/thing@1.0.0",
    ] {
        let import = format!(r#"(component (import "{interface}" (instance (export "f" (func))))"#);
        let component = commands::component("(i32.const 0)").replacen("(component", &import, 1);
        let refused = match load(&wat::parse_str(&component).unwrap()) {
            Ok(program) => host_of(program),
            Err(error) => error.to_string(),
        };
        assert!(refused.contains(interface), "{interface}: {refused}");
    }
}

fn host_of(program: Arc<Program>) -> String {
    super::host().container(program, guest(), Stop::new()).unwrap_err().to_string()
}
