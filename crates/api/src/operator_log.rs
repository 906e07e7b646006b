//! The operator log, as the application API writes it.
//!
//! The entry of a change is written in the transaction of the change. The entry of a refused change
//! is written around the handler, so that no endpoint can forget it.

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use holdfast_db::operator_log::{self, Change, OperatorAction};
use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::error_chain::chain;

use crate::error::ApiError;
use crate::request_id;
use crate::state::ApiState;

/// Returns the action of a request, and attaches it to the request for [`record_refusal`].
pub(crate) fn attach_action(request: &HttpRequest, origin: RequestOrigin) -> OperatorAction {
    let action = OperatorAction::Request {
        origin,
        method: request.method().to_string(),
        path: request.path().to_owned(),
        request_id: request_id::trace_of(request).request,
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        request.extensions_mut().insert(action.clone());
    }
    action
}

/// Commits a change together with its log entry, and returns `answer`.
///
/// `subject` is the changed object, if the path does not contain it.
///
/// # Errors
/// If the transaction cannot be committed. Then neither the change nor the entry exists.
pub(crate) async fn commit(
    change: Change,
    subject: Option<String>,
    answer: HttpResponse,
) -> Result<HttpResponse, ApiError> {
    let status = Some(answer.status().as_u16());
    change.commit(subject.as_deref(), status).await?;
    Ok(answer)
}

/// Records that a change was refused. Nothing was changed, so the answer stays the same even if the
/// entry cannot be written.
pub(crate) async fn record_refusal<B>(response: &ServiceResponse<B>) {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    // While the database is unavailable, a second query would only delay the answer.
    if !is_refusal || status == StatusCode::SERVICE_UNAVAILABLE {
        return;
    }
    let request = response.request();
    let action = request.extensions_mut().remove::<OperatorAction>();
    let state = request.app_data::<web::Data<ApiState>>();
    let (Some(action), Some(state)) = (action, state) else {
        return;
    };
    if let Err(error) =
        operator_log::record_refusal(&state.database, &action, status.as_u16()).await
    {
        tracing::warn!(
            error = chain(&error),
            "cannot record a refused change in the operator log"
        );
    }
}
