//! `DELETE /servers/{server}?backups=delete|keep`: deletes a server, with its archives or without.
//!
//! From the answer on, no request finds the server. A worker of its node does the rest. The answer
//! is the job, so that the client can wait for its end.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::{jobs, servers};
use holdfast_domain::job::{DeleteServerArgs, ServerBackupsAction};
use holdfast_domain::limit::{self, ServerBusy};

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{DeleteServerQuery, ServerPath};
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// Deletes a server.
#[utoipa::path(
    delete,
    path = "/api/application/servers/{server}",
    operation_id = "delete_server",
    tag = "application",
    params(ServerPath, DeleteServerQuery),
    responses(
        (status = 202, description = "The job that deletes the server", body = JobObject),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let mut fields = Fields::from_query(request.query_string());
    let choices = ServerBackupsAction::ALL.map(ServerBackupsAction::as_str);
    let backups = fields.one_of("backups", &choices, ServerBackupsAction::parse);
    fields.require("backups", backups.as_ref());
    fields.check()?;
    let backups = backups.ok_or(ApiError::Internal)?;

    let (mut change, server, load) = operator.begin_server_change(&state, server.id).await?;
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
