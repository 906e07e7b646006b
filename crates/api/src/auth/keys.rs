//! Keys of this service: the look-up, the check, and the lock in the transaction that acts.

use std::net::IpAddr;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpMessage, HttpRequest, web};

use holdfast_db::Transaction;
use holdfast_db::keys::KeyOfUser;
use holdfast_db::request_lookup::{LookupRequest, RequestContext};
use holdfast_db::standing::{self, Standing};
use holdfast_domain::key::{KeyKind, KeyRefused, KeyToken};
use holdfast_domain::{BackupId, ServerId, ServerRef, UserId};

use crate::client_address;
use crate::error::ApiError;
use crate::rate_limit::{self, Guess};
use crate::state::ApiState;

/// Checks that a request has a valid key of the kind `needed`, and counts it for the rate limit.
///
/// A secret that was not valid before is counted by its address before it is looked up. So a flood
/// of wrong secrets does not reach the database.
pub(crate) async fn authenticate(
    request: &HttpRequest,
    needed: KeyKind,
) -> Result<RequestContext, ApiError> {
    let token = bearer(request);
    let hash = token.as_ref().map(KeyToken::secret_hash);
    let guess = Guess::count(request, hash.as_ref())?;
    let token = token.ok_or(ApiError::InvalidCredentials)?;
    authenticate_counted(request, needed, &token, guess).await
}

/// Does the same for a key that was counted.
pub(super) async fn authenticate_counted(
    request: &HttpRequest,
    needed: KeyKind,
    token: &KeyToken,
    guess: Guess,
) -> Result<RequestContext, ApiError> {
    let context = check_key(request, token, needed).await;
    guess.end(request, &token.secret_hash(), context.as_ref().map(|_| ()))?;
    let context = context?;
    let subject = format!("key:{}", context.key.api_key.identifier);
    rate_limit::count_caller(request, &subject)?;
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

/// Returns the key of a request.
pub(crate) fn bearer(request: &HttpRequest) -> Option<KeyToken> {
    KeyToken::parse(bearer_text(request)?)
}

/// Returns the text after `Bearer`. With two headers, a proxy may have checked the other one.
pub(crate) fn bearer_text(request: &HttpRequest) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next()?.to_str().ok()?;
    if headers.next().is_some() {
        return None;
    }
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
