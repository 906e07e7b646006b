//! `GET …/backups`: a page of a server's backups, newest first.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::backups::PageRequest;
use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::list_cache::Asked;
use crate::openapi::Refusals;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupList;

/// Lists a server's backups.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("page" = Option<String>, Query, description = "From 1; anything else than digits means 1"),
        ("per_page" = Option<String>, Query, description = "1 to 100; 25 when it is anything else than digits"),
    ),
    responses((status = 200, description = "A page of backups, newest first", body = BackupList), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing) = caller.server()?;
    permit(standing, Action::List)?;
    let page = Page::read(request.query_string());
    let wanted = PageRequest {
        server: server.id,
        limit: page.size,
        offset: page.offset(),
    };
    let asked = Asked {
        wanted,
        profile: caller.profile,
    };
    let listed = match state.lists.find(&asked, caller.marks()) {
        Some(listed) => listed,
        None => {
            // Read after the marks, so that a write in between makes the marks look old, not the list new.
            let found = state.pages.find(wanted).await?;
            let listed = views::listed(&found, caller.profile)?;
            let marks = caller.marks().clone();
            state.lists.keep(asked, marks, listed)
        }
    };
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(listed.total, listed.count, &request, &base_url);
    views::backup_list(&listed, pagination)
}
