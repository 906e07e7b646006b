//! The operators' log, as the application API writes it. A change's line is written in its transaction, with the answer
//! that is given when that has committed; a request that is to change something and is refused gets its line around
//! the handler, so that no endpoint can forget it.

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use holdfast_db::operator_log::{self, Change, OperatorAction};
use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::error_chain::chain;

use crate::error::ApiError;
use crate::request_id;
use crate::state::ApiState;

/// Says what an operator asks for, and remembers it for the case that it is refused.
pub(crate) fn asked(request: &HttpRequest, origin: RequestOrigin) -> OperatorAction {
    let asked = OperatorAction::Request {
        origin,
        method: request.method().to_string(),
        path: request.path().to_owned(),
        request_id: request_id::trace_of(request).request,
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        request.extensions_mut().insert(asked.clone());
    }
    asked
}

/// Makes a change true and written down, both or neither, and returns its answer. `subject` is what it was done to,
/// where the path does not name that.
///
/// # Errors
/// When it can't be.
pub(crate) async fn commit(
    change: Change,
    subject: Option<String>,
    answer: HttpResponse,
) -> Result<HttpResponse, ApiError> {
    let status = Some(answer.status().as_u16());
    change.commit(subject.as_deref(), status).await?;
    Ok(answer)
}

/// Writes down that an operator was refused a change. Nothing has changed then, so that a line that can't be written
/// is no reason to answer anything else.
pub(crate) async fn note_refusal<B>(response: &ServiceResponse<B>) {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    // One that finds the database away need not ask it again.
    if !is_refusal || status == StatusCode::SERVICE_UNAVAILABLE {
        return;
    }
    let request = response.request();
    let asked = request.extensions_mut().remove::<OperatorAction>();
    let state = request.app_data::<web::Data<ApiState>>();
    let (Some(asked), Some(state)) = (asked, state) else {
        return;
    };
    if let Err(error) = operator_log::record_refusal(&state.database, &asked, status.as_u16()).await
    {
        tracing::warn!(
            error = chain(&error),
            "that an operator was refused a change can't be written down"
        );
    }
}
