//! Who calls: the key in the `Authorization` header, checked, for the client API ([`Caller`]) and the
//! application API ([`Operator`]).

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use holdfast_db::operator_log::{Change, OperatorAction};
use holdfast_db::request_lookup::{RequestContext, RequestKey};
use holdfast_db::{ListVersions, servers, users};
use holdfast_domain::access::Action;
use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::key::{KeyIdentifier, KeyKind, KeyRefused, KeyToken};
use holdfast_domain::{
    Backup, BackupId, Profile, Server, ServerAccess, ServerRef, TraceContext, UserId, UserRef,
};

use crate::client_address;
use crate::error::ApiError;
use crate::input::Fields;
use crate::operator_log;
use crate::rate_limit;
use crate::request_id;
use crate::state::ApiState;

/// A caller whose client key is good.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who.
    pub(crate) user: UserId,
    /// That user's address.
    pub(crate) email: String,
    /// Whether that user administers the service.
    pub(crate) is_admin: bool,
    /// The key that was used.
    pub(crate) key: KeyIdentifier,
    /// Where the request comes from.
    address: Option<IpAddr>,
    /// How answers are shaped.
    pub(crate) profile: Profile,
    /// By which the request is found again.
    pub(crate) trace: TraceContext,
    /// The server that the path names, if the caller has a part in it, and which.
    server: Option<(Server, ServerAccess)>,
    /// The backup that the path names, if it is that server's.
    backup: Option<Backup>,
    /// Which marks that server's lists had.
    marks: ListVersions,
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let RequestContext {
                key: found,
                server,
                backup,
                list_versions: marks,
            } = authenticate(&request, KeyKind::Client).await?;
            Ok(Self {
                user: found.key.user,
                email: found.email,
                is_admin: found.is_admin,
                key: found.key.identifier,
                address: client_address::caller_address(&request),
                profile: found.key.profile,
                trace: request_id::trace_of(&request),
                server,
                backup,
                marks,
            })
        })
    }
}

/// A caller of the application API: an administrator, with an application key that is good.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    /// By which the request is found again.
    trace: TraceContext,
    /// What stands in the operators' log.
    asked: OperatorAction,
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let found = authenticate(&request, KeyKind::Application).await?;
            if found.key.is_admin {
                let origin = RequestOrigin {
                    user: found.key.key.user,
                    email: found.key.email,
                    key: found.key.key.identifier.to_string(),
                    address: client_address::caller_address(&request),
                };
                Ok(Self {
                    trace: request_id::trace_of(&request),
                    asked: operator_log::asked(&request, origin),
                })
            } else {
                Err(ApiError::Forbidden)
            }
        })
    }
}

/// Checks the key of a request to the API that keys of kind `needed` open, and counts the request.
async fn authenticate(request: &HttpRequest, needed: KeyKind) -> Result<RequestContext, ApiError> {
    let found = find_key(request, needed).await;
    rate_limit::count(
        request,
        found.as_ref().map(|found| &found.key.key.identifier),
    )?;
    found
}

/// Finds the key of a request with what a client's path names, in one round trip, and checks the key. From
/// then on answers are in that key's profile, refusals too.
async fn find_key(request: &HttpRequest, needed: KeyKind) -> Result<RequestContext, ApiError> {
    let state = request
        .app_data::<web::Data<ApiState>>()
        .ok_or(ApiError::Internal)?;
    let token = bearer(request).ok_or(ApiError::InvalidCredentials)?;
    let of_client = |name| match needed {
        KeyKind::Client => request.match_info().get(name),
        KeyKind::Application => None,
    };
    let named = RequestKey {
        key: token.identifier().clone(),
        server: of_client("server").and_then(ServerRef::parse),
        backup: of_client("backup").and_then(BackupId::parse),
    };
    let visit = visit(
        state,
        named,
        &token,
        client_address::caller_address(request),
    )
    .await?;
    let found = &visit.key;
    request.extensions_mut().insert(found.key.profile);
    if found.key.kind == needed {
        Ok(visit)
    } else {
        Err(ApiError::WrongKind { needed })
    }
}

/// Finds what is named, and checks the key.
async fn visit(
    state: &ApiState,
    named: RequestKey,
    token: &KeyToken,
    address: Option<IpAddr>,
) -> Result<RequestContext, ApiError> {
    let visit = state.visits.find(named).await?;
    let visit = visit.ok_or(ApiError::InvalidCredentials)?;
    let checked = visit.key.key.check(token, (state.now)(), address);
    checked.map_err(|refused| match refused {
        KeyRefused::Invalid => ApiError::InvalidCredentials,
        KeyRefused::AddressNotAllowed => ApiError::AddressNotAllowed { address },
    })?;
    Ok(visit)
}

/// What a caller has shown, to be asked again while an answer goes on.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    token: KeyToken,
    address: Option<IpAddr>,
    server: ServerRef,
}

impl Pass {
    /// Takes it from a request to the client API that names a server.
    ///
    /// # Errors
    /// When there is nothing to take.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let server = request.match_info().get("server");
        Ok(Self {
            token: bearer(request).ok_or(ApiError::InvalidCredentials)?,
            address: client_address::caller_address(request),
            server: server
                .and_then(ServerRef::parse)
                .ok_or(ApiError::NotFound)?,
        })
    }

    /// Returns the public part of the key.
    pub(crate) fn key(&self) -> &KeyIdentifier {
        self.token.identifier()
    }

    /// Returns the server, as the caller may see it now, if that is so.
    ///
    /// # Errors
    /// When the key is no longer good, or the database can't be read.
    pub(crate) async fn server(
        &self,
        state: &ApiState,
    ) -> Result<Option<(Server, ServerAccess)>, ApiError> {
        let named = RequestKey {
            key: self.key().clone(),
            server: Some(self.server.clone()),
            backup: None,
        };
        let visit = visit(state, named, &self.token, self.address).await?;
        Ok(visit.server)
    }
}

fn bearer(request: &HttpRequest) -> Option<KeyToken> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    KeyToken::parse(token.trim())
}

impl Caller {
    /// Says who this is, for the audit log.
    pub(crate) fn origin(&self) -> RequestOrigin {
        RequestOrigin {
            user: self.user,
            email: self.email.clone(),
            key: self.key.to_string(),
            address: self.address,
        }
    }

    /// Returns the server that the path names, with what the caller is to it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is none that the caller has a part in.
    pub(crate) fn server(&self) -> Result<(&Server, &ServerAccess), ApiError> {
        let (server, standing) = self.server.as_ref().ok_or(ApiError::NotFound)?;
        Ok((server, standing))
    }

    /// Returns which marks the server's lists had when the caller's key was looked up.
    pub(crate) fn marks(&self) -> &ListVersions {
        &self.marks
    }

    /// Returns the server and the backup that the path names.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when either is not there for the caller.
    pub(crate) fn backup(&self) -> Result<(&Server, &ServerAccess, &Backup), ApiError> {
        let (server, standing) = self.server()?;
        let backup = self.backup.as_ref().ok_or(ApiError::NotFound)?;
        Ok((server, standing, backup))
    }
}

impl Operator {
    /// Begins what the request is to change.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn begin(&self, state: &ApiState) -> Result<Change, ApiError> {
        let change = Change::begin(&state.database, self.asked.clone()).await?;
        Ok(change.with_trace(self.trace))
    }

    /// Loads the server that a path names.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is none, or it is being deleted.
    pub(crate) async fn server(&self, state: &ApiState, server: &str) -> Result<Server, ApiError> {
        let server = ServerRef::parse(server).ok_or(ApiError::NotFound)?;
        servers::find(&state.database, &server)
            .await?
            .ok_or(ApiError::NotFound)
    }

    /// Takes the field that names a user, by UUID or address; one that names nobody is noted.
    ///
    /// # Errors
    /// When the database can't be read.
    pub(crate) async fn owner(
        &self,
        state: &ApiState,
        fields: &mut Fields,
        field: &str,
    ) -> Result<Option<UserId>, ApiError> {
        let says = "a user's UUID or email address";
        let Some(user) = fields.parsed(field, "exists", says, UserRef::parse) else {
            return Ok(None);
        };
        let found = users::find(&state.database, &user).await?;
        if found.is_none() {
            fields.refuse(field, "exists", format!("The {field} is no user."));
        }
        Ok(found.map(|user| user.id))
    }

    /// Loads the user that a path names, by UUID or address.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is none.
    pub(crate) async fn user(&self, state: &ApiState, user: &str) -> Result<users::User, ApiError> {
        let user = UserRef::parse(user).ok_or(ApiError::NotFound)?;
        users::find(&state.database, &user)
            .await?
            .ok_or(ApiError::NotFound)
    }
}

/// The one place where permission is checked.
///
/// # Errors
/// [`ApiError::Forbidden`].
pub(crate) fn permit(standing: &ServerAccess, action: Action) -> Result<(), ApiError> {
    if standing.may(action) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}
