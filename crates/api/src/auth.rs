//! Authentication: checks the credentials of a request, for the client API ([`Caller`]) and the
//! application API ([`Operator`](crate::operator::Operator)).
//!
//! A handler that takes neither of them is open to anyone.

mod csrf;
mod keys;
mod panel_caller;
mod stream_credentials;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;

use holdfast_db::request_lookup::RequestContext;
use holdfast_db::{ListVersions, Transaction, activity, servers};
use holdfast_domain::access::Action;
use holdfast_domain::activity::{ActivityEvent, RequestOrigin};
use holdfast_domain::key::{KeyIdentifier, KeyKind, KeyToken};
use holdfast_domain::panel::PanelServer;
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{
    Backup, BackupId, Profile, Server, ServerAccess, ServerId, TraceContext, UserId,
};

pub(crate) use self::keys::{Credentials, authenticate, bearer, bearer_text};
pub(crate) use self::panel_caller::find_server as find_panel_server;
pub(crate) use self::stream_credentials::StreamCredentials;

use self::panel_caller::{Candidate, PanelCaller, PanelContext};
use crate::client_address;
use crate::error::{ApiError, PanelRefused};
use crate::request_id;
use crate::state::ApiState;

/// The name of all callers whose access the panel decides. It does not say who they are.
const PANEL: &str = "panel";

/// The sender of a request to the client API, with the objects in its path.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    identity: Identity,
    pub(crate) profile: Profile,
    pub(crate) trace: TraceContext,
    /// The server in the path with the caller's access to it, if the caller has any.
    server: Option<(Server, ServerAccess)>,
    /// The backup in the path, if it belongs to that server.
    backup: Option<Backup>,
    /// The versions of the server's lists when the key was looked up. Those of a panel's caller
    /// are not, so that its lists are never cached.
    list_versions: ListVersions,
}

/// Who has sent a request.
#[derive(Clone, Debug)]
enum Identity {
    /// A user with a key of this service.
    User(KeyHolder),
    /// Someone with a credential of the panel.
    Panel(PanelCaller),
}

/// A user with a key of this service.
#[derive(Clone, Debug)]
pub(crate) struct KeyHolder {
    pub(crate) user: UserId,
    pub(crate) email: String,
    pub(crate) is_admin: bool,
    pub(crate) token: KeyToken,
    pub(crate) address: Option<IpAddr>,
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = match panel_caller::of_request(&request).await? {
                Candidate::Panel(context) => return Ok(Self::of_panel(*context, &request)),
                Candidate::No => authenticate(&request, KeyKind::Client).await?,
                Candidate::OwnKey(guess) => {
                    let token = bearer(&request).ok_or(ApiError::InvalidCredentials)?;
                    keys::authenticate_counted(&request, KeyKind::Client, &token, guess).await?
                }
            };
            Self::of_user(context, &request)
        })
    }
}

impl Caller {
    fn of_user(context: RequestContext, request: &HttpRequest) -> Result<Self, ApiError> {
        let holder = KeyHolder {
            user: context.key.api_key.user,
            email: context.key.email,
            is_admin: context.key.is_admin,
            token: bearer(request).ok_or(ApiError::InvalidCredentials)?,
            address: client_address::of_request(request),
        };
        Ok(Self {
            identity: Identity::User(holder),
            profile: context.key.api_key.profile,
            trace: request_id::trace_of(request),
            server: context.server,
            backup: context.backup,
            list_versions: context.list_versions,
        })
    }

    fn of_panel(context: PanelContext, request: &HttpRequest) -> Self {
        let access = context.caller.answer.access.clone();
        Self {
            identity: Identity::Panel(context.caller),
            // The clients of panels are written for the answers of panels.
            profile: Profile::Pterodactyl,
            trace: request_id::trace_of(request),
            server: Some((context.server, access)),
            backup: context.backup,
            list_versions: ListVersions::default(),
        }
    }

    /// Returns the user of the key. A panel's caller has none.
    pub(crate) fn user(&self) -> Option<UserId> {
        match &self.identity {
            Identity::User(holder) => Some(holder.user),
            Identity::Panel(_) => None,
        }
    }

    /// Returns the identifier of the key. A panel's caller has none here.
    pub(crate) fn key(&self) -> Option<&KeyIdentifier> {
        match &self.identity {
            Identity::User(holder) => Some(holder.token.identifier()),
            Identity::Panel(_) => None,
        }
    }

    /// Returns the user of the key, with the key.
    ///
    /// # Errors
    /// [`ApiError::InvalidCredentials`] for a panel's caller.
    pub(crate) fn key_holder(&self) -> Result<&KeyHolder, ApiError> {
        match &self.identity {
            Identity::User(holder) => Ok(holder),
            Identity::Panel(_) => Err(ApiError::InvalidCredentials),
        }
    }

    /// Returns the caller's name for messages: the email address, or `panel`.
    pub(crate) fn name(&self) -> &str {
        match &self.identity {
            Identity::User(holder) => &holder.email,
            Identity::Panel(_) => PANEL,
        }
    }

    /// Returns whether the caller owns the server.
    pub(crate) fn owns(&self, server: &Server) -> bool {
        match &self.identity {
            Identity::User(holder) => server.owner == Some(holder.user),
            Identity::Panel(caller) => {
                caller.answer.id == server.id && caller.answer.access == ServerAccess::Owner
            }
        }
    }

    /// Returns how many backups the server may have, if the panel decides it.
    pub(crate) fn backup_limit(&self) -> Option<u32> {
        match &self.identity {
            Identity::User(_) => None,
            Identity::Panel(caller) => Some(caller.answer.backup_limit),
        }
    }

    /// Returns the credentials for an event stream.
    ///
    /// # Errors
    /// If the request has no server in its path.
    pub(crate) fn stream_credentials(
        &self,
        request: &HttpRequest,
    ) -> Result<StreamCredentials, ApiError> {
        match &self.identity {
            Identity::User(_) => StreamCredentials::of_key(request),
            Identity::Panel(caller) => Ok(StreamCredentials::of_panel(caller)),
        }
    }

    /// Checks that the caller may do `action` now. The key of a user has just been checked. The
    /// panel is asked anew.
    ///
    /// # Errors
    /// As for a new request with these credentials.
    pub(crate) async fn confirm(&self, state: &ApiState, action: Action) -> Result<(), ApiError> {
        let Identity::Panel(caller) = &self.identity else {
            let (_, access) = self.server()?;
            return permit(access, action);
        };
        let answer = caller.confirm(state).await?;
        check_state(&answer, action)?;
        permit(&answer.access, action)
    }

    /// Begins the transaction that acts on the server in the path, and locks the server. Checks the
    /// key again in this transaction, and that the caller may do `action`. Another transaction that
    /// revokes the key or withdraws the permission waits until this one ends, or comes first. About
    /// a panel's caller, the panel is asked anew.
    ///
    /// # Errors
    /// As for a new request with this key.
    pub(crate) async fn begin(
        &self,
        state: &ApiState,
        action: Action,
    ) -> Result<(Transaction, ServerAccess), ApiError> {
        let (server, _) = self.server()?;
        let (transaction, access) = match &self.identity {
            Identity::User(holder) => {
                let mut transaction = state.database.begin().await?.with_trace(self.trace);
                let credentials = Credentials {
                    user: holder.user,
                    token: &holder.token,
                    address: holder.address,
                };
                let standing = credentials
                    .lock(state, &mut transaction, Some(server.id))
                    .await?;
                (transaction, standing.access.ok_or(ApiError::NotFound)?)
            }
            Identity::Panel(caller) => {
                // Asked before the transaction begins: a panel may take seconds.
                let answer = caller.confirm(state).await?;
                check_state(&answer, action)?;
                let mut transaction = state.database.begin().await?.with_trace(self.trace);
                servers::lock(&mut transaction, server.id, 0).await?;
                (transaction, answer.access.clone())
            }
        };
        permit(&access, action)?;
        Ok((transaction, access))
    }

    /// Returns the caller as the audit log records it.
    pub(crate) fn origin(&self) -> RequestOrigin {
        match &self.identity {
            Identity::User(holder) => RequestOrigin {
                user: Some(holder.user),
                email: holder.email.clone(),
                key: holder.token.identifier().to_string(),
                address: holder.address,
            },
            Identity::Panel(caller) => RequestOrigin {
                user: None,
                email: PANEL.to_owned(),
                key: caller.request.credential.identifier().to_owned(),
                address: Some(caller.address()),
            },
        }
    }

    /// Records an event about a backup in the audit log, as a part of `transaction`.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) async fn record_event(
        &self,
        transaction: &mut Transaction,
        event: ActivityEvent,
        server: ServerId,
        backup: BackupId,
        properties: &Value,
    ) -> Result<(), ApiError> {
        let origin = self.origin();
        activity::record(
            transaction,
            event,
            server,
            backup,
            Some(&origin),
            properties,
        )
        .await?;
        Ok(())
    }

    /// Records an event about a schedule in the audit log, as a part of `transaction`.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) async fn record_schedule_event(
        &self,
        transaction: &mut Transaction,
        event: ActivityEvent,
        server: ServerId,
        schedule: ScheduleId,
        properties: &Value,
    ) -> Result<(), ApiError> {
        let origin = self.origin();
        activity::record_schedule(
            transaction,
            event,
            server,
            schedule,
            Some(&origin),
            properties,
        )
        .await?;
        Ok(())
    }

    /// Returns the server in the path with the caller's access to it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such server, or the caller has no access to it. For a
    /// panel's caller: a state in which the panel refuses all requests about the server.
    pub(crate) fn server(&self) -> Result<(&Server, &ServerAccess), ApiError> {
        if let Identity::Panel(caller) = &self.identity {
            check_state(&caller.answer, Action::View)?;
        }
        self.server_in_any_state()
    }

    /// Returns the server in the path with the caller's access to it, whatever its state.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such server, or the caller has no access to it.
    pub(crate) fn server_in_any_state(&self) -> Result<(&Server, &ServerAccess), ApiError> {
        let (server, access) = self.server.as_ref().ok_or(ApiError::NotFound)?;
        Ok((server, access))
    }

    /// Returns the versions of the server's lists when the caller's key was looked up.
    pub(crate) fn list_versions(&self) -> &ListVersions {
        &self.list_versions
    }

    /// Returns the server and the backup in the path, with the caller's access.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if one of them does not exist for the caller.
    pub(crate) fn backup(&self) -> Result<(&Server, &ServerAccess, &Backup), ApiError> {
        let (server, access) = self.server()?;
        let backup = self.backup.as_ref().ok_or(ApiError::NotFound)?;
        Ok((server, access, backup))
    }
}

/// Checks that the panel allows `action` in the state of the server.
fn check_state(server: &PanelServer, action: Action) -> Result<(), ApiError> {
    let allowed = server.check_state(action);
    allowed.map_err(|conflict| ApiError::Panel(PanelRefused::Conflict(conflict)))
}

/// Checks that the caller may do `action`.
///
/// # Errors
/// [`ApiError::Forbidden`] if the caller lacks the permission.
pub(crate) fn permit(access: &ServerAccess, action: Action) -> Result<(), ApiError> {
    if access.may(action) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}
