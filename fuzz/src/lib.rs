//! What the fuzz targets have in common: bounds for the time and the memory that an input may cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts the memory that Rust code uses. The memory of libFuzzer itself is not counted.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the allocator of the system. The counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What one input may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// CPU time of this thread for any input.
    pub time: Duration,
    /// CPU time of this thread for each byte, in nanoseconds.
    pub nanos_per_byte: u32,
    /// Memory for any input, in bytes.
    pub memory: usize,
    /// Memory for each byte of the input, in bytes.
    pub memory_per_byte: usize,
}

impl Bounds {
    /// The bounds of a parser of text. Only a cost that grows faster than the text exceeds them.
    pub const TEXT: Self = Self {
        time: Duration::from_millis(100),
        nanos_per_byte: 20_000,
        memory: 1 << 20,
        memory_per_byte: 200,
    };

    /// The bounds of what reads an archive. The service restores with at most 64 MiB.
    pub const ARCHIVE: Self = Self {
        time: Duration::from_secs(2),
        nanos_per_byte: 20_000,
        memory: 64 << 20,
        memory_per_byte: 100,
    };

    /// Runs `parse` on an input of `length` bytes, and checks what it costs.
    pub fn check<T>(self, length: usize, parse: impl FnOnce() -> T) -> T {
        let used = USED.load(Ordering::Relaxed);
        PEAK.store(used, Ordering::Relaxed);
        let began_at = cpu_time();
        let parsed = parse();
        let time = cpu_time().saturating_sub(began_at);
        let memory = PEAK.load(Ordering::Relaxed).saturating_sub(used);
        let factor = u32::try_from(length).unwrap_or(u32::MAX);
        let most = self.time + Duration::from_nanos(self.nanos_per_byte.into()) * factor;
        assert!(time <= most, "{length} bytes took {time:?}");
        let most = self.memory + self.memory_per_byte * length;
        assert!(memory <= most, "{length} bytes needed {memory} bytes");
        parsed
    }
}

/// The CPU time of this thread. Other processes hardly change it.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Splits an input at its first line break.
pub fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[]),
    }
}

/// The content type of JSON.
pub const JSON: &str = "application/json";
/// The content type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Checks an answer that refuses a request: it is short JSON in the format of the API.
pub fn check_refusal(refusal: &holdfast_api::fuzzing::Refusal) {
    assert!(matches!(refusal.status, 400 | 422), "{refusal:?}");
    let bytes = refusal.answer.len();
    assert!(bytes <= 64 << 10, "the answer has {bytes} bytes");
    let answer: serde_json::Value = serde_json::from_slice(&refusal.answer).expect("JSON");
    let errors = answer["errors"].as_array().expect("a list of errors");
    assert!(!errors.is_empty());
    for error in errors {
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
}
