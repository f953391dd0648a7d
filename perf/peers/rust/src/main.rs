//! The same job in Rust: writer threads fill batches of 64 keys in a Vec, a bounded crossbeam
//! channel takes them to one aggregator thread, which inserts them into a HashSet behind a mutex.
//! Nothing is dropped: a full channel makes its writer wait.
//!
//!     dirtyring-peers KIND DISTINCT COUNT WRITERS [TEXT]
//!
//! KIND: siphash (std's default) or identity (the key is its own hash), of 64-bit keys; or strings:
//! TEXT is what perf/harness/texts.js says, the set has std's default hash, and the time ends when
//! the aggregator has read each distinct key back.
//!
//! Prints one JSON line. Everything runs once before, unmeasured, and the set keeps its room: what
//! is timed is neither page faults nor growth.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::hint::black_box;
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

/// The ids of perf/harness/keys.js and texts.js, to the bit.
fn uniform_ids(count: usize, distinct: u32, seed: u32) -> impl Iterator<Item = u32> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state.wrapping_add(0x6d2b_79f5);
        let mut x = (state ^ (state >> 15)).wrapping_mul(1 | state);
        x = x.wrapping_add((x ^ (x >> 7)).wrapping_mul(61 | x)) ^ x;
        (f64::from(x ^ (x >> 14)) / 4_294_967_296.0 * f64::from(distinct)) as u32
    })
}

fn key_of(id: u32) -> u64 {
    let lo = (id + 1).wrapping_mul(0x9e37_79b1);
    let hi = (id + 1).wrapping_mul(0x85eb_ca6b);
    u64::from(hi) << 32 | u64::from(lo)
}

/// The text key of perf/harness/texts.js.
fn text_of(id: u32, text: &str) -> String {
    let (head, length) = match text {
        "wide" => ("ключ:", 16),
        ascii => ("k:", ascii.parse().unwrap()),
    };
    format!("{head}{id:0>width$}", width = length - head.chars().count())
}

extern "C" {
    /// Of the C library: processor time of all threads of this process, in microseconds on every
    /// POSIX system.
    fn clock() -> std::ffi::c_long;
}

fn cpu_seconds() -> f64 {
    unsafe { clock() as f64 / 1e6 }
}

/// `streams`: what each writer makes its keys of, by `make`. `read`: how the aggregator reads the
/// set when all keys are in it.
fn run<T: Sync, K: Eq + Hash + Send, S: BuildHasher + Default + Send>(
    streams: &[Vec<T>],
    make: impl Fn(&T) -> K + Sync,
    read: impl Fn(&HashSet<K, S>) + Sync,
) -> (f64, f64, HashSet<K, S>) {
    let writers = streams.len();
    let set = Mutex::new(HashSet::<K, S>::default());
    let mut ms = 0.0;
    let mut cpu = 0.0;
    for _ in 0..2 {
        set.lock().unwrap().clear();
        let (sender, receiver) = crossbeam_channel::bounded::<Vec<K>>(BATCHES_IN_FLIGHT);
        let start = Barrier::new(writers + 1);
        let (took, cpu_before) = std::thread::scope(|scope| {
            // A writer notes when it starts: this thread may be woken later.
            let writing = streams.iter().map(|stream| {
                let sender = sender.clone();
                let (start, make) = (&start, &make);
                scope.spawn(move || {
                    start.wait();
                    let began = Instant::now();
                    let mut batch = Vec::with_capacity(BATCH);
                    for item in stream {
                        batch.push(make(item));
                        if batch.len() == BATCH {
                            sender
                                .send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))
                                .unwrap();
                        }
                    }
                    if !batch.is_empty() {
                        sender.send(batch).unwrap();
                    }
                    began
                })
            });
            let writing: Vec<_> = writing.collect();
            drop(sender);
            let aggregator = scope.spawn(|| {
                for batch in receiver {
                    set.lock().unwrap().extend(batch);
                }
                read(&set.lock().unwrap());
                Instant::now()
            });
            let cpu_before = cpu_seconds();
            start.wait();
            let ended = aggregator.join().unwrap();
            let began = writing
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .min()
                .unwrap();
            (ended - began, cpu_before)
        });
        ms = took.as_secs_f64() * 1e3;
        cpu = cpu_seconds() - cpu_before;
    }
    (ms, cpu, set.into_inner().unwrap())
}

/// 64-bit keys.
fn numbers<S: BuildHasher + Default + Send>(distinct: u32, shares: &[usize]) -> (f64, f64, usize) {
    let streams: Vec<Vec<u64>> = (1..)
        .zip(shares)
        .map(|(seed, &share)| uniform_ids(share, distinct, seed).map(key_of).collect())
        .collect();
    let (ms, cpu, set) = run::<_, _, S>(&streams, |&key| key, |_| ());
    (ms, cpu, set.len())
}

/// Text keys, each sent as a String of its own. Counts those that came back as they were sent.
fn strings(distinct: u32, shares: &[usize], text: &str) -> (f64, f64, usize) {
    let table: Vec<String> = (0..distinct).map(|id| text_of(id, text)).collect();
    let streams: Vec<Vec<u32>> = (1..)
        .zip(shares)
        .map(|(seed, &share)| uniform_ids(share, distinct, seed).collect())
        .collect();
    let (ms, cpu, set) = run::<_, String, RandomState>(
        &streams,
        |&id| table[id as usize].clone(),
        |set| {
            black_box(
                set.iter()
                    .map(|key| usize::from(key.as_bytes()[key.len() - 1]))
                    .sum::<usize>(),
            );
        },
    );
    let sent: HashSet<&str> = streams
        .iter()
        .flatten()
        .map(|&id| table[id as usize].as_str())
        .collect();
    (
        ms,
        cpu,
        set.iter().filter(|key| sent.contains(key.as_str())).count(),
    )
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, distinct, count, writers, text @ ..] = args.as_slice() else {
        panic!("expected KIND DISTINCT COUNT WRITERS [TEXT], got {args:?}")
    };
    let (distinct, count, writers): (u32, usize, usize) = (
        distinct.parse().unwrap(),
        count.parse().unwrap(),
        writers.parse().unwrap(),
    );
    let shares = vec![count / writers; writers];
    let (ms, cpu, seen) = match kind.as_str() {
        "siphash" => numbers::<RandomState>(distinct, &shares),
        "identity" => numbers::<BuildHasherDefault<Identity>>(distinct, &shares),
        "strings" => strings(distinct, &shares, &text[0]),
        other => panic!("expected siphash, identity or strings, got {other}"),
    };
    let rate = count as f64 / ms / 1e3;
    let cpu_ns = cpu * 1e9 / count as f64;
    println!(
        "{{\"kind\":\"rust {kind}\",\"distinct\":{distinct},\"count\":{count},\"ms\":{ms},\
         \"mKeysPerSecond\":{rate},\"cpuSeconds\":{cpu},\"cpuNs\":{cpu_ns},\"distinctSeen\":{seen}}}"
    );
}
