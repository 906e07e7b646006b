//! `GET …/backups/{backup}/contents`: a folder of a completed backup, out of its index. The archive is not read, nor
//! is more of the index kept than the page that was asked for.

mod archive_access;
mod file;

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_archive::{EntryKind, Error, ListedEntry, list_index};

use self::archive_access::{Reach, apart, index_damaged};
use crate::auth::Caller;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::FileList;

pub(crate) use self::file::*;

/// Lists a folder of a backup.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/{backup}/contents",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
        ("path" = Option<String>, Query, description = "A folder, such as `world/region`; the server's own directory when there is none"),
        ("page" = Option<String>, Query, description = "From 1; anything else than digits means 1"),
        ("per_page" = Option<String>, Query, description = "1 to 100; 25 when it is anything else than digits"),
    ),
    responses((status = 200, description = "A page of what lies in the folder, in the order of names", body = FileList), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn contents(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let wanted = Reach::of(&caller, &state, request.query_string(), false)?;
    let page = Page::read(request.query_string());
    let index = wanted.index().await?;
    let folder = wanted.path;
    let looked = apart(move || look(index, &folder, page)).await?;
    let (entries, total) = match looked.map_err(|error| index_damaged(&error))? {
        Looked::Nothing => return Err(ApiError::NotFound),
        Looked::NoFolder => return Err(ApiError::NoFolder),
        Looked::Folder { entries, total } => (entries, total),
    };
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, entries.len(), &request, &base_url);
    Ok(views::ok(&views::file_list(&entries, pagination)))
}

/// What an index knows of a folder.
enum Looked {
    Nothing,
    NoFolder,
    Folder {
        entries: Vec<ListedEntry>,
        total: u64,
    },
}

/// Looks for what lies right in a folder. An index names a folder before what is in it, and nothing else in between.
fn look(index: impl std::io::Read, folder: &[u8], page: Page) -> Result<Looked, Error> {
    let (mut entries, mut total) = (Vec::new(), 0);
    // The directory itself is no entry of its archive.
    let mut is_there = folder.is_empty();
    let mut is_other = false;
    list_index(index, &mut |entry| {
        let Some(below) = below(&entry.path, folder) else {
            if entry.path == folder {
                is_there = entry.kind == EntryKind::Directory;
                is_other = !is_there;
                return Ok(is_there);
            }
            return Ok(!is_there);
        };
        if !below.contains(&b'/') {
            if total >= page.offset() && entries.len() < page.size as usize {
                entries.push(entry.clone());
            }
            total += 1;
        }
        Ok(true)
    })?;
    Ok(match (is_there, is_other) {
        (true, _) => Looked::Folder { entries, total },
        (false, true) => Looked::NoFolder,
        (false, false) => Looked::Nothing,
    })
}

/// Returns the path as it is seen from the folder, if it lies there.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix(b"/")
}
