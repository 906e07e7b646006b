//! `GET /users/{user}`: one user, by UUID or address.

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
    let user = operator.user(&state, &path).await?;
    Ok(views::ok(&views::application::user(&user)))
}
