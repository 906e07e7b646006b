//! `GET …/backups/{backup}/contents`: a folder of a completed backup.
//!
//! The answer comes from the index beside the archive. The archive is not read, and only the
//! entries of the page are kept in memory.

mod archive_access;
mod file;

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_archive::{EntryKind, Error, ListedEntry, list_index};

use self::archive_access::{ArchiveAccess, map_index_error};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{BackupPath, PageQuery};
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::FileList;

#[cfg(fuzzing)]
pub(crate) use self::archive_access::normalize;
pub(crate) use self::file::*;

/// Lists a folder of a backup.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/{backup}/contents",
    tag = "backups",
    params(
        BackupPath,
        (
            "path" = Option<String>,
            Query,
            description = "A folder, such as `world/region`. Default: the server's directory"
        ),
        PageQuery,
    ),
    responses(
        (
            status = 200,
            description = "A page of the entries of the folder, by name",
            body = FileList
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn contents(
    caller: Caller,
    request: HttpRequest,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let archive = ArchiveAccess::of_request(&caller, &state, request.query_string(), false)?;
    let (folder, read_page) = (archive.path.clone(), page.clone());
    let scan = move |index| read_folder(index, &folder, &read_page);
    let found = archive.scan_index(scan).await?;
    let (entries, total) = match found.map_err(|error| map_index_error(&error))? {
        FolderLookup::Missing => return Err(ApiError::NotFound),
        FolderLookup::NotAFolder => return Err(ApiError::NotAFolder),
        FolderLookup::Folder { entries, total } => (entries, total),
    };
    let pagination = page.pagination(total, entries.len());
    Ok(views::ok(&views::files::file_list(&entries, pagination)))
}

/// The result of the search for a folder in an index.
enum FolderLookup {
    Missing,
    NotAFolder,
    Folder {
        entries: Vec<ListedEntry>,
        total: u64,
    },
}

/// Reads a page of the direct entries of a folder. In an index, a folder comes right before all of
/// its entries.
fn read_folder(
    index: impl std::io::Read,
    folder: &[u8],
    page: &Page,
) -> Result<FolderLookup, Error> {
    let (mut entries, mut total) = (Vec::new(), 0);
    // The server's directory itself has no entry.
    let mut is_folder = folder.is_empty();
    let mut is_other = false;
    list_index(index, &mut |entry| {
        let Some(below) = below(&entry.path, folder) else {
            if entry.path == folder {
                is_folder = entry.kind == EntryKind::Directory;
                is_other = !is_folder;
                return Ok(is_folder);
            }
            return Ok(!is_folder);
        };
        if !below.contains(&b'/') {
            if total >= page.offset() && entries.len() < page.size() as usize {
                entries.push(entry.clone());
            }
            total += 1;
        }
        Ok(true)
    })?;
    Ok(match (is_folder, is_other) {
        (true, _) => FolderLookup::Folder { entries, total },
        (false, true) => FolderLookup::NotAFolder,
        (false, false) => FolderLookup::Missing,
    })
}

/// Returns `path` relative to `folder`, or `None` if it is not inside.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix(b"/")
}
