//! How the demo is told: chapters, what a user would type, what came back, and a
//! progress bar where there is a terminal to draw it on.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::output;

const BAR: usize = 30;
/// Texts longer than this are shortened in what is shown; the figures at the end are whole.
const SHOWN_MAX: usize = 60;

pub(super) struct Story {
    is_terminal: bool,
    chapters: Cell<u32>,
    drawn: Cell<bool>,
}

impl Story {
    pub(super) fn begin() -> Self {
        output::line("Holdfast: a backup, a download and a restore of a small server, for real.");
        Self {
            is_terminal: io::stdout().is_terminal(),
            chapters: Cell::new(0),
            drawn: Cell::new(false),
        }
    }

    pub(super) fn chapter(&self, title: &str) {
        self.chapters.set(self.chapters.get() + 1);
        output::line(&format!("\n{}. {title}", self.chapters.get()));
    }

    pub(super) fn say(&self, text: &str) {
        output::line(&format!("   {text}"));
    }

    pub(super) fn typed(&self, line: &str) {
        self.say(&format!("$ {line}"));
    }

    pub(super) fn requested(&self, method: &str, url: &str, rest: &str) {
        let method = if method == "GET" {
            String::new()
        } else {
            format!(" -X {method}")
        };
        self.typed(&format!(
            "curl{method} {url} -H \"Authorization: Bearer $KEY\"{rest}"
        ));
    }

    pub(super) fn printed(&self, value: &Value) {
        self.say(&shortened(value).to_string());
    }

    pub(super) fn answer(&self, status: u16, answer: &Value) {
        if answer.is_null() {
            self.say(&format!("{status}, no body"));
            return;
        }
        let text = serde_json::to_string_pretty(&shortened(answer)).unwrap_or_default();
        self.say(&format!("{status} {}", text.replace('\n', "\n   ")));
    }

    /// Draws progress as the API reports it.
    pub(super) fn progress(&self, progress: &Value) {
        if !self.is_terminal || progress.is_null() {
            return;
        }
        let percent = progress["percent"].as_f64().unwrap_or(0.0);
        let full = (1..=BAR)
            .take_while(|step| *step as f64 * 100.0 / BAR as f64 <= percent)
            .count();
        let phase = progress["phase"].as_str().unwrap_or_default();
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR - full));
        let files = format!(
            "{}/{} files",
            progress["files_done"], progress["files_total"]
        );
        let drawn = write!(
            io::stdout().lock(),
            "\r   [{bar}] {percent:5.1} %  {phase:<10} {files}    "
        );
        self.drawn
            .set(drawn.and_then(|()| io::stdout().flush()).is_ok());
    }

    pub(super) fn progress_done(&self) {
        if self.drawn.replace(false) {
            output::line("");
        }
    }

    /// Shows that something holds.
    pub(super) fn check(&self, what: &str, holds: bool) -> Result<(), Failure> {
        if holds {
            self.say(&format!("ok: {what}"));
            Ok(())
        } else {
            Err(Failure::new(format!("it does not hold that {what}")))
        }
    }
}

/// Shortens long texts, so that answers fit on a screen.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > SHOWN_MAX && !text.contains(' ') => {
            Value::from(format!(
                "{}…",
                text.chars().take(SHOWN_MAX).collect::<String>()
            ))
        }
        Value::Array(values) => values.iter().map(shortened).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), shortened(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Writes arguments as a shell would take them.
pub(super) fn words(arguments: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:".contains(c);
    let quoted = arguments.iter().map(|word| {
        if word.chars().all(plain) {
            (*word).to_owned()
        } else {
            format!("'{word}'")
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Writes a number of bytes as people read it.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{bytes} bytes");
    }
    let tenths = (bytes * 10) >> 20;
    format!("{}.{} MiB ({bytes} bytes)", tenths / 10, tenths % 10)
}
