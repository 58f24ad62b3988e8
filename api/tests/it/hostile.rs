//! Bytes that nobody honest sends: no decoder may panic on them, or take more memory or work than their size allows. Work is counted in
//! bytes allocated, and what does not allocate but is quadratic would not come to an end here.
//!
//! `DUNLIN_FUZZ_ROUNDS` says how many mutations of each decoder's corpus are tried, for long runs; `fuzz/` has the same decoders as
//! targets that are guided by what they reach.

use std::env;

use crate::{decoders, memory};

mod corpus;
mod mutate;
mod shapes;

use mutate::Random;
use shapes::Shape;

#[test]
fn mutated_input_is_survived() {
    let rounds = env::var("DUNLIN_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    for (name, decoder) in decoders::ALL {
        let corpus = corpus::of(name);
        assert!(corpus.len() > 2, "{name} has no corpus");
        let mut random = Random(0x5eed);
        let mut worst = 0;
        for round in 0..rounds {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(4) {
                mutate::once(&mut bytes, &corpus, &mut random);
            }
            // What was tried is known when it panics.
            let seen = Seen { name, round, bytes: &bytes };
            let taken = memory::taken(|| decoder(&bytes));
            std::mem::forget(seen);
            let allowed = WORK_BYTES + WORK_FACTOR * bytes.len();
            assert!(taken.total <= allowed, "{name}, round {round}: {taken:?} for {} bytes", bytes.len());
            worst = worst.max(taken.total);
        }
        println!("{name}: {rounds} mutations of {} inputs, at most {worst} bytes allocated", corpus.len());
    }
}

/// Says what was tried when a decoder panics over it.
struct Seen<'a> {
    name: &'a str,
    round: usize,
    bytes: &'a [u8],
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        println!("{}, round {}: {}", self.name, self.round, self.bytes.escape_ascii());
    }
}

#[test]
fn work_grows_as_the_input_does() {
    for Shape { decoder, shape, make } in shapes::ALL {
        let decode = decoders::ALL.iter().find(|(name, _)| name == decoder).expect("a decoder").1;
        let (small, large) = (make(SMALL_BYTES), make(4 * SMALL_BYTES));
        // The first look at a definition parses it.
        decode(&small);
        let few = memory::taken(|| decode(&small)).total;
        let many = memory::taken(|| decode(&large)).total;
        assert!(
            many <= 6 * few + WORK_BYTES,
            "{decoder}, {shape}: {few} bytes allocated for {}, {many} for {}",
            small.len(),
            large.len()
        );
        println!(
            "{decoder}, {shape}: {few} and {many} bytes allocated for {} and {}",
            small.len(),
            large.len()
        );
    }
}

#[test]
fn the_largest_bodies_stay_within_memory() {
    let bodies = shapes::ALL.iter().filter(|shape| ["json", "yaml", "protobuf"].contains(&shape.decoder));
    for Shape { decoder, shape, make } in bodies {
        let decode = decoders::ALL.iter().find(|(name, _)| name == decoder).expect("a decoder").1;
        let bytes = make(dunlin_api::decode::BODY_LIMIT_BYTES - ENVELOPE_BYTES);
        let taken = memory::taken(|| decode(&bytes));
        assert!(taken.peak <= PEAK_BYTES_MAX, "{decoder}, {shape}: {taken:?}");
        println!("{decoder}, {shape}: {} MiB at most, {} MiB in all", taken.peak >> 20, taken.total >> 20);
    }
}

/// Mutations of each decoder's corpus in an ordinary run.
const ROUNDS: usize = 400;
/// What any input may cost: reading a small pod, with its defaults, its owners and its validation, takes less.
const WORK_BYTES: usize = 4 << 20;
/// What each byte of an input may cost on top.
const WORK_FACTOR: usize = 4_000;
/// Input of which four times as much must not cost much more than four times.
const SMALL_BYTES: usize = 16 << 10;
/// What a shape may add to the size that is asked.
const ENVELOPE_BYTES: usize = 1 << 10;
/// The most that one request may hold while it is read, in the worst shape of 3 MiB.
const PEAK_BYTES_MAX: usize = 600 << 20;
