//! Loads a machine as a game server does, for `scripts/bench-gentle`.
//!
//! A tick is due every 50 ms and computes for 20 ms. Another thread saves once a second: it writes
//! pieces of a region file and waits until they are durable. At the end, the program prints how
//! long the ticks took from the time that they were due, and how long the saves took, in
//! microseconds.
#![expect(clippy::print_stdout, reason = "a command prints its results")]

use std::error::Error;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: game-load calibrate
       game-load run FOLDER SECONDS ROUNDS";

/// How often a tick is due.
const TICK: Duration = Duration::from_millis(50);
/// How long a tick computes on a processor of its own.
const WORK: Duration = Duration::from_millis(20);
/// How often the world is saved.
const SAVE: Duration = Duration::from_secs(1);
/// The size of a region file, and of the pieces that are saved of it.
const REGION_BYTES: u64 = 8 << 20;
const PIECE_BYTES: u64 = 8 << 10;
const PIECES: u64 = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["calibrate"] => println!("{}", calibrate()?),
        ["run", folder, seconds, rounds] => {
            let duration = Duration::from_secs(seconds.parse()?);
            run(Path::new(folder), duration, rounds.parse()?)?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// The state that a tick changes: half a megabyte, as the entities of a world.
struct World {
    table: Vec<u64>,
    state: u64,
}

impl World {
    const ENTRIES: usize = 1 << 16;

    fn new() -> Self {
        Self {
            table: (0..Self::ENTRIES as u64).collect(),
            state: 1,
        }
    }

    fn compute(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.state = next(self.state);
            let at = (self.state >> 40) as usize % Self::ENTRIES;
            self.table[at] = self.table[at].rotate_left(7) ^ self.state;
            self.state ^= self.table[at] >> 3;
        }
    }
}

/// A step of a random generator.
fn next(state: u64) -> u64 {
    let product = state.wrapping_mul(6_364_136_223_846_793_005);
    product.wrapping_add(1_442_695_040_888_963_407)
}

/// Returns the rounds that take the time of a tick's work. Counts the time of this thread alone.
fn calibrate() -> Result<u64, Box<dyn Error>> {
    const STEP: u64 = 1_000_000;
    let mut world = World::new();
    world.compute(STEP);
    let (before, begun) = (thread_time()?, Instant::now());
    let mut rounds = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        world.compute(STEP);
        rounds += STEP;
    }
    let nanoseconds = u128::from(thread_time()? - before).max(1);
    let rounds = u128::from(rounds) * WORK.as_nanos() / nanoseconds;
    Ok(u64::try_from(rounds)?)
}

/// Returns the time that this thread has computed, in nanoseconds.
fn thread_time() -> Result<u64, Box<dyn Error>> {
    let text = fs_err::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}

fn run(folder: &Path, duration: Duration, rounds: u64) -> Result<(), Box<dyn Error>> {
    let is_over = AtomicBool::new(false);
    let (ticks, saves) = std::thread::scope(|scope| {
        let saves = scope.spawn(|| save(folder, &is_over));
        let ticks = tick(duration, rounds);
        is_over.store(true, Ordering::Relaxed);
        (ticks, saves.join())
    });
    let mut saves = saves.map_err(|_| "the saves panicked")??;
    let (mut times, skipped) = ticks;
    times.sort_unstable();
    saves.sort_unstable();
    println!(
        "{{\"ticks\": {}, \"skipped\": {skipped}, \"median\": {}, \"p99\": {}, \"max\": {}, \
         \"save_median\": {}, \"save_max\": {}}}",
        times.len(),
        percentile(&times, 50),
        percentile(&times, 99),
        percentile(&times, 100),
        percentile(&saves, 50),
        percentile(&saves, 100),
    );
    Ok(())
}

/// Returns how long each tick took, and how many were skipped because others took too long.
fn tick(duration: Duration, rounds: u64) -> (Vec<u128>, u32) {
    let mut world = World::new();
    let mut times = Vec::new();
    let mut skipped = 0;
    let begun = Instant::now();
    let mut due = begun;
    while begun.elapsed() < duration {
        due += TICK;
        let late = due.elapsed();
        if late > TICK {
            let ticks = u32::try_from(late.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
            skipped += ticks;
            due += TICK * ticks;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        world.compute(rounds);
        times.push(due.elapsed().as_micros());
    }
    std::hint::black_box(world.state);
    (times, skipped)
}

/// Saves pieces of a region file until the end. Returns how long each save took.
fn save(folder: &Path, is_over: &AtomicBool) -> std::io::Result<Vec<u128>> {
    fs_err::create_dir_all(folder)?;
    let mut region = fs_err::File::create(folder.join("r.0.0.mca"))?;
    region.set_len(REGION_BYTES)?;
    let mut times = Vec::new();
    let mut state = 1;
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        for _ in 0..PIECES {
            state = next(state);
            let piece = (state >> 33) % (REGION_BYTES / PIECE_BYTES);
            region.seek(SeekFrom::Start(piece * PIECE_BYTES))?;
            region.write_all(&[state.to_be_bytes()[0]; PIECE_BYTES as usize])?;
        }
        region.sync_data()?;
        times.push(begun.elapsed().as_micros());
        std::thread::sleep(SAVE.saturating_sub(begun.elapsed()));
    }
    Ok(times)
}

/// Returns a percentile of sorted times.
fn percentile(sorted: &[u128], percent: usize) -> u128 {
    let last = sorted.len().saturating_sub(1);
    let at = last * percent / 100;
    sorted.get(at).copied().unwrap_or(0)
}
