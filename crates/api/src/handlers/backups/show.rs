//! `GET …/backups/{backup}`: one backup.

use actix_web::{HttpResponse, web};

use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::state::ApiState;
use crate::views;

pub(crate) async fn show(
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (_, standing, backup) = caller.backup(&state, &path.0, &path.1).await?;
    permit(&standing, Action::View)?;
    Ok(views::ok(&views::backup(&backup, caller.profile)))
}
