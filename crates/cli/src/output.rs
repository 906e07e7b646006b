//! What commands print: results on stdout, problems on stderr, nothing anywhere else.

use std::io::{self, Write};

use serde_json::Value;

/// The field that is a table of its own.
const FINDINGS: &str = "findings";

/// Writes a line to stdout. A reader that has gone away (`| head`) is no failure.
pub fn line(text: &str) {
    let _closed = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a text as it is to stdout.
pub fn text(text: &str) {
    let _closed = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes a command's failure to stderr.
pub fn problem(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "holdfast: {text}");
}

/// Writes a result: as one JSON value, or as a person reads it.
pub fn result(json: bool, value: &Value) {
    if json {
        line(&value.to_string());
        return;
    }
    match value {
        // What has findings of its own does not fit into a row.
        Value::Array(rows) if rows.iter().any(|row| row.get(FINDINGS).is_some()) => {
            rows.iter().for_each(|row| result(false, row));
        }
        Value::Array(rows) => table(rows),
        Value::Object(fields) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            let is_table = |value: &Value| matches!(value.get(0), Some(Value::Object(_)));
            for (name, value) in fields {
                if !is_table(value) {
                    line(&format!("{name:<width$}  {}", cell(value)));
                }
            }
            for (name, value) in fields {
                if let (true, Value::Array(rows)) = (is_table(value), value) {
                    line(&format!("\n{name}"));
                    table(rows);
                }
            }
        }
        other => line(&cell(other)),
    }
}

fn table(rows: &[Value]) {
    let Some(Value::Object(first)) = rows.first() else {
        line("(none)");
        return;
    };
    let columns: Vec<&String> = first.keys().collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|column| cell(&row[column.as_str()]))
                .collect()
        })
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            cells
                .iter()
                .map(|row| row[i].chars().count())
                .max()
                .unwrap_or(0)
                .max(column.len())
        })
        .collect();
    let write = |texts: Vec<&str>| {
        let padded: Vec<String> = texts
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        line(padded.join("  ").trim_end());
    };
    write(columns.iter().map(|column| column.as_str()).collect());
    for row in &cells {
        write(row.iter().map(String::as_str).collect());
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
