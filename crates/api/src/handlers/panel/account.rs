//! `GET /api/client/account`: whose key it is.

use actix_web::HttpResponse;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::views;
use crate::views::panel::objects::AccountObject;

/// Shows the caller.
#[utoipa::path(
    get,
    path = "/api/client/account",
    operation_id = "account",
    tag = "panel",
    responses((status = 200, description = "The user whose key it is", body = AccountObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn account(caller: Caller) -> Result<HttpResponse, ApiError> {
    let shown = views::panel::account(caller.user, &caller.email, caller.is_admin);
    Ok(views::ok(&shown))
}
