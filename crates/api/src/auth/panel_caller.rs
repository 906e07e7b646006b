//! Callers with the panel's credentials: which requests the panel answers for, and what it said.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, COOKIE};
use actix_web::{HttpMessage, HttpRequest, web};

use holdfast_db::request_lookup::LookupRequest;
use holdfast_db::{backups, servers};
use holdfast_domain::panel::PanelServer;
use holdfast_domain::{Backup, BackupId, Profile, Server, ServerId, ServerRef};

use super::csrf;
use super::keys::bearer;
use crate::client_address;
use crate::error::{ApiError, PanelRefused};
use crate::panel_auth::{ASKS, NoAccess, PanelAuth, PanelCredential, PanelQuestion, PanelRefusal};
use crate::rate_limit::{self, Guess};
use crate::state::ApiState;

/// How long an answer that was asked for a request counts as new.
const NEW: Duration = Duration::from_secs(1);

/// A caller whose access the panel decides.
#[derive(Clone, Debug)]
pub(super) struct PanelCaller {
    /// The name under which the caller is counted.
    pub(super) subject: String,
    pub(super) request: PanelQuestion,
    /// What the panel has said.
    pub(super) answer: Arc<PanelServer>,
    /// When the panel answered, if it was asked for this request.
    answered_at: Option<Instant>,
}

/// What the request of a panel's caller is about.
pub(super) struct PanelContext {
    pub(super) caller: PanelCaller,
    pub(super) server: Server,
    /// The backup in the path, if it belongs to the server.
    pub(super) backup: Option<Backup>,
}

/// A request whose credential may be the panel's.
pub(super) enum Candidate {
    /// It is not. A key of this service is needed.
    No,
    /// It is known to this service, and was counted.
    OwnKey(Guess),
    /// The panel has accepted it.
    Panel(Box<PanelContext>),
}

/// Asks the panel about a request, if its credential is not one of this service.
pub(super) async fn of_request(request: &HttpRequest) -> Result<Candidate, ApiError> {
    let Some(state) = request.app_data::<web::Data<ApiState>>() else {
        return Ok(Candidate::No);
    };
    let (Some(panel), Some(server)) = (&state.panel, request.match_info().get("server")) else {
        return Ok(Candidate::No);
    };
    if request.headers().contains_key(ASKS) {
        tracing::error!("auth.panel.url leads to this service: set it to the URL of the panel");
        return Ok(Candidate::No);
    }
    let cookies = cookies(request);
    let Some(credential) = credential(request, &cookies, state, panel) else {
        return Ok(Candidate::No);
    };
    let hash = panel.hash(&credential);
    let subject = match credential.is_key() {
        true => format!("panel:{}", hex::encode(&hash[..16])),
        // The cookie of a session changes all the time.
        false => rate_limit::address_subject(request),
    };
    let guess = Guess::count(request, Some(&hash))?;
    if is_own_key(request, state).await? {
        return Ok(Candidate::OwnKey(guess));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes
        && !credential.is_key()
        && !csrf::is_proven(request, &cookies, panel.url(), &state.options)
    {
        return Err(ApiError::Panel(PanelRefused::CsrfMismatch));
    }
    let server = ServerRef::parse(server).ok_or(ApiError::NotFound)?;
    let address = client_address::of_request(request);
    let panel_request = PanelQuestion {
        credential,
        server,
        address: address.ok_or(ApiError::AddressNotAllowed { address })?,
    };

    let is_proven = guess == Guess::Proven;
    if is_proven {
        // Before the panel is asked, so that one caller cannot flood it either.
        rate_limit::count_caller(request, &subject)?;
    }
    let answer = match changes {
        true => panel.ask(&panel_request, is_proven).await,
        false => panel.read(&panel_request, is_proven).await,
    };
    // Without an answer, the request stays counted: it has asked the panel in vain.
    if !matches!(answer, Err(NoAccess::PanelDown)) {
        let is_wrong = answer == Err(NoAccess::Refused(PanelRefusal::Credential));
        let found = match is_wrong {
            true => Err(&ApiError::InvalidCredentials),
            false => Ok(()),
        };
        guess.end(request, &hash, found)?;
        if !is_wrong {
            request.extensions_mut().insert(Profile::Pterodactyl);
            if !is_proven {
                rate_limit::count_caller(request, &subject)?;
            }
        }
    }
    let caller = PanelCaller {
        subject,
        request: panel_request,
        answer: answer.map_err(api_error)?,
        answered_at: changes.then(Instant::now),
    };
    let context = caller.load(request, state).await?;
    Ok(Candidate::Panel(Box::new(context)))
}

impl PanelCaller {
    /// Loads the server that the panel has named, and the backup in the path.
    async fn load(self, request: &HttpRequest, state: &ApiState) -> Result<PanelContext, ApiError> {
        let id = self.answer.id;
        let server = find_server(state, id).await?.ok_or(ApiError::NotFound)?;
        let backup = request.match_info().get("backup").and_then(BackupId::parse);
        let backup = match backup {
            Some(backup) => backups::find(&state.database, id, backup).await?,
            None => None,
        };
        Ok(PanelContext {
            caller: self,
            server,
            backup,
        })
    }

    /// Asks the panel anew, unless it has just been asked for this request.
    pub(super) async fn confirm(&self, state: &ApiState) -> Result<Arc<PanelServer>, ApiError> {
        if self
            .answered_at
            .is_some_and(|answered_at| answered_at.elapsed() < NEW)
        {
            return Ok(Arc::clone(&self.answer));
        }
        let panel = state.panel.as_ref().ok_or(ApiError::InvalidCredentials)?;
        let answer = panel.ask(&self.request, true).await.map_err(api_error)?;
        // A short identifier must not lead to another server meanwhile.
        if answer.id == self.answer.id {
            Ok(answer)
        } else {
            Err(ApiError::NotFound)
        }
    }

    /// Returns the caller's address.
    pub(super) fn address(&self) -> IpAddr {
        self.request.address
    }
}

/// Loads a server for the callers of the panel. A server that another panel manages is not found,
/// whatever this panel says about its UUID.
pub(crate) async fn find_server(
    state: &ApiState,
    id: ServerId,
) -> Result<Option<Server>, ApiError> {
    let panel = state.panel.as_ref().ok_or(ApiError::InvalidCredentials)?;
    let Some(server) = servers::find(&state.database, &ServerRef::Id(id)).await? else {
        return Ok(None);
    };
    if server.managed_by.is_some()
        && !servers::is_managed_by(&state.database, id, panel.url()).await?
    {
        tracing::warn!(
            server = %id,
            "the panel of auth.panel.url does not manage this server: the setting must be the URL \
             in the settings of Wings (`remote`)"
        );
        return Ok(None);
    }
    Ok(Some(server))
}

/// Returns the error for a caller without access.
pub(super) fn api_error(reason: NoAccess) -> ApiError {
    match reason {
        NoAccess::Refused(PanelRefusal::Credential) => ApiError::InvalidCredentials,
        NoAccess::Refused(PanelRefusal::NotFound) => ApiError::NotFound,
        NoAccess::Refused(PanelRefusal::TooManyRequests {
            retry_after_seconds,
        }) => ApiError::TooManyRequests {
            retry_after_seconds,
        },
        NoAccess::Refused(PanelRefusal::Forbidden { detail }) => {
            ApiError::Panel(PanelRefused::Forbidden { detail })
        }
        NoAccess::Refused(PanelRefusal::TwoFactorRequired) => {
            ApiError::Panel(PanelRefused::TwoFactorRequired)
        }
        NoAccess::PanelDown => ApiError::Panel(PanelRefused::Unavailable),
    }
}

/// Reads a credential that may be the panel's. Returns `None` for a secret of this service, and
/// without a credential. If there is an `Authorization` header, cookies do not count.
fn credential(
    request: &HttpRequest,
    cookies: &[(&str, &str)],
    state: &ApiState,
    panel: &PanelAuth,
) -> Option<PanelCredential> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else {
        let takes_cookies = panel.takes_session_cookies();
        return takes_cookies.then(|| PanelCredential::session(cookies))?;
    };
    if headers.next().is_some() {
        return None;
    }
    let (scheme, key) = header.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    let is_generated_here = bearer(request).is_some_and(|token| token.has_generated_form());
    if !scheme.eq_ignore_ascii_case("bearer") || is_generated_here || is_of_node(key, state) {
        return None;
    }
    PanelCredential::key(key)
}

/// Returns whether a key is the secret of the node, which is for the panel and Wings only.
fn is_of_node(key: &str, state: &ApiState) -> bool {
    let Some(node) = &state.options.wings else {
        return false;
    };
    let id = format!("{}.", node.token_id);
    node.token.matches(key.strip_prefix(&id).unwrap_or(key))
}

/// Returns whether this service has a key with the public part of the request's key. Its secret may
/// be wrong.
async fn is_own_key(request: &HttpRequest, state: &ApiState) -> Result<bool, ApiError> {
    let Some(token) = bearer(request) else {
        return Ok(false);
    };
    let lookup = LookupRequest {
        key: token.identifier().clone(),
        server: None,
        backup: None,
    };
    Ok(state.request_lookup.find(lookup).await?.is_some())
}

/// Reads the cookies of a request. Those with characters that a cookie cannot have are left out.
fn cookies(request: &HttpRequest) -> Vec<(&str, &str)> {
    let headers = request.headers().get_all(COOKIE);
    let texts = headers.filter_map(|header| header.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| is_cookie_text(name) && !name.is_empty() && is_cookie_text(value))
        .collect()
}

fn is_cookie_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'))
}
