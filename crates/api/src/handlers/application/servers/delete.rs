//! `DELETE /servers/{server}?backups=delete|keep`: removes a server, with its archives or without.
//!
//! From the answer on nobody finds the server; the worker of its node does the
//! rest. The answer is the job, so that the caller can see it end.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::{jobs, servers};
use holdfast_domain::job::{DeleteServerArgs, ServerBackupsAction};
use holdfast_domain::limit::{self, ServerBusy};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::DeleteServerQuery;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// Removes a server.
#[utoipa::path(
    delete,
    path = "/api/application/servers/{server}",
    operation_id = "delete_server",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        DeleteServerQuery,
    ),
    responses((status = 202, description = "The job that removes it", body = JobObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let mut fields = Fields::of_query(request.query_string());
    let words = ServerBackupsAction::ALL.map(ServerBackupsAction::as_str);
    let backups = fields.one_of("backups", &words, ServerBackupsAction::parse);
    fields.require("backups", backups.as_ref());
    fields.check()?;
    let backups = backups.ok_or(ApiError::Internal)?;

    let mut change = operator.begin(&state).await?;
    let (server, load) = servers::lock_and_find(&mut change, server.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    limit::check_no_file_job(load.unfinished).map_err(ApiError::DeleteServer)?;
    let job = servers::begin_deletion(&mut change, &server, DeleteServerArgs { backups })
        .await
        .map_err(|error| match error {
            holdfast_db::Error::Conflict { .. } => ApiError::DeleteServer(ServerBusy::BackingUp),
            other => other.into(),
        })?;
    let job = jobs::find_in(&mut change, job).await?;
    let answer = views::accepted(&views::application::job(&job));
    operator_log::commit(change, None, answer).await
}
