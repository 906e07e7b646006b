//! `holdfast client compare`: what was added, changed and removed between two backups.
//!
//! The folders of both are read side by side, page by page, so that memory stays small.

use std::cmp::Ordering;
use std::collections::VecDeque;

use clap::Args;
use serde_json::{Value, json};

use super::api::{Api, ApiFailure, ApiPages};
use super::contents::{exact_path, folder_pages};
use super::find::{self, FoundBackup, Latest, text};
use crate::error::CommandError;
use crate::output::{self, RowWriter};
use crate::progress::size;

/// The options of `holdfast client compare`.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the older backup
    from: String,
    /// UUID, short ID or name of the newer backup, or `latest`
    #[arg(default_value = "latest")]
    to: String,
}

/// The fields of an entry in which two of the same path may differ.
const FIELDS: [&str; 5] = ["kind", "size", "mode_bits", "target", "modified_at"];
/// Those of a folder. Its time changes with its contents.
const FOLDER_FIELDS: [&str; 2] = ["kind", "mode_bits"];

pub(super) async fn run(
    api: &Api,
    json: bool,
    options: &CompareOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let from = find::backup(api, &server, &options.from, Latest::Completed).await?;
    let to = find::backup(api, &server, &options.to, Latest::Completed).await?;
    let mut report = Report::new(json);
    // Folders to compare, and in which of the backups they are.
    let mut folders = vec![(String::new(), true, true)];
    while let Some((folder, in_from, in_to)) = folders.pop() {
        let mut old = Entries::new(api, &from, &folder, in_from);
        let mut new = Entries::new(api, &to, &folder, in_to);
        let mut below = Vec::new();
        loop {
            let order = match (old.peek().await?, new.peek().await?) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => exact_path(old).cmp(&exact_path(new)),
            };
            let before = if order.is_le() { old.take() } else { None };
            let after = if order.is_ge() { new.take() } else { None };
            let is_folder = |entry: &Option<Value>| {
                entry
                    .as_ref()
                    .is_some_and(|entry| entry["kind"] == "directory")
            };
            if let Some(entry) = before.iter().chain(&after).next()
                && (is_folder(&before) || is_folder(&after))
            {
                let path = text(entry, "encoded_path").to_owned();
                below.push((path, is_folder(&before), is_folder(&after)));
            }
            report.entry(before.as_ref(), after.as_ref())?;
        }
        folders.extend(below.into_iter().rev());
    }
    report.finish()
}

/// The entries of a folder in one backup, by name.
struct Entries<'a> {
    /// `None` if the backup does not have the folder.
    pages: Option<ApiPages<'a>>,
    page: VecDeque<Value>,
}

impl<'a> Entries<'a> {
    fn new(api: &'a Api, backup: &FoundBackup, folder: &str, is_there: bool) -> Self {
        Self {
            pages: is_there.then(|| folder_pages(api, backup, folder)),
            page: VecDeque::new(),
        }
    }

    async fn peek(&mut self) -> Result<Option<&Value>, ApiFailure> {
        while self.page.is_empty()
            && let Some(pages) = &mut self.pages
        {
            match pages.next().await? {
                Some(entries) => self.page = entries.into(),
                None => self.pages = None,
            }
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<Value> {
        self.page.pop_front()
    }
}

/// The names of the changes, in the order of [`Report::counts`].
const CHANGES: [&str; 3] = ["added", "changed", "removed"];

/// The differences, printed as they are found.
struct Report {
    json: bool,
    writer: RowWriter,
    /// The numbers of added, changed and removed entries.
    counts: [u64; 3],
}

impl Report {
    fn new(json: bool) -> Self {
        Self {
            json,
            writer: RowWriter::new(json),
            counts: [0; 3],
        }
    }

    /// Prints how an entry differs, if it does.
    fn entry(&mut self, before: Option<&Value>, after: Option<&Value>) -> Result<(), CommandError> {
        let (change, sign, entry) = match (before, after) {
            (None, Some(after)) => (0, '+', after),
            (Some(before), Some(after)) if differ(before, after) => (1, 'M', after),
            (Some(before), None) => (2, '-', before),
            (Some(_), Some(_)) | (None, None) => return Ok(()),
        };
        self.counts[change] += 1;
        if self.json {
            let field = |entry: Option<&Value>, name: &str| entry.map(|entry| entry[name].clone());
            let row = json!({
                "change": CHANGES[change],
                "path": entry["path"],
                "encoded_path": entry["encoded_path"],
                "kind": entry["kind"],
                "bytes_before": field(before, "size"),
                "bytes_after": field(after, "size"),
                "modified_before": field(before, "modified_at"),
                "modified_after": field(after, "modified_at"),
            });
            return self.writer.write(&[row]);
        }
        let path = output::visible_name(&exact_path(entry));
        let is_folder = entry["kind"] == "directory";
        let slash = if is_folder { "/" } else { "" };
        let bytes = |entry: &Value| size(entry["size"].as_u64().unwrap_or_default());
        let sizes = match (before, after) {
            _ if is_folder => String::new(),
            (Some(before), Some(after)) if before["size"] != after["size"] => {
                format!("  ({} before, {} now)", bytes(before), bytes(after))
            }
            _ => format!("  ({})", bytes(entry)),
        };
        output::line(&format!("{sign} {path}{slash}{sizes}"))
    }

    fn finish(self) -> Result<(), CommandError> {
        if self.json {
            return self.writer.finish();
        }
        let [added, changed, removed] = self.counts;
        output::line(&format!(
            "{added} added, {changed} changed, {removed} removed"
        ))
    }
}

/// Returns whether an entry was changed.
fn differ(before: &Value, after: &Value) -> bool {
    let are_folders = [before, after]
        .iter()
        .all(|entry| entry["kind"] == "directory");
    let fields = if are_folders {
        &FOLDER_FIELDS[..]
    } else {
        &FIELDS[..]
    };
    fields.iter().any(|field| before[field] != after[field])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_changed_by_its_mode_and_a_file_by_its_time() {
        let entry = |kind: &str, mode: &str, time: &str| {
            let mut entry = json!({ "kind": kind, "size": 1, "mode_bits": mode });
            entry["modified_at"] = time.into();
            entry
        };
        let (file, folder) = (entry("file", "644", "1"), entry("directory", "755", "1"));
        assert!(!differ(&file, &file));
        assert!(differ(&file, &entry("file", "644", "2")));
        assert!(!differ(&folder, &entry("directory", "755", "2")));
        assert!(differ(&folder, &entry("directory", "700", "1")));
        assert!(differ(&file, &entry("symlink", "644", "1")));
    }
}
