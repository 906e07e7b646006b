//! `GET …/backups/{backup}/contents`: a folder of a completed backup.
//!
//! The answer comes from the index beside the archive. The archive is not read, and only the
//! entries of the page are kept in memory.

mod archive_access;
mod file;
mod folder_search;

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_archive::list_index;

use self::archive_access::{ArchiveAccess, map_index_error};
use self::folder_search::{FolderSearch, SearchStep};
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
    let scan = archive.start_scan().await?;
    let mut search = FolderSearch::new(archive.path.clone(), page.offset(), page.size() as usize);
    let (entries, total) = loop {
        let pass = move |index| search.pass(|each| list_index(index, each));
        let step = scan.pass(pass).await?;
        match step.map_err(|error| map_index_error(&error))? {
            SearchStep::Again(further) => search = further,
            SearchStep::Missing => return Err(ApiError::NotFound),
            SearchStep::NotAFolder => return Err(ApiError::NotAFolder),
            SearchStep::Page(entries, total) => break (entries, total),
        }
    };
    let pagination = page.pagination(total, entries.len());
    Ok(views::ok(&views::files::file_list(&entries, pagination)))
}
