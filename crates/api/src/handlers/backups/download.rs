//! `GET …/backups/{backup}/download`: makes a link that needs no other credential.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::activity;
use holdfast_domain::access::Action;
use holdfast_domain::activity::Event;
use holdfast_domain::backup::Purpose;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::origin::base_url;
use crate::sign::Claims;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::SignedUrl;

/// Makes a download link.
#[utoipa::path(
    method(get, post),
    path = "/api/client/servers/{server}/backups/{backup}/download",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 200, description = "A link that needs no key", body = SignedUrl), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn download(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Download)?;
    backup
        .check_completed(Purpose::Download)
        .map_err(ApiError::NotCompleted)?;
    let token = state.signer.sign(&Claims {
        jti: Uuid::new_v4(),
        exp: (state.now)().timestamp() + i64::from(state.options.download_ttl_seconds),
        backup: backup.id,
        server: server.id,
        user: caller.user,
        key: caller.key.to_string(),
    })?;
    let mut transaction = state.database.begin().await?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        Event::Download,
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    transaction.commit().await?;
    let base_url = match &state.options.downloads_public_url {
        Some(url) => url.clone(),
        None => base_url(&request, &state.options),
    };
    let url = format!("{base_url}/download/backup?token={token}");
    Ok(views::ok(&views::signed_url(url)))
}
