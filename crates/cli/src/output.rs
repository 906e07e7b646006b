//! The output of commands: results on stdout, problems on stderr.
//!
//! A result that cannot be written is an error: a script must not take a cut result for a whole
//! one.
//!
//! Names of files, servers and backups come from strangers. Text for people shows their control
//! characters as escapes, so that a name cannot forge a line or change the terminal. JSON is exact.

use std::borrow::Cow;
use std::io::{self, Write};
use std::iter;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::error::CommandError;

/// The exit code for a wrong command line.
const USAGE_EXIT_CODE: u8 = 2;
/// What a list without rows prints.
const NO_ROWS: &str = "(none)";
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
    let _closed = writeln!(io::stderr().lock(), "holdfast: {}", visible(text));
}

/// Writes a message that is neither a result nor a problem to stderr.
pub fn notice(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "{}", visible(text));
}

/// Shows control characters, and characters that change the direction of text, as escapes.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_invisible(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

/// Shows the name of a file: as [`visible`], with `\\` for a backslash and `\xff` for a byte that
/// is not UTF-8. Different names look different.
pub fn visible_name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        shown.push_str(&visible(&chunk.valid().replace('\\', "\\\\")));
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Returns the name that [`visible_name`] shows as `shown`; `None` if it shows none so.
pub fn name_of_visible(shown: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(at) = rest.find('\\') {
        name.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let (character, length) = match escape.chars().next()? {
            '\\' => ('\\', 1),
            'n' => ('\n', 1),
            'r' => ('\r', 1),
            't' => ('\t', 1),
            'x' => {
                name.push(u8::try_from(hex(escape.get(1..3)?)?).ok()?);
                rest = &escape[3..];
                continue;
            }
            'u' => {
                let digits = escape.strip_prefix("u{")?.split_once('}')?.0;
                (char::from_u32(hex(digits)?)?, digits.len() + 3)
            }
            _ => return None,
        };
        name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &escape[length..];
    }
    name.extend_from_slice(rest.as_bytes());
    Some(name)
}

/// Returns whether a character can hide or move text: control characters, line and paragraph
/// separators, and marks that change the direction of text or have no width.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
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

/// Writes any number of rows, page by page: as one JSON array, or as a table whose columns are as
/// wide as on its first page needed.
#[derive(Debug)]
pub struct RowWriter {
    json: bool,
    /// The columns and their widths, after the first row.
    columns: Option<Vec<(String, usize)>>,
}

impl RowWriter {
    /// Begins a list.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            columns: None,
        }
    }

    /// Writes rows.
    ///
    /// # Errors
    /// As [`text`].
    pub fn write(&mut self, rows: &[Value]) -> Result<(), CommandError> {
        let mut page = String::new();
        let is_first = self.columns.is_none();
        let columns = self.columns.get_or_insert_with(|| columns(rows));
        if self.json {
            for (index, row) in rows.iter().enumerate() {
                page.push(if is_first && index == 0 { '[' } else { ',' });
                page.push_str(&row.to_string());
            }
        } else {
            let header = is_first.then(|| header(columns));
            for line in header
                .into_iter()
                .chain(rows.iter().map(|row| table_row(columns, row)))
            {
                page.push_str(&line);
                page.push('\n');
            }
        }
        text(&page)
    }

    /// Ends the list.
    ///
    /// # Errors
    /// As [`text`].
    pub fn finish(self) -> Result<(), CommandError> {
        match (self.json, self.columns) {
            (true, None) => line("[]"),
            (true, Some(_)) => line("]"),
            (false, None) => line(NO_ROWS),
            (false, Some(_)) => Ok(()),
        }
    }
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
    if rows.is_empty() {
        return vec![NO_ROWS.to_owned()];
    }
    let columns = columns(rows);
    let rows = rows.iter().map(|row| table_row(&columns, row));
    iter::once(header(&columns)).chain(rows).collect()
}

/// Returns the columns of a table, which are the fields of its first row, and their widths.
fn columns(rows: &[Value]) -> Vec<(String, usize)> {
    let first = rows.first().and_then(Value::as_object);
    let names = first.into_iter().flat_map(|first| first.keys());
    let width = |name: &String| {
        let cells = rows.iter().map(|row| cell(&row[name.as_str()]).width());
        cells.max().unwrap_or_default().max(name.width())
    };
    names.map(|name| (name.clone(), width(name))).collect()
}

fn header(columns: &[(String, usize)]) -> String {
    let names = columns.iter().map(|(name, width)| padded(name, *width));
    joined(names)
}

fn table_row(columns: &[(String, usize)], row: &Value) -> String {
    let cells = columns.iter();
    joined(cells.map(|(name, width)| padded(&cell(&row[name.as_str()]), *width)))
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    let line = cells.collect::<Vec<_>>().join("  ");
    line.trim_end().to_owned()
}

/// Appends spaces up to a width in terminal columns. Wide characters, such as CJK, take two.
fn padded(text: &str, width: usize) -> String {
    let spaces = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(spaces))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(text).into_owned(),
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
    fn a_name_can_neither_forge_a_line_nor_change_the_terminal() {
        let rows = json!([{ "name": "a\nb  normal\u{1b}[2J\r\u{202e}c\u{9b}", "state": "-" }]);
        let shown = "a\\nb  normal\\u{1b}[2J\\r\\u{202e}c\\u{9b}";
        let lines = lines(&rows);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[1], format!("{shown}  -"));
        assert_eq!(visible("C:\\game Ω 備"), "C:\\game Ω 備");
    }

    #[test]
    fn every_name_has_a_form_of_its_own_and_is_found_by_it() {
        for (name, shown) in [
            (&b"world/level.dat"[..], "world/level.dat"),
            (b"a\nb", "a\\nb"),
            (b"a\\nb", "a\\\\nb"),
            (b"\x1b]0;x\x07\r\t\x7f", "\\u{1b}]0;x\\u{7}\\r\\t\\u{7f}"),
            (b"raw-\xff\xfe", "raw-\\xff\\xfe"),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
            ("ünï 備份 🎲".as_bytes(), "ünï 備份 🎲"),
        ] {
            assert_eq!(visible_name(name), shown);
            assert_eq!(name_of_visible(shown).as_deref(), Some(name), "{shown}");
        }
        for shown in ["\\", "\\q", "\\xf", "\\u{110000}", "\\u{61"] {
            assert_eq!(name_of_visible(shown), None, "{shown}");
        }
    }

    #[test]
    fn a_result_without_rows_says_so() {
        assert_eq!(lines(&json!([])), ["(none)"]);
    }
}
