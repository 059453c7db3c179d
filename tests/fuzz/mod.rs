//! Damaged and hostile input: whatever is in a file, a line or an answer, lockstep says so and goes on living.
//!
//! Each target takes good inputs, damages them in ways that are drawn from a fixed seed, and reads them. A failure is a panic,
//! an allocation that has nothing to do with what is really there, or a message that is more than one line or would act on a
//! terminal. It is reported with the number that repeats it: `LOCKSTEP_FUZZ_ONLY=<number>` runs that input alone.
//!
//! The suite tries a few thousand inputs. `scripts/test.sh --long` tries `LOCKSTEP_FUZZ` of them (100,000 by default) with other
//! seeds.

mod files;
mod mutate;
mod requests;
mod runs;
mod servers;
mod text;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub use mutate::{Random, damaged};

/// Remembers the largest piece of memory that a thread has asked for, if it was large.
struct Watching;

/// What counts as large. No good input of the fuzzers needs a tenth of it.
const LARGE: usize = 128 << 20;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn watch(size: usize) {
    if size >= LARGE {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    }
}

// SAFETY: everything is the system's allocator's.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size);
        unsafe { System.realloc(memory, layout, size) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A way in for damaged input: its name, how many inputs the suite tries, and what is done with one.
type Target = (&'static str, u64, fn(&mut Random));

const TARGETS: &[Target] = &[
    ("checkpoints", 700, files::checkpoint),
    ("parameters", 600, files::parameters),
    ("cache entries", 150, files::cache_entry),
    ("configurations", 500, text::configuration),
    ("protocol lines", 700, text::protocol),
    ("golden files", 400, text::golden),
    ("run directories", 400, runs::directory),
    ("resumed runs", 150, runs::resumed),
    ("server answers", 120, servers::answers),
    ("requests to the page", 60, requests::page), // 50 each
];

/// Tries `count` inputs of a target, from a seed.
fn fuzz((name, _, read): &Target, seed: u64, count: u64) {
    let only: Option<u64> = std::env::var("LOCKSTEP_FUZZ_ONLY").ok().and_then(|number| number.parse().ok());
    for number in only.map_or(0..count, |number| number..number + 1) {
        LARGEST.set(0);
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            read(&mut Random::new(seed ^ number.wrapping_mul(0x9e37_79b9)))
        }));
        assert!(outcome.is_ok(), "{name}: input {number} of seed {seed} panics");
        let largest = LARGEST.get();
        assert!(largest < LARGE, "{name}: input {number} of seed {seed} takes {largest} bytes at once");
        let seconds = start.elapsed();
        assert!(seconds < Duration::from_secs(60), "{name}: input {number} of seed {seed} takes {seconds:?}");
    }
}

/// Checks what a person is told of a bad input: one line that acts on no terminal.
#[track_caller]
fn check_message(error: &impl std::fmt::Display) {
    let message = lockstep::output::printable(&format!("{error:#}")).into_owned();
    assert!(!message.is_empty() && message.len() < 20_000, "{} letters: {message:.300}", message.len());
    assert!(!message.contains('\n'), "{message}");
}

macro_rules! suite {
    ($($test:ident: $target:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            let target = TARGETS.iter().find(|(name, ..)| *name == $target).unwrap();
            fuzz(target, 1, target.1);
        })*

        #[test]
        fn every_target_is_tried_and_there_are_thousands_of_inputs() {
            let tried = [$($target),*];
            assert!(TARGETS.iter().all(|(name, ..)| tried.contains(name)));
            assert!(TARGETS.iter().map(|(_, count, _)| count).sum::<u64>() >= 3000);
        }
    };
}

suite! {
    checkpoints: "checkpoints",
    parameters: "parameters",
    cache_entries: "cache entries",
    configurations: "configurations",
    protocol_lines: "protocol lines",
    golden_files: "golden files",
    run_directories: "run directories",
    resumed_runs: "resumed runs",
    server_answers: "server answers",
    requests_to_the_page: "requests to the page",
}

#[test]
#[ignore = "long: scripts/test.sh --long"]
fn long() {
    let inputs: u64 = std::env::var("LOCKSTEP_FUZZ").map_or(100_000, |count| count.parse().unwrap());
    let all: u64 = TARGETS.iter().map(|(_, count, _)| count).sum();
    for target in TARGETS {
        let count = (inputs * target.1).div_ceil(all);
        println!("{}: {count} inputs", target.0);
        fuzz(target, 2, count);
    }
}
