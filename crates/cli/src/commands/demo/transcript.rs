//! The output of the demo: numbered headings, commands, responses, and a progress bar if stdout is
//! a terminal.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::error::CommandError;
use crate::output;

/// The width of the progress bar, in characters.
const BAR_WIDTH: usize = 30;
/// Longer strings in responses are shortened, such as hashes and tokens.
const STRING_MAX: usize = 60;

pub(super) struct Transcript {
    is_terminal: bool,
    headings: Cell<u32>,
    /// Whether the cursor is behind a progress bar.
    has_bar: Cell<bool>,
    /// Why a line could not be written.
    lost: RefCell<Option<CommandError>>,
}

impl Transcript {
    pub(super) fn begin() -> Self {
        let transcript = Self {
            is_terminal: io::stdout().is_terminal(),
            headings: Cell::new(0),
            has_bar: Cell::new(false),
            lost: RefCell::new(None),
        };
        transcript
            .line("Holdfast: a backup, a download and a restore of a small server, for real.");
        transcript
    }

    fn line(&self, text: &str) {
        if let Err(error) = output::line(text) {
            self.lost.borrow_mut().get_or_insert(error);
        }
    }

    /// Returns the first error of writing. The demo itself goes on until its end, and cleans up.
    pub(super) fn finish(&self) -> Result<(), CommandError> {
        self.lost.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(super) fn heading(&self, title: &str) {
        self.headings.set(self.headings.get() + 1);
        self.line(&format!("\n{}. {title}", self.headings.get()));
    }

    pub(super) fn print(&self, text: &str) {
        self.line(&format!("   {text}"));
    }

    /// Prints a command as a user would type it.
    pub(super) fn command(&self, line: &str) {
        self.print(&format!("$ {line}"));
    }

    /// Prints a request as a `curl` command.
    pub(super) fn request(&self, method: &str, url: &str, rest: &str) {
        let method = if method == "GET" {
            String::new()
        } else {
            format!(" -X {method}")
        };
        self.command(&format!(
            "curl{method} {url} -H \"Authorization: Bearer $KEY\"{rest}"
        ));
    }

    pub(super) fn json(&self, value: &Value) {
        self.print(&shortened(value).to_string());
    }

    pub(super) fn response(&self, status: u16, body: &Value) {
        if body.is_null() {
            self.print(&format!("{status}, no body"));
            return;
        }
        let text = serde_json::to_string_pretty(&shortened(body)).unwrap_or_default();
        self.print(&format!("{status} {}", text.replace('\n', "\n   ")));
    }

    /// Draws the progress that the API reports.
    pub(super) fn progress(&self, progress: &Value) {
        if !self.is_terminal || progress.is_null() {
            return;
        }
        let percent = progress["percent"].as_f64().unwrap_or(0.0);
        let full = (1..=BAR_WIDTH)
            .take_while(|step| *step as f64 * 100.0 / BAR_WIDTH as f64 <= percent)
            .count();
        let phase = progress["phase"].as_str().unwrap_or_default();
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR_WIDTH - full));
        let files = format!(
            "{}/{} files",
            progress["files_done"], progress["files_total"]
        );
        let drawn = write!(
            io::stdout().lock(),
            "\r   [{bar}] {percent:5.1} %  {phase:<10} {files}    "
        );
        self.has_bar
            .set(drawn.and_then(|()| io::stdout().flush()).is_ok());
    }

    /// Ends the line of the progress bar.
    pub(super) fn end_progress(&self) {
        if self.has_bar.replace(false) {
            self.line("");
        }
    }

    /// Prints a statement that must be true.
    pub(super) fn check(&self, statement: &str, is_true: bool) -> Result<(), CommandError> {
        if is_true {
            self.print(&format!("ok: {statement}"));
            Ok(())
        } else {
            Err(CommandError::new(format!("this check failed: {statement}")))
        }
    }
}

/// Shortens long strings, so that responses fit on a screen.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > STRING_MAX && !text.contains(' ') => {
            Value::from(format!(
                "{}…",
                text.chars().take(STRING_MAX).collect::<String>()
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

/// Quotes arguments for a shell.
pub(super) fn shell_words(arguments: &[&str]) -> String {
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

/// Formats a number of bytes for display.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{bytes} bytes");
    }
    let tenths = (bytes * 10) >> 20;
    format!("{}.{} MiB ({bytes} bytes)", tenths / 10, tenths % 10)
}
