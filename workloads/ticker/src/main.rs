//! Prints a numbered line every so many milliseconds (first argument, default 1000), for ever: a long-running, idle guest.

use std::{thread, time::Duration};

fn main() {
    let period_ms = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    for tick in 1u64.. {
        println!("tick {tick}");
        thread::sleep(Duration::from_millis(period_ms));
    }
}
