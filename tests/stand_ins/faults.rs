//! What goes wrong with a stand-in. A fault can be switched on and off while it runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use serde::{Deserialize, Serialize};

/// A fault. Each concerns all requests until another is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Fault {
    #[default]
    None,
    /// Connections are refused.
    Down,
    /// Does its work at once, and answers this much later.
    Slow { milliseconds: u64 },
    /// Does its work, and closes the connection without an answer.
    NoAnswer,
    /// 404 with a page in HTML, like a web server without a panel.
    HtmlNotFound,
    /// 500 with a page in HTML.
    HtmlError,
    /// 200 with a page in HTML, like the login page of another program.
    HtmlOk,
    /// 500 in the form of the API.
    JsonError,
    /// 503 with a page in HTML, like a panel in maintenance mode.
    Maintenance,
    /// 429 with `Retry-After`.
    TooManyRequests,
    /// 302 to this URL.
    Redirect { to: String },
    /// 401, like a panel that does not know the node's token.
    Unauthorized,
    /// 403, like a panel that has given the node another token.
    Forbidden,
    /// The second half of each body is missing.
    CutBody,
    /// Lists lack their last entry, but their totals count it.
    ShortList,
    /// Lists are empty, and their totals are 0.
    EmptyList,
}

/// The fault of a stand-in, shared with its server.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultSwitch(Arc<Mutex<Fault>>);

impl FaultSwitch {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock().unwrap() = fault;
    }

    pub(crate) fn get(&self) -> Fault {
        self.0.lock().unwrap().clone()
    }
}

/// The middleware that applies the fault.
pub(super) async fn apply<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let switch = request.app_data::<web::Data<FaultSwitch>>();
    let fault = switch.map(|switch| switch.get()).unwrap_or_default();
    if let Some(instead) = answer_instead(&fault) {
        return Ok(request.into_response(instead));
    }
    if fault == Fault::Down {
        // A connection from before may outlive the listener for a moment.
        let lost = std::io::Error::other("the connection is lost");
        let body = futures_util::stream::iter([Err::<web::Bytes, _>(lost)]);
        return Ok(request.into_response(HttpResponse::Ok().streaming(body)));
    }
    let answered = next.call(request).await?.map_into_boxed_body();
    match fault {
        Fault::Slow { milliseconds } => {
            actix_web::rt::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(answered)
        }
        // actix closes the connection if a body fails before its end.
        Fault::NoAnswer | Fault::CutBody => {
            let keep = if fault == Fault::CutBody { 2 } else { 0 };
            let (request, response) = answered.into_parts();
            let (head, body) = response.into_parts();
            let whole = actix_web::body::to_bytes(body).await;
            let whole = whole.unwrap_or_default();
            let cut = match keep {
                0 => web::Bytes::new(),
                parts => whole.slice(..whole.len() / parts),
            };
            let lost = std::io::Error::other("the answer is lost");
            let pieces = futures_util::stream::iter([Ok(cut), Err(lost)]);
            let body = actix_web::body::BodyStream::new(pieces);
            let response = head.set_body(body).map_into_boxed_body();
            Ok(ServiceResponse::new(request, response))
        }
        _ => Ok(answered),
    }
}

/// Returns the answer that a fault gives instead of the work.
fn answer_instead(fault: &Fault) -> Option<HttpResponse> {
    let page = |mut builder: actix_web::HttpResponseBuilder, text: &str| {
        let page = format!("<!DOCTYPE html><html><body><h1>{text}</h1></body></html>");
        builder.content_type(ContentType::html()).body(page)
    };
    let error =
        |mut builder: actix_web::HttpResponseBuilder, status: u16, code: &str, text: &str| {
            builder.json(super::panel::error_body(status, code, text))
        };
    match fault {
        Fault::HtmlNotFound => Some(page(HttpResponse::NotFound(), "404 Not Found")),
        Fault::HtmlError => Some(page(HttpResponse::InternalServerError(), "Server Error")),
        Fault::HtmlOk => Some(page(HttpResponse::Ok(), "Sign in")),
        Fault::Maintenance => Some(page(HttpResponse::ServiceUnavailable(), "Be right back")),
        Fault::JsonError => Some(error(
            HttpResponse::InternalServerError(),
            500,
            "HttpException",
            "An unexpected error was encountered while processing this request, please try again.",
        )),
        Fault::TooManyRequests => {
            let mut builder = HttpResponse::TooManyRequests();
            builder.insert_header(("retry-after", "2"));
            let code = "TooManyRequestsHttpException";
            Some(error(builder, 429, code, "Too Many Attempts."))
        }
        Fault::Redirect { to } => {
            let mut builder = HttpResponse::Found();
            builder.insert_header((LOCATION, to.as_str()));
            Some(page(builder, "Redirecting"))
        }
        Fault::Unauthorized => Some(error(
            HttpResponse::Unauthorized(),
            401,
            "HttpException",
            "Access to this endpoint must include an Authorization header.",
        )),
        Fault::Forbidden => Some(error(
            HttpResponse::Forbidden(),
            403,
            "AccessDeniedHttpException",
            "You are not authorized to access this resource.",
        )),
        _ => None,
    }
}
