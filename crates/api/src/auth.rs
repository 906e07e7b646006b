//! Authentication: checks the key in the `Authorization` header, for the client API ([`Caller`])
//! and the application API ([`Operator`](crate::operator::Operator)).
//!
//! A handler that takes neither of them is open to anyone.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde_json::Value;

use holdfast_db::keys::KeyOfUser;
use holdfast_db::request_lookup::{LookupRequest, RequestContext};
use holdfast_db::standing::{self, Standing};
use holdfast_db::{ListVersions, Transaction, activity};
use holdfast_domain::access::Action;
use holdfast_domain::activity::{ActivityEvent, RequestOrigin};
use holdfast_domain::key::{KeyIdentifier, KeyKind, KeyRefused, KeyToken};
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{
    Backup, BackupId, Profile, Server, ServerAccess, ServerId, ServerRef, TraceContext, UserId,
};

use crate::client_address;
use crate::error::ApiError;
use crate::rate_limit::{self, Guess};
use crate::request_id;
use crate::state::ApiState;

/// The user who sent a request to the client API, with the objects in its path.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) email: String,
    pub(crate) is_admin: bool,
    pub(crate) key: KeyIdentifier,
    token: KeyToken,
    address: Option<IpAddr>,
    pub(crate) profile: Profile,
    pub(crate) trace: TraceContext,
    /// The server in the path with the caller's access to it, if the caller has any.
    server: Option<(Server, ServerAccess)>,
    /// The backup in the path, if it belongs to that server.
    backup: Option<Backup>,
    /// The versions of the server's lists when the key was looked up.
    list_versions: ListVersions,
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = authenticate(&request, KeyKind::Client).await?;
            Ok(Self {
                user: context.key.api_key.user,
                email: context.key.email,
                is_admin: context.key.is_admin,
                key: context.key.api_key.identifier,
                token: bearer(&request).ok_or(ApiError::InvalidCredentials)?,
                address: client_address::of_request(&request),
                profile: context.key.api_key.profile,
                trace: request_id::trace_of(&request),
                server: context.server,
                backup: context.backup,
                list_versions: context.list_versions,
            })
        })
    }
}

/// Checks that a request has a valid key of the kind `needed`, and counts it for the rate limit.
///
/// A secret that was not valid before is counted by its address before it is looked up. So a flood
/// of wrong secrets does not reach the database.
pub(crate) async fn authenticate(
    request: &HttpRequest,
    needed: KeyKind,
) -> Result<RequestContext, ApiError> {
    let token = bearer(request);
    let guess = Guess::count(request, token.as_ref())?;
    let token = token.ok_or(ApiError::InvalidCredentials)?;
    let context = check_key(request, &token, needed).await;
    guess.end(request, &token, context.as_ref().map(|_| ()))?;
    let context = context?;
    rate_limit::count_key(request, &context.key.api_key.identifier)?;
    Ok(context)
}

/// Looks up the key of a request in one query, together with the objects in its path for the client
/// API. Then checks the key. From here on, all answers have the profile of the key, even errors.
async fn check_key(
    request: &HttpRequest,
    token: &KeyToken,
    needed: KeyKind,
) -> Result<RequestContext, ApiError> {
    let state = request
        .app_data::<web::Data<ApiState>>()
        .ok_or(ApiError::Internal)?;
    let path_segment = |name| match needed {
        KeyKind::Client => request.match_info().get(name),
        KeyKind::Application => None,
    };
    let lookup = LookupRequest {
        key: token.identifier().clone(),
        server: path_segment("server").and_then(ServerRef::parse),
        backup: path_segment("backup").and_then(BackupId::parse),
    };
    let address = client_address::of_request(request);
    let context = look_up(state, lookup, token, address).await?;
    let key = &context.key.api_key;
    request.extensions_mut().insert(key.profile);
    if key.kind != needed {
        return Err(ApiError::WrongKeyKind { needed });
    }
    Ok(context)
}

/// Looks up a key and the objects of a request, and checks the key.
pub(crate) async fn look_up(
    state: &ApiState,
    lookup: LookupRequest,
    token: &KeyToken,
    address: Option<IpAddr>,
) -> Result<RequestContext, ApiError> {
    let context = state.request_lookup.find(lookup).await?;
    let context = context.ok_or(ApiError::InvalidCredentials)?;
    check_token(&context.key, token, state, address)?;
    Ok(context)
}

fn check_token(
    key: &KeyOfUser,
    token: &KeyToken,
    state: &ApiState,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let checked = key.api_key.check(token, (state.now)(), address);
    checked.map_err(|refused| match refused {
        KeyRefused::Invalid => ApiError::InvalidCredentials,
        KeyRefused::AddressNotAllowed => ApiError::AddressNotAllowed { address },
    })
}

/// The credentials of a request that changes something.
pub(crate) struct Credentials<'a> {
    pub(crate) user: UserId,
    pub(crate) token: &'a KeyToken,
    pub(crate) address: Option<IpAddr>,
}

impl Credentials<'_> {
    /// Locks the key and the access to `server` until the transaction ends, and checks the key. The
    /// only check of a transaction that acts for a caller.
    ///
    /// # Errors
    /// As for a new request with this key.
    pub(crate) async fn lock(
        &self,
        state: &ApiState,
        transaction: &mut Transaction,
        server: Option<ServerId>,
    ) -> Result<Standing, ApiError> {
        let key = self.token.identifier();
        let standing = standing::lock(transaction, self.user, key, server).await?;
        let standing = standing.ok_or(ApiError::InvalidCredentials)?;
        check_token(&standing.key, self.token, state, self.address)?;
        Ok(standing)
    }
}

/// The credentials of a request about a server, to check them again while a stream is open.
#[derive(Clone, Debug)]
pub(crate) struct StreamCredentials {
    token: KeyToken,
    address: Option<IpAddr>,
    server: ServerRef,
}

impl StreamCredentials {
    /// Reads the credentials from a request to the client API.
    ///
    /// # Errors
    /// If the request has no key or no server in its path.
    pub(crate) fn from_http(request: &HttpRequest) -> Result<Self, ApiError> {
        let server = request.match_info().get("server");
        Ok(Self {
            token: bearer(request).ok_or(ApiError::InvalidCredentials)?,
            address: client_address::of_request(request),
            server: server
                .and_then(ServerRef::parse)
                .ok_or(ApiError::NotFound)?,
        })
    }

    /// Returns the identifier of the key.
    pub(crate) fn key(&self) -> &KeyIdentifier {
        self.token.identifier()
    }

    /// Returns the server with the caller's current access to it, if the caller still has any.
    ///
    /// # Errors
    /// If the key is no longer valid, or the database cannot be read.
    pub(crate) async fn current_access(
        &self,
        state: &ApiState,
    ) -> Result<Option<(Server, ServerAccess)>, ApiError> {
        let lookup = LookupRequest {
            key: self.key().clone(),
            server: Some(self.server.clone()),
            backup: None,
        };
        let context = look_up(state, lookup, &self.token, self.address).await?;
        Ok(context.server)
    }
}

/// Returns the key of a request. With two of them, a proxy may have checked the other one.
pub(crate) fn bearer(request: &HttpRequest) -> Option<KeyToken> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next()?.to_str().ok()?;
    if headers.next().is_some() {
        return None;
    }
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    KeyToken::parse(token.trim())
}

impl Caller {
    /// Begins the transaction that acts on the server in the path, and locks the server. Checks the
    /// key again in this transaction, and that the caller may do `action`. Another transaction that
    /// revokes the key or withdraws the permission waits until this one ends, or comes first.
    ///
    /// # Errors
    /// As for a new request with this key.
    pub(crate) async fn begin(
        &self,
        state: &ApiState,
        action: Action,
    ) -> Result<(Transaction, ServerAccess), ApiError> {
        let (server, _) = self.server()?;
        let mut transaction = state.database.begin().await?.with_trace(self.trace);
        let credentials = Credentials {
            user: self.user,
            token: &self.token,
            address: self.address,
        };
        let standing = credentials
            .lock(state, &mut transaction, Some(server.id))
            .await?;
        let access = standing.access.ok_or(ApiError::NotFound)?;
        permit(&access, action)?;
        Ok((transaction, access))
    }

    /// Returns the caller as the audit log records it.
    pub(crate) fn origin(&self) -> RequestOrigin {
        RequestOrigin {
            user: self.user,
            email: self.email.clone(),
            key: self.key.to_string(),
            address: self.address,
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
    /// [`ApiError::NotFound`] if there is no such server, or the caller has no access to it.
    pub(crate) fn server(&self) -> Result<(&Server, &ServerAccess), ApiError> {
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
