//! Ends badly, as its arguments say: `exit CODE [AFTER_MS]` or `trap [AFTER_MS]`. The default is `exit 1`.
//!
//! A core module for preview 1, since components of WASI 0.2 can tell success and failure but no code.

use std::{process::exit, thread, time::Duration};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => fail(1, "0"),
        ["exit", code] => fail(number(code), "0"),
        ["exit", code, after_ms] => fail(number(code), after_ms),
        ["trap"] => trap("0"),
        ["trap", after_ms] => trap(after_ms),
        _ => {
            eprintln!("usage: crasher [exit CODE [AFTER_MS] | trap [AFTER_MS]]");
            exit(64);
        }
    }
}

fn fail(code: i32, after_ms: &str) -> ! {
    wait(after_ms);
    eprintln!("exiting with {code}");
    exit(code);
}

/// A panic that aborts executes `unreachable`, which is a trap.
fn trap(after_ms: &str) -> ! {
    wait(after_ms);
    panic!("trapping as told");
}

fn wait(after_ms: &str) {
    thread::sleep(Duration::from_millis(number(after_ms)));
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| {
        eprintln!("not a number: {text}");
        exit(64);
    })
}
