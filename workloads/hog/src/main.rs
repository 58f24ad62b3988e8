//! Uses up what it is told to: `memory MIB` allocates and holds that much in steps of 1 MiB, `spin [SECONDS]` computes without
//! ever calling the host (for ever by default). Both then wait.

use std::{hint::black_box, process::exit, thread, time::Duration};

const MIB: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["memory", mib] => hold(number(mib)),
        ["spin"] => spin(u64::MAX),
        ["spin", seconds] => spin(number(seconds)),
        _ => {
            eprintln!("usage: hog memory MIB | spin [SECONDS]");
            exit(64);
        }
    }
}

fn hold(mib: u64) {
    let mut held = Vec::new();
    for count in 1..=mib {
        // Written to, so that the pages are really there.
        held.push(black_box(vec![1u8; MIB]));
        if count % 8 == 0 || count == mib {
            println!("holding {count} MiB");
        }
    }
    wait();
}

/// Reads no clock while it spins: a second is a number of steps that takes about that long on a small machine.
fn spin(seconds: u64) {
    const STEPS_PER_SECOND: u64 = 200_000_000;
    println!("spinning");
    let mut state = 1u64;
    for _ in 0..seconds.saturating_mul(STEPS_PER_SECOND) {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    println!("spun");
    wait();
}

fn wait() {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("not a number: {text}");
        exit(64);
    })
}
