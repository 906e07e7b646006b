//! Requests of a panel to its node, in place of Wings: checks the token of the node.
//!
//! Their errors have the form of Wings. See [`NodeErrors`].

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use holdfast_domain::TraceContext;
use holdfast_domain::wings::WingsNode;

use crate::auth::bearer_text;
use crate::error::{ApiError, NodeRefused};
use crate::state::ApiState;
use crate::views::errors::NodeErrors;
use crate::{rate_limit, request_id};

/// The name of this service in answers to the panel. Pelican refuses answers of a node without this
/// header. If it names Wings, it must have the token ID of the node, too.
const DAEMON: &str = concat!("Holdfast/", env!("CARGO_PKG_VERSION"));

/// Returns whether a request is one to the panel's node.
pub(crate) fn is_for_node(request: &HttpRequest) -> bool {
    request.app_data::<NodeErrors>().is_some() || request.extensions().contains::<NodeErrors>()
}

/// Writes the header with which the panel recognizes the answers of its node.
pub(crate) fn write_daemon(headers: &mut HeaderMap) {
    headers.insert(USER_AGENT, HeaderValue::from_static(DAEMON));
}

/// A request that has the token of the node, so it comes from the panel.
#[derive(Clone, Debug)]
pub(crate) struct PanelRequest {
    pub(crate) node: Arc<WingsNode>,
    pub(crate) trace: TraceContext,
}

impl FromRequest for PanelRequest {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(check(request))
    }
}

fn check(request: &HttpRequest) -> Result<PanelRequest, ApiError> {
    let node = node(request).ok_or(ApiError::NotFound)?;
    let token = bearer_text(request).ok_or(ApiError::Node(NodeRefused::TokenMissing))?;
    if !node.token.matches(token) {
        rate_limit::count_wrong_token(request)?;
        return Err(ApiError::Node(NodeRefused::WrongToken));
    }
    Ok(PanelRequest {
        node,
        trace: request_id::trace_of(request),
    })
}

/// Returns the node of the settings.
pub(crate) fn node(request: &HttpRequest) -> Option<Arc<WingsNode>> {
    let state = request.app_data::<web::Data<ApiState>>()?;
    state.options.wings.clone()
}
