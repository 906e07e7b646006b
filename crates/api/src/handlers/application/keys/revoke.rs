//! `DELETE /keys/{key}`: removes a key for ever, by its first sixteen characters.

use actix_web::{HttpResponse, web};

use holdfast_db::keys;
use holdfast_domain::key::KeyIdentifier;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::operator_log;
use crate::state::ApiState;

/// Removes a key for ever.
#[utoipa::path(
    delete,
    path = "/api/application/keys/{key}",
    operation_id = "revoke_key",
    tag = "application",
    params(
        ("key" = String, Path, description = "The first sixteen characters of the key"),
    ),
    responses((status = 204, description = "Removed"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn revoke(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let identifier = KeyIdentifier::parse(&path).ok_or(ApiError::NotFound)?;
    let mut change = operator.begin(&state).await?;
    if keys::revoke(&mut change, &identifier).await? {
        operator_log::commit(change, None, HttpResponse::NoContent().finish()).await
    } else {
        Err(ApiError::NotFound)
    }
}
