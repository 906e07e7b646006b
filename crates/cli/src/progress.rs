//! The progress of a long operation, on stderr: a bar on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use holdfast_archive::{Control, Progress};

use crate::{output, threads};

/// How often a bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest time between two lines about the same step.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// A bar whose total is known.
const BAR: &str = "{prefix} {wide_bar} {percent}%  {binary_bytes} of {binary_total_bytes}  \
                   {binary_bytes_per_sec}  {eta}{msg}";
/// A bar whose total is not known yet.
const SPINNER: &str = "{prefix} {spinner}{msg}";

/// How far an operation is. A total of 0 is unknown, or there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure {
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    pub(crate) files_done: u64,
    pub(crate) files_total: u64,
}

/// Shows the progress of an operation until it is dropped.
#[derive(Debug)]
pub(crate) struct ProgressMeter {
    title: String,
    step: String,
    /// Whether each new step is worth a line.
    lines_for_steps: bool,
    view: View,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    /// A line was due at this time for the last time.
    Lines(Instant),
    Nothing,
}

impl ProgressMeter {
    /// Begins to show an operation. Shows nothing if `is_silent`.
    pub(crate) fn new(title: &str, is_silent: bool) -> Self {
        let view = if is_silent {
            View::Nothing
        } else if io::stderr().is_terminal() {
            View::Bar(ProgressBar::new(0))
        } else {
            View::Lines(Instant::now())
        };
        Self {
            title: output::visible(title).into_owned(),
            step: String::new(),
            lines_for_steps: true,
            view,
        }
    }

    /// Begins to show an operation whose first line appears only when it has taken a while.
    pub(crate) fn of_quick_work(title: &str, is_silent: bool) -> Self {
        let mut meter = Self::new(title, is_silent);
        meter.lines_for_steps = false;
        meter
    }

    /// Shows how far the operation is in a step.
    pub(crate) fn show(&mut self, step: &str, measure: Measure) {
        let is_new = self.step != step;
        if is_new {
            self.step = step.to_owned();
        }
        match &mut self.view {
            View::Nothing => {}
            View::Lines(last) => {
                if (is_new && self.lines_for_steps) || last.elapsed() >= LINE_INTERVAL {
                    *last = Instant::now();
                    output::notice(&format!("{}: {step}{}", self.title, words(measure)));
                }
            }
            View::Bar(bar) => {
                let (template, message) = match measure.bytes_total {
                    0 => (SPINNER, words(measure)),
                    _ => (BAR, files(measure)),
                };
                bar.set_prefix(format!("{}: {step}", self.title));
                bar.set_message(message);
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                if is_new {
                    bar.reset();
                }
                bar.set_length(measure.bytes_total);
                bar.set_position(measure.bytes_done);
                bar.tick();
            }
        }
    }

    /// Prints a message without disturbing the bar.
    pub(crate) fn notice(&self, text: &str) {
        match &self.view {
            View::Bar(bar) => bar.suspend(|| output::notice(text)),
            View::Lines(_) | View::Nothing => output::notice(text),
        }
    }
}

impl Drop for ProgressMeter {
    fn drop(&mut self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

/// Shows the progress of `work`, which runs on this thread, for as long as it runs. `step` names
/// what it does.
pub(crate) fn during<T>(
    title: &str,
    step: impl Fn(Progress) -> &'static str + Send,
    control: &Control,
    work: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        let show = move || {
            let mut meter = ProgressMeter::of_quick_work(title, false);
            while ended.recv_timeout(BAR_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let progress = control.progress();
                meter.show(step(progress), progress.into());
            }
        };
        // Where threads are short, the work gets them, and is not shown.
        if threads::has_spare() {
            let _refused = Builder::new().spawn_scoped(scope, show);
        }
        let result = work();
        drop(end);
        result
    })
}

impl From<Progress> for Measure {
    fn from(progress: Progress) -> Self {
        Self {
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            files_done: progress.files_done,
            files_total: progress.files_total,
        }
    }
}

/// Formats a size in binary units: `1.5 MiB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit after the point is shown"
)]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

fn words(measure: Measure) -> String {
    let (done, total) = (measure.bytes_done, measure.bytes_total);
    let mut words = String::new();
    let percent = done.min(total).saturating_mul(100).checked_div(total);
    // Writing to a string cannot fail.
    let _ = match percent {
        Some(percent) => write!(words, ", {percent} %, {} of {}", size(done), size(total)),
        None if done > 0 => write!(words, ", {}", size(done)),
        None => Ok(()),
    };
    words + &files(measure)
}

fn files(measure: Measure) -> String {
    match (measure.files_done, measure.files_total) {
        (0, 0) => String::new(),
        (done, 0) => format!(", {done} files"),
        (done, total) => format!(", {done} of {total} files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_line_says_what_is_known() {
        let measure = Measure {
            bytes_done: 512,
            bytes_total: 2048,
            files_done: 3,
            files_total: 4,
        };
        assert_eq!(words(measure), ", 25 %, 512 B of 2.0 KiB, 3 of 4 files");
        assert_eq!(words(Measure::default()), "");
        let done = Measure {
            bytes_done: 4096,
            bytes_total: 2048,
            ..Measure::default()
        };
        assert_eq!(words(done), ", 100 %, 4.0 KiB of 2.0 KiB");
    }
}
