//! `GET …/backups`: a page of a server's backups, newest first.

use actix_web::{HttpResponse, web};

use holdfast_db::backups::PageRequest;
use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::list_cache::ListKey;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{PageQuery, ServerPath};
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupList;

/// Lists a server's backups.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups",
    tag = "backups",
    params(ServerPath, PageQuery),
    responses(
        (status = 200, description = "A page of backups, newest first", body = BackupList),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    caller: Caller,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::List)?;

    let key = ListKey {
        page: PageRequest {
            server: server.id,
            limit: page.size(),
            offset: page.offset(),
        },
        profile: caller.profile,
    };
    let list = match state.list_cache.get(&key, caller.list_versions()) {
        Some(list) => list,
        None => {
            // The versions were read before the list. If a write happens in between, the cached
            // list counts as outdated although it is current, never the other way round.
            let backups = state.backup_pages.find(key.page).await?;
            let list = views::cached_list(&backups, caller.profile)?;
            let versions = caller.list_versions().clone();
            state.list_cache.insert(key, versions, list)
        }
    };
    views::backup_list(&list, page.pagination(list.total, list.count))
}
