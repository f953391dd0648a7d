//! The same job in Rust: writer threads fill batches of 64 keys in a Vec, a bounded crossbeam channel takes them to one aggregator thread, which inserts
//! them into a HashSet behind a mutex. Nothing is dropped: a full channel makes its writer wait.
//!
//!     dirtyring-peers KIND DISTINCT COUNT WRITERS     KIND: siphash (std's default) or identity (the key is its own hash)
//!
//! Prints one JSON line. Everything runs once before, unmeasured, and the set keeps its room: what is timed is neither page faults nor growth.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

const BATCH: usize = 64;
const BATCHES_IN_FLIGHT: usize = 1024;

#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed here");
    }
}

/// The stream of perf/harness/keys.js, to the bit.
fn uniform_keys(count: usize, distinct: u32, seed: u32) -> Vec<u64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x6d2b_79f5);
            let mut x = (state ^ (state >> 15)).wrapping_mul(1 | state);
            x = x.wrapping_add((x ^ (x >> 7)).wrapping_mul(61 | x)) ^ x;
            let id = (f64::from(x ^ (x >> 14)) / 4_294_967_296.0 * f64::from(distinct)) as u32;
            let lo = (id + 1).wrapping_mul(0x9e37_79b1);
            let hi = (id + 1).wrapping_mul(0x85eb_ca6b);
            u64::from(hi) << 32 | u64::from(lo)
        })
        .collect()
}

extern "C" {
    /// Of the C library: processor time of all threads of this process, in microseconds on every POSIX system.
    fn clock() -> std::ffi::c_long;
}

fn cpu_seconds() -> f64 {
    unsafe { clock() as f64 / 1e6 }
}

fn run<S: BuildHasher + Default + Send>(distinct: u32, count: usize, writers: usize) -> (f64, f64, usize) {
    let streams: Vec<Vec<u64>> = (0..writers).map(|writer| uniform_keys(count / writers, distinct, writer as u32 + 1)).collect();
    let set = Mutex::new(HashSet::<u64, S>::default());
    let mut ms = 0.0;
    let mut cpu = 0.0;
    for _ in 0..2 {
        set.lock().unwrap().clear();
        let (sender, receiver) = crossbeam_channel::bounded::<Vec<u64>>(BATCHES_IN_FLIGHT);
        let start = Barrier::new(writers + 1);
        let (began, cpu_before) = std::thread::scope(|scope| {
            for stream in &streams {
                let sender = sender.clone();
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let mut batch = Vec::with_capacity(BATCH);
                    for &key in stream {
                        batch.push(key);
                        if batch.len() == BATCH {
                            sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).unwrap();
                        }
                    }
                    if !batch.is_empty() {
                        sender.send(batch).unwrap();
                    }
                });
            }
            drop(sender);
            let aggregator = scope.spawn(|| {
                for batch in receiver {
                    set.lock().unwrap().extend(batch);
                }
            });
            let cpu_before = cpu_seconds();
            start.wait();
            let began = Instant::now();
            aggregator.join().unwrap();
            (began, cpu_before)
        });
        ms = began.elapsed().as_secs_f64() * 1e3;
        cpu = cpu_seconds() - cpu_before;
    }
    let seen = set.lock().unwrap().len();
    (ms, cpu, seen)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, distinct, count, writers] = args.as_slice() else { panic!("expected KIND DISTINCT COUNT WRITERS, got {args:?}") };
    let (distinct, count, writers) = (distinct.parse().unwrap(), count.parse().unwrap(), writers.parse().unwrap());
    let (ms, cpu, seen) = match kind.as_str() {
        "siphash" => run::<RandomState>(distinct, count, writers),
        "identity" => run::<BuildHasherDefault<Identity>>(distinct, count, writers),
        other => panic!("expected siphash or identity, got {other}"),
    };
    let rate = count as f64 / ms / 1e3;
    let cpu_ns = cpu * 1e9 / count as f64;
    println!("{{\"kind\":\"rust {kind}\",\"distinct\":{distinct},\"count\":{count},\"ms\":{ms},\"mKeysPerSecond\":{rate},\"cpuSeconds\":{cpu},\"cpuNs\":{cpu_ns},\"distinctSeen\":{seen}}}");
}
