//! What an idle guest costs: starts COUNT instances of a module (default: 1,000 of the `ticker` workload), waits, and prints memory,
//! page tables, mappings and CPU time per guest, from the kernel's own figures.
//!
//! `cargo run --release -p dunlin-wasm-host --example idle -- [COUNT] [MODULE] [SECONDS]`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    env, fs,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use dunlin_wasm_host::{Guest, Host, Output, Stop, Stream, compile};

fn main() {
    let words: Vec<String> = env::args().collect();
    let count: u64 = words.get(1).map_or(1000, |text| text.parse().expect("COUNT is a number"));
    let module = words.get(2).map_or_else(|| PathBuf::from("target/workloads/ticker.wasm"), PathBuf::from);
    let seconds: u64 = words.get(3).map_or(5, |text| text.parse().expect("SECONDS is a number"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let artifact = folder.path().join("artifact");
    let wasm = fs::read(&module).expect("the module; `cargo xtask build-workloads` makes it");
    let host = Host::new().expect("a host");
    fs::write(&artifact, compile(&wasm, host.target()).expect("a valid module"))
        .expect("room for the artifact");
    let program = Arc::new(host.load(&artifact).expect("a program"));

    let before = Usage::read();
    let begun = Instant::now();
    for _ in 0..count {
        let container = host.container(Arc::clone(&program), guest(), Stop::new()).expect("a command");
        drop(host.handle().spawn(async move { container.run(|| ()).await }));
    }
    thread::sleep(Duration::from_secs(2));
    println!("started {count} in about {:?}", begun.elapsed());
    let after = Usage::read();
    let per = |after: u64, before: u64| (after.saturating_sub(before)) as f64 / count as f64;
    println!("PSS {:.1} KiB per guest ({} KiB before)", per(after.pss_kib, before.pss_kib), before.pss_kib);
    println!("page tables {:.1} KiB per guest", per(after.page_tables_kib, before.page_tables_kib));
    println!("mappings {:.2} per guest", per(after.mappings, before.mappings));
    println!("threads {}", after.threads);
    thread::sleep(Duration::from_secs(seconds));
    let spent = Usage::read().cpu_millis - after.cpu_millis;
    println!("CPU {spent} ms in {seconds} s");
}

fn guest() -> Guest {
    Guest {
        args: vec!["guest".to_owned()],
        env: vec![("POD_NAME".to_owned(), "idle".to_owned())],
        memory_bytes_max: Some(64 << 20),
        ..Guest::new(Arc::new(Discard))
    }
}

struct Discard;

impl Output for Discard {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn push(&self, _stream: Stream, _bytes: &[u8]) {}

    fn poll_room(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

struct Usage {
    pss_kib: u64,
    page_tables_kib: u64,
    mappings: u64,
    threads: u64,
    cpu_millis: u64,
}

impl Usage {
    fn read() -> Self {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let schedstat: u64 = fs::read_dir("/proc/self/task")
            .expect("Linux")
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()))
            .sum();
        Self {
            pss_kib: field(&rollup, "Pss:"),
            page_tables_kib: field(&status, "VmPTE:"),
            mappings: fs::read_to_string("/proc/self/maps").expect("Linux").lines().count() as u64,
            threads: field(&status, "Threads:"),
            cpu_millis: schedstat / 1_000_000,
        }
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
    line.split_whitespace().nth(1).expect("a value").parse().expect("a number")
}
