//! The credentials of an event stream, which are checked again while it is open.

use std::net::IpAddr;

use actix_web::HttpRequest;

use holdfast_db::request_lookup::LookupRequest;
use holdfast_domain::access::Action;
use holdfast_domain::key::KeyToken;
use holdfast_domain::{Server, ServerAccess, ServerRef};

use super::keys::{bearer, look_up};
use super::panel_caller::{self, PanelCaller};
use crate::client_address;
use crate::error::{ApiError, PanelRefused};
use crate::panel_auth::PanelQuestion;
use crate::state::ApiState;

/// The credentials of a request about a server, to check them again while a stream is open.
#[derive(Clone, Debug)]
pub(crate) struct StreamCredentials {
    subject: String,
    credentials: StreamIdentity,
}

#[derive(Clone, Debug)]
enum StreamIdentity {
    Key {
        token: KeyToken,
        address: Option<IpAddr>,
        server: ServerRef,
    },
    Panel(PanelQuestion),
}

impl StreamCredentials {
    /// Reads the key from a request to the client API.
    ///
    /// # Errors
    /// If the request has no key or no server in its path.
    pub(super) fn of_key(request: &HttpRequest) -> Result<Self, ApiError> {
        let token = bearer(request).ok_or(ApiError::InvalidCredentials)?;
        let server = request.match_info().get("server");
        Ok(Self {
            subject: token.identifier().to_string(),
            credentials: StreamIdentity::Key {
                token,
                address: client_address::of_request(request),
                server: server
                    .and_then(ServerRef::parse)
                    .ok_or(ApiError::NotFound)?,
            },
        })
    }

    /// Takes the credentials of a panel's caller.
    pub(super) fn of_panel(caller: &PanelCaller) -> Self {
        Self {
            subject: caller.subject.clone(),
            credentials: StreamIdentity::Panel(caller.request.clone()),
        }
    }

    /// Returns the name under which the streams of the caller are counted.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the server with the caller's current access to it, if the caller still has any.
    ///
    /// # Errors
    /// If the credentials are no longer valid, or the database cannot be read.
    pub(crate) async fn current_access(
        &self,
        state: &ApiState,
    ) -> Result<Option<(Server, ServerAccess)>, ApiError> {
        match &self.credentials {
            StreamIdentity::Key {
                token,
                address,
                server,
            } => {
                let lookup = LookupRequest {
                    key: token.identifier().clone(),
                    server: Some(server.clone()),
                    backup: None,
                };
                let context = look_up(state, lookup, token, *address).await?;
                Ok(context.server)
            }
            StreamIdentity::Panel(request) => of_panel(request, state).await,
        }
    }
}

/// Returns the current access of a panel's caller. The panel is asked as for any read.
async fn of_panel(
    request: &PanelQuestion,
    state: &ApiState,
) -> Result<Option<(Server, ServerAccess)>, ApiError> {
    let panel = state.panel.as_ref().ok_or(ApiError::InvalidCredentials)?;
    let answer = panel.read(request, true).await;
    let answer = answer.map_err(panel_caller::api_error)?;
    let allowed = answer.check_state(Action::List);
    allowed.map_err(|conflict| ApiError::Panel(PanelRefused::Conflict(conflict)))?;
    let server = panel_caller::find_server(state, answer.id).await?;
    Ok(server.map(|server| (server, answer.access.clone())))
}
