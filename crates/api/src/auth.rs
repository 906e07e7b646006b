//! Who calls: the key in the `Authorization` header, checked.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use holdfast_db::{backups, keys, servers};
use holdfast_domain::access::Action;
use holdfast_domain::activity::Origin;
use holdfast_domain::key::{KeyIdentifier, KeyKind, KeyRefused, KeyToken};
use holdfast_domain::{Backup, BackupId, Profile, Server, ServerRef, Standing, UserId};

use crate::error::ApiError;
use crate::origin;
use crate::rate;
use crate::state::ApiState;

/// A caller whose client key is good.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who.
    pub(crate) user: UserId,
    /// Whether that user administers the service.
    pub(crate) is_admin: bool,
    /// That user's address.
    pub(crate) email: String,
    /// The key that was used.
    pub(crate) key: KeyIdentifier,
    /// Where the request comes from.
    address: Option<IpAddr>,
    /// How answers are shaped.
    pub(crate) profile: Profile,
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = authenticate(&request).await;
            if let Ok(caller) = &caller {
                request.extensions_mut().insert(caller.profile);
            }
            rate::count(&request, caller.as_ref().map(|caller| &caller.key))?;
            caller
        })
    }
}

async fn authenticate(request: &HttpRequest) -> Result<Caller, ApiError> {
    let state = request
        .app_data::<web::Data<ApiState>>()
        .ok_or(ApiError::Internal)?;
    let token = bearer(request).ok_or(ApiError::InvalidCredentials)?;
    let found = keys::find(&state.database, token.identifier())
        .await?
        .ok_or(ApiError::InvalidCredentials)?;
    let address = origin::client_address(request, &state.options.trusted_proxies);
    found
        .key
        .check(&token, (state.now)(), address)
        .map_err(|refused| match refused {
            KeyRefused::Invalid => ApiError::InvalidCredentials,
            KeyRefused::AddressNotAllowed => ApiError::AddressNotAllowed { address },
        })?;
    match found.key.kind {
        KeyKind::Client => {}
        KeyKind::Application => return Err(ApiError::WrongKind),
    }
    Ok(Caller {
        user: found.key.user,
        is_admin: found.is_admin,
        email: found.email,
        key: found.key.identifier,
        address,
        profile: found.key.profile,
    })
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
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            user: self.user,
            email: self.email.clone(),
            key: self.key.to_string(),
            address: self.address,
        }
    }

    /// Loads the server that a path names, with what the caller is to it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is none that the caller has a part in.
    pub(crate) async fn server(
        &self,
        state: &ApiState,
        server: &str,
    ) -> Result<(Server, Standing), ApiError> {
        let server = ServerRef::parse(server).ok_or(ApiError::NotFound)?;
        servers::find_for(&state.database, &server, self.user, self.is_admin)
            .await?
            .ok_or(ApiError::NotFound)
    }

    /// Loads the server and the backup that a path names.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when either is not there for the caller.
    pub(crate) async fn backup(
        &self,
        state: &ApiState,
        server: &str,
        backup: &str,
    ) -> Result<(Server, Standing, Backup), ApiError> {
        let (server, standing) = self.server(state, server).await?;
        let backup = BackupId::parse(backup).ok_or(ApiError::NotFound)?;
        let backup = backups::find(&state.database, server.id, backup)
            .await?
            .ok_or(ApiError::NotFound)?;
        Ok((server, standing, backup))
    }
}

/// The one place where permission is checked.
///
/// # Errors
/// [`ApiError::Forbidden`].
pub(crate) fn permit(standing: &Standing, action: Action) -> Result<(), ApiError> {
    if standing.may(action) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}
