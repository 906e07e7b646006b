//! `DELETE …/subusers/{user}`: takes all permissions away; fine when there are none.

use actix_web::{HttpResponse, web};

use holdfast_db::subusers;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::state::ApiState;

pub(crate) async fn remove(
    operator: Operator,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path.0).await?;
    let user = operator.user(&state, &path.1).await?;
    subusers::set(&state.database, server.id, user.id, &[]).await?;
    Ok(HttpResponse::NoContent().finish())
}
