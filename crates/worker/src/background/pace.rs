//! Slows a job down while other programs of the node have to wait.
//!
//! A job never runs at less than a fifth of its speed, so each ends. The time that it loses counts
//! for `limits.job_seconds`. So in the second half of that time, a job is not slowed down.

use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::pressure::Pressure;
use crate::context::Context;
use crate::lease::ActiveJob;

/// How often the pressure is measured.
const INTERVAL: Duration = Duration::from_millis(250);
/// The lowest speed, in percent.
const SPEED_MIN: u8 = 20;

/// Starts the task that sets the speed of a job. Returns `None` if jobs are not slowed down.
pub(super) fn start(context: &Arc<Context>, job: &Arc<ActiveJob>) -> Option<JoinHandle<()>> {
    static UNKNOWN: Once = Once::new();
    let threshold = f64::from(context.options.yield_above_percent?.get());
    let pressure = match Pressure::new(&context.options.proc) {
        Ok(pressure) => pressure,
        Err(error) => {
            let reason = "this kernel does not report pressure, so backups are not slowed down";
            UNKNOWN.call_once(|| tracing::info!(%error, "{reason}"));
            return None;
        }
    };
    let patience = context.options.job_limit.map(|limit| limit / 2);
    let job = Arc::clone(job);
    Some(tokio::spawn(async move {
        set_speed(&job, pressure, threshold, patience).await;
        job.control.set_speed(100);
    }))
}

/// Sets the speed of a job until the pressure cannot be measured or its patience is used up.
async fn set_speed(
    job: &ActiveJob,
    mut pressure: Pressure,
    threshold: f64,
    patience: Option<Duration>,
) {
    let mut speed = 100;
    loop {
        tokio::time::sleep(INTERVAL).await;
        if patience.is_some_and(|patience| job.elapsed() >= patience) {
            tracing::info!(
                job = %job.claim.id,
                "half of limits.job_seconds has passed; the job is no longer slowed down",
            );
            return;
        }
        match pressure.measure() {
            Ok(percent) => speed = next_speed(speed, percent, threshold),
            Err(error) => {
                tracing::warn!(%error, "the pressure cannot be measured");
                return;
            }
        }
        job.control.set_speed(speed);
    }
}

/// Returns the next speed for a pressure. It falls and grows step by step, because the job itself
/// is a part of the pressure.
fn next_speed(speed: u8, percent: f64, threshold: f64) -> u8 {
    if percent > threshold {
        (speed - speed / 4).max(SPEED_MIN)
    } else if percent < threshold * 0.75 {
        speed.saturating_add(speed / 4).min(100)
    } else {
        speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_falls_to_a_fifth_and_grows_again() {
        let mut speed = 100;
        let mut speeds = Vec::new();
        for _ in 0..8 {
            speed = next_speed(speed, 30.0, 20.0);
            speeds.push(speed);
        }
        assert_eq!(speeds, [75, 57, 43, 33, 25, 20, 20, 20]);
        assert_eq!(next_speed(speed, 18.0, 20.0), 20);
        for _ in 0..8 {
            speed = next_speed(speed, 5.0, 20.0);
        }
        assert_eq!(speed, 100);
    }
}
