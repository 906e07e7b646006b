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
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            worked: Duration::ZERO,
        }
    }

    /// Says that work begins now. The time before it was spent waiting.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Says that a part of the work is done, and rests in proportion to it. Returns at once at full
    /// speed, and soon if the operation is cancelled. Further work begins when it returns.
    pub(crate) fn rest(&mut self, control: &Control) {
        let now = Instant::now();
        self.worked += now - self.since;
        if !control.is_slowed() {
            self.worked = Duration::ZERO;
            self.since = now;
            return;
        }
        if self.worked < WORK_MIN {
            self.since = now;
            return;
        }
        loop {
            let rest = u32::from(control.rest_percent());
            let due = (self.worked * rest / (100 - rest)).min(REST_MAX);
            let left = due.saturating_sub(now.elapsed());
            if left.is_zero() || control.is_cancelled() {
                break;
            }
            std::thread::sleep(left.min(SLICE));
        }
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_after(worked: Duration, control: &Control) -> Duration {
        let now = Instant::now();
        let mut pace = Pace { since: now, worked };
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
