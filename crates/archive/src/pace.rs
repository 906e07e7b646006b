//! Lets a thread rest after its work, if the operation is slowed down.

use std::time::{Duration, Instant};

use crate::Control;

/// How much work may pass without a rest. A shorter rest would cost more than it gives.
const WORK_MIN: Duration = Duration::from_millis(1);
/// The longest rest. A thread that was blocked for long, such as by a slow disk, did not work.
const REST_MAX: Duration = Duration::from_secs(1);
/// How soon a thread that rests notices a new speed or the end of the operation.
const SLICE: Duration = Duration::from_millis(20);

/// The pace of one thread.
pub(crate) struct Pace {
    /// When the current work began.
    since: Instant,
    /// The earlier work that no rest has followed yet.
    worked: Duration,
    /// How long the thread had waited for a processor when its work began. `None` at full speed.
    queued: Option<Duration>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            worked: Duration::ZERO,
            queued: None,
        }
    }

    /// Says that work begins now. The time before it was spent waiting.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
        if self.queued.is_some() {
            self.queued = queued();
        }
    }

    /// Says that a part of the work is done, and rests in proportion to it. Returns at once at full
    /// speed, and soon if the operation is cancelled. Further work begins when it returns.
    pub(crate) fn rest(&mut self, control: &Control) {
        let now = Instant::now();
        self.worked += now - self.since;
        if !control.is_slowed() {
            self.worked = Duration::ZERO;
            self.since = now;
            self.queued = None;
            return;
        }
        if self.worked < WORK_MIN {
            self.since = now;
            return;
        }
        let waited = queued().zip(self.queued);
        let waited = waited.map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
        loop {
            let due = due(self.worked, waited, control.rest_percent());
            let left = due.saturating_sub(now.elapsed());
            if left.is_zero() || control.is_cancelled() {
                break;
            }
            std::thread::sleep(left.min(SLICE));
        }
        *self = Self {
            queued: queued(),
            ..Self::new()
        };
    }
}

/// Returns how long a thread rests after work, of which it has waited for a processor for a part.
/// By waiting, it has given way already: on a busy machine, a low weight and rests would multiply
/// otherwise.
fn due(worked: Duration, waited: Duration, rest_percent: u8) -> Duration {
    let rest = u32::from(rest_percent);
    let due = worked.saturating_sub(waited) * rest / (100 - rest);
    due.min(REST_MAX)
}

/// Returns how long this thread has waited for a processor since it began. `None` if the kernel
/// does not say (see proc(5), `schedstat`).
fn queued() -> Option<Duration> {
    let statistics = fs_err::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = statistics.split_ascii_whitespace().nth(1)?;
    Some(Duration::from_nanos(nanoseconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_after(worked: Duration, control: &Control) -> Duration {
        let now = Instant::now();
        let mut pace = Pace {
            since: now,
            worked,
            queued: None,
        };
        pace.rest(control);
        now.elapsed()
    }

    #[test]
    fn a_thread_rests_in_proportion_to_its_work() {
        let control = Control::new();
        control.set_speed(20);
        assert!(rest_after(Duration::from_millis(10), &control) >= Duration::from_millis(40));
        control.set_speed(50);
        assert!(rest_after(Duration::from_millis(10), &control) >= Duration::from_millis(10));
    }

    #[test]
    fn a_wait_for_a_processor_is_no_work() {
        let ms = Duration::from_millis;
        assert_eq!(due(ms(10), ms(0), 80), ms(40));
        assert_eq!(due(ms(10), ms(9), 80), ms(4));
        assert_eq!(due(ms(10), ms(11), 80), ms(0));
        assert_eq!(due(ms(9_000), ms(0), 80), REST_MAX);
    }

    #[test]
    fn the_time_that_a_thread_has_waited_for_a_processor_only_grows() {
        // Some kernels have no such statistics. Then a wait counts as work.
        if let Some(before) = queued() {
            std::thread::yield_now();
            assert!(queued() >= Some(before));
        }
    }

    #[test]
    fn a_rest_ends_when_the_operation_is_cancelled_or_runs_at_full_speed() {
        let control = Control::new();
        control.set_speed(0);
        assert!(control.is_slowed());
        control.cancel();
        assert!(rest_after(Duration::from_secs(60), &control) < REST_MAX);
        let control = Control::new();
        control.set_speed(1);
        std::thread::scope(|scope| {
            let rest = scope.spawn(|| rest_after(Duration::from_secs(60), &control));
            control.set_speed(100);
            assert!(rest.join().unwrap() < REST_MAX);
        });
        assert!(!control.is_slowed());
    }
}
