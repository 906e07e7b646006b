//! `GET /api/client/account`: the user of the key.

use actix_web::HttpResponse;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::views;
use crate::views::panel::objects::AccountObject;

/// Shows the user of the key.
#[utoipa::path(
    get,
    path = "/api/client/account",
    operation_id = "account",
    tag = "panel",
    responses((status = 200, description = "The user of the key", body = AccountObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn account(caller: Caller) -> Result<HttpResponse, ApiError> {
    let holder = caller.key_holder()?;
    let object = views::panel::account(holder.user, &holder.email, holder.is_admin);
    Ok(views::ok(&object))
}
