//! `DELETE /keys/{key}`: revokes a key. This cannot be undone.

use actix_web::{HttpResponse, web};

use holdfast_db::keys;
use holdfast_domain::key::KeyIdentifier;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::KeyPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;

/// Revokes a key. This cannot be undone.
#[utoipa::path(
    delete,
    path = "/api/application/keys/{key}",
    operation_id = "revoke_key",
    tag = "application",
    params(KeyPath),
    responses((status = 204, description = "The key is revoked"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn revoke(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let identifier = KeyIdentifier::parse(&path).ok_or(ApiError::NotFound)?;

    let mut change = operator.begin_user_change(&state).await?;
    if !keys::revoke(&mut change, &identifier).await? {
        return Err(ApiError::NotFound);
    }
    operator_log::commit(change, None, HttpResponse::NoContent().finish()).await
}
