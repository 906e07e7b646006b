//! Measures SHA-256 implementations: megabytes for each second of CPU time.
//!
//! It counts CPU time of one thread, not wall time, so that other processes disturb less. The best
//! of several rounds is printed.

use std::hint::black_box;

use sha2::{Digest, Sha256};

const MEGABYTES: usize = 64;
const ROUNDS: usize = 15;

fn main() {
    let data: Vec<u8> = (0..MEGABYTES * 1_000_000)
        .map(|at| (at * 31 >> 7) as u8)
        .collect();
    print_speed("sha2", || {
        black_box(Sha256::digest(black_box(&data)));
    });
    #[cfg(feature = "aws")]
    print_speed("aws-lc-rs", || {
        let algorithm = &aws_lc_rs::digest::SHA256;
        black_box(aws_lc_rs::digest::digest(algorithm, black_box(&data)));
    });
}

fn print_speed(name: &str, hash: impl Fn()) {
    let best = (0..ROUNDS).map(|_| {
        let before = cpu_seconds();
        hash();
        cpu_seconds() - before
    });
    let best = best.fold(f64::INFINITY, f64::min);
    println!("{name} {:.0}", MEGABYTES as f64 / best);
}

/// Returns the CPU time of the main thread.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanoseconds: f64 = text
        .split(' ')
        .next()
        .expect("a field")
        .parse()
        .expect("a number");
    nanoseconds / 1e9
}
