//! The output of commands: results on stdout, problems on stderr.
//!
//! A result that cannot be written is an error: a script must not take a cut result for a whole
//! one.

use std::io::{self, Write};

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::error::CommandError;

/// The exit code for a wrong command line.
const USAGE_EXIT_CODE: u8 = 2;
/// A field that is printed as a table of its own.
const FINDINGS: &str = "findings";

/// Writes a line to stdout.
///
/// # Errors
/// As [`text`].
pub fn line(line: &str) -> Result<(), CommandError> {
    text(&format!("{line}\n"))
}

/// Writes a text to stdout as it is.
///
/// # Errors
/// If stdout cannot be written to; see [`CommandError::stdout`].
pub fn text(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    written
        .and_then(|()| stdout.flush())
        .map_err(|error| CommandError::stdout(&error))
}

/// Writes what `--help` and `--version` ask for to stdout, or what is wrong with a command line to
/// stderr.
///
/// # Errors
/// The command line is wrong: the error has no text, and exit code 2. Otherwise as [`text`].
pub fn usage(usage: &clap::Error) -> Result<(), CommandError> {
    let printed = usage.print().and_then(|()| io::stdout().flush());
    match usage.use_stderr() {
        true => Err(CommandError::new("").with_exit_code(USAGE_EXIT_CODE)),
        false => printed.map_err(|error| CommandError::stdout(&error)),
    }
}

/// Writes a problem to stderr, after the name of the program.
pub fn problem(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "holdfast: {text}");
}

/// Writes a result to stdout: as one JSON value, or as text.
///
/// # Errors
/// As [`text`].
pub fn result(json: bool, value: &Value) -> Result<(), CommandError> {
    if json {
        return line(&value.to_string());
    }
    lines(value).iter().try_for_each(|text| line(text))
}

/// Formats a result as text.
fn lines(value: &Value) -> Vec<String> {
    match value {
        // Findings do not fit into a cell, so each row becomes a block of its own.
        Value::Array(rows) if rows.iter().any(|row| row.get(FINDINGS).is_some()) => {
            rows.iter().flat_map(lines).collect()
        }
        Value::Array(rows) => table(rows),
        Value::Object(fields) => {
            let width = fields.keys().map(|name| name.width()).max().unwrap_or(0);
            let is_table = |value: &Value| matches!(value.get(0), Some(Value::Object(_)));
            let mut lines = Vec::new();
            for (name, value) in fields {
                if !is_table(value) {
                    lines.push(format!("{}  {}", padded(name, width), cell(value)));
                }
            }
            for (name, value) in fields {
                if let (true, Value::Array(rows)) = (is_table(value), value) {
                    lines.push(format!("\n{name}"));
                    lines.extend(table(rows));
                }
            }
            lines
        }
        other => vec![cell(other)],
    }
}

/// Formats rows as a table whose columns are the fields of the first row.
fn table(rows: &[Value]) -> Vec<String> {
    let Some(Value::Object(first)) = rows.first() else {
        return vec!["(none)".to_owned()];
    };
    let columns: Vec<String> = first.keys().cloned().collect();
    let cells = |row: &Value| {
        let cells = columns.iter().map(|column| cell(&row[column.as_str()]));
        cells.collect::<Vec<_>>()
    };
    let mut table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table.insert(0, columns.clone());
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| table.iter().map(|row| row[column].width()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let format_row = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(text, width)| padded(text, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    table.iter().map(format_row).collect()
}

/// Appends spaces up to a width in terminal columns. Wide characters, such as CJK, take two.
fn padded(text: &str, width: usize) -> String {
    let spaces = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(spaces))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_behind_wide_and_combining_characters() {
        let rows = json!([
            { "name": "備份伺服器", "state": "normal" },
            { "name": "Caf\u{65}\u{301}", "state": "normal" },
            { "name": "Survival", "state": "-" },
        ]);
        assert_eq!(
            lines(&rows),
            [
                "name        state",
                "備份伺服器  normal",
                "Cafe\u{301}        normal",
                "Survival    -",
            ]
        );
    }

    #[test]
    fn a_result_without_rows_says_so() {
        assert_eq!(lines(&json!([])), ["(none)"]);
    }
}
