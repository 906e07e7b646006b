//! `GET /servers/{server}`: one server, by UUID or short identifier.

use actix_web::{HttpResponse, web};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::views;

pub(crate) async fn show(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    Ok(views::ok(&views::application::server(&server)))
}
