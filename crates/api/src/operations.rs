//! The audit log of the application API, written around each request that is to change something: whoever asks is
//! written down before anything is done, and what was answered afterwards. Nothing is done that is not in it.

use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest, web};

use holdfast_db::operations::{self, Asked, OperationId};
use holdfast_domain::activity::Origin;
use holdfast_domain::report::chain;

use crate::error::ApiError;
use crate::names;
use crate::state::ApiState;

/// What a request has made, for the log.
struct Made(String);

/// Writes down that an operator asks for a change.
///
/// # Errors
/// When it can't be written: then it is not done.
pub(crate) async fn begin(
    request: &HttpRequest,
    state: &ApiState,
    origin: &Origin,
) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let trace = names::trace_of(request);
    let asked = Asked {
        origin,
        method: request.method().as_str(),
        path: request.path(),
        request_id: trace.request.as_str(),
    };
    let id = operations::begin(&state.database, &asked).await?;
    request.extensions_mut().insert(id);
    Ok(())
}

/// Remembers what a request has made, which its path could not name.
pub(crate) fn made(request: &HttpRequest, subject: impl ToString) {
    request.extensions_mut().insert(Made(subject.to_string()));
}

/// Writes down what was answered, if the request is in the log.
pub(crate) async fn end<B>(response: &ServiceResponse<B>) {
    let request = response.request();
    let Some(id) = request.extensions().get::<OperationId>().copied() else {
        return;
    };
    let Some(state) = request.app_data::<web::Data<ApiState>>() else {
        return;
    };
    let subject = request.extensions_mut().remove::<Made>();
    let subject = subject.as_ref().map(|made| made.0.as_str());
    let status = response.status().as_u16();
    if let Err(error) = operations::end(&state.database, id, status, subject).await {
        tracing::warn!(
            error = chain(&error),
            "how an operator's request ended can't be written down"
        );
    }
}
