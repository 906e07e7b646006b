//! `holdfast client browse` and `cat`: the files of a backup.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::Value;

use super::api::{Api, ApiPages};
use super::find::{self, FoundBackup, Latest, text};
use crate::error::CommandError;
use crate::output::{self, RowWriter};

/// The options of `holdfast client browse`.
#[derive(Debug, Args)]
pub struct BrowseOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the backup, or `latest`
    backup: String,
    /// Folder [default: the server's directory]
    #[arg(default_value = "", hide_default_value = true)]
    path: OsString,
    /// Lists what is in its folders as well
    #[arg(short, long)]
    recursive: bool,
}

/// The options of `holdfast client cat`.
#[derive(Debug, Args)]
pub struct CatOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the backup, or `latest`
    backup: String,
    /// Path of the file, as `browse` prints it
    path: OsString,
}

/// Lists a folder of a backup.
pub(super) async fn browse(
    api: &Api,
    json: bool,
    options: &BrowseOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let backup = find::backup(api, &server, &options.backup, Latest::Completed).await?;
    let asked = encode(options.path.as_bytes());
    let mut folders = vec![asked];
    let mut writer = RowWriter::new(json);
    let mut is_empty = true;
    while let Some(folder) = folders.pop() {
        let mut below = Vec::new();
        let mut pages = folder_pages(api, &backup, &folder);
        while let Some(entries) = pages.next().await? {
            for entry in &entries {
                is_empty = false;
                if options.recursive && entry["kind"] == "directory" {
                    below.push(text(entry, "encoded_path").to_owned());
                }
                if !json {
                    output::line(&line(entry))?;
                }
            }
            if json && !entries.is_empty() {
                writer.write(&entries)?;
            }
        }
        // The first folder is the next one.
        folders.extend(below.into_iter().rev());
    }
    match (json, is_empty) {
        (true, _) | (false, true) => writer.finish(),
        (false, false) => Ok(()),
    }
}

/// Writes a file of a backup to stdout.
pub(super) async fn cat(api: &Api, options: &CatOptions) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let backup = find::backup(api, &server, &options.backup, Latest::Completed).await?;
    let path = options.path.as_bytes();
    let open = async |path: &[u8]| {
        let path = format!("{}/contents/file?path={}", backup.path, encode(path));
        api.open(&path, None).await
    };
    let mut response = match open(path).await {
        // The path as it is, or else as `browse` shows it.
        Err(failure) if failure.is_missing() => {
            let shown = options.path.to_string_lossy();
            let missing = || {
                CommandError::new(format!(
                    "backup `{}` has no file `{shown}`",
                    text(&backup.attributes, "name")
                ))
            };
            let name = output::name_of_visible(&shown).filter(|name| name.as_slice() != path);
            let name = name.ok_or_else(missing)?;
            match open(&name).await {
                Err(failure) if failure.is_missing() => return Err(missing()),
                opened => opened?,
            }
        }
        opened => opened?,
    };
    let mut stdout = io::stdout().lock();
    loop {
        let chunk = Api::chunk(&mut response).await;
        let chunk = chunk.map_err(|why| {
            CommandError::new(format!(
                "the file is not whole, the connection was cut: {why}"
            ))
        })?;
        let Some(chunk) = chunk else { break };
        let written = stdout.write_all(&chunk);
        written.map_err(|error| CommandError::stdout(&error))?;
    }
    stdout.flush().map_err(|error| CommandError::stdout(&error))
}

/// Returns the entries of a folder, whose path is percent-encoded.
pub(super) fn folder_pages<'a>(
    api: &'a Api,
    backup: &FoundBackup,
    encoded_folder: &str,
) -> ApiPages<'a> {
    let path = format!("{}/contents?path={encoded_folder}", backup.path);
    ApiPages::new(api, &path)
}

/// Returns the exact path of an entry.
pub(super) fn exact_path(entry: &Value) -> Vec<u8> {
    percent_decode_str(text(entry, "encoded_path")).collect()
}

fn encode(path: &[u8]) -> String {
    percent_encode(path, NON_ALPHANUMERIC).to_string()
}

fn line(entry: &Value) -> String {
    let path = output::visible_name(&exact_path(entry));
    let slash = if entry["kind"] == "directory" {
        "/"
    } else {
        ""
    };
    let target = match (text(entry, "kind"), text(entry, "target")) {
        ("symlink", target) => format!(" -> {}", output::visible(target)),
        ("hard_link", target) => format!(" = {}", output::visible(target)),
        _ => String::new(),
    };
    let size = entry["size"].as_u64().unwrap_or_default();
    let modified = entry["modified_at"].as_str().unwrap_or("-");
    let mode = text(entry, "mode");
    format!("{mode} {size:>12} {modified:<25} {path}{slash}{target}")
}
