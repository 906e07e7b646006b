//! Callers with the panel's own credentials: the panel decides what they may do.
//!
//! The panel is asked with the caller's credential, and with no other one. Reads may use an answer
//! of the last seconds, and one of the last minute while the panel does not answer. Everything that
//! changes something asks anew. This module knows nothing of requests to this service.

mod answer;
mod cache;
mod client;
mod counts;
mod credential;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use holdfast_domain::ServerRef;
use holdfast_domain::panel::PanelServer;
use holdfast_storage::CaBundle;

pub(crate) use self::client::{ASKS, PanelQuestion, PanelRefusal};
pub(crate) use self::counts::PanelCounts;
pub(crate) use self::credential::PanelCredential;

use self::cache::{AnswerCache, CacheKey, GRACE, Grant};
use self::client::PanelClient;

/// How many requests to the panel run at once.
const REQUESTS_MAX: usize = 32;
/// How many of them are for callers whose credential was never valid here.
const NEWCOMERS_MAX: usize = 16;
/// How long a request waits until it may be sent.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause after a 429. The panel may lift its limit before the time that it names.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The settings of `auth.panel`.
#[derive(Clone, Debug)]
pub struct PanelAuthOptions {
    /// The panel's URL, without a slash at the end.
    pub url: String,
    /// Certificates of authorities to trust in addition to those of the machine.
    pub ca_bundle: Option<CaBundle>,
    /// How long reads use an answer.
    pub cache_for: Duration,
    /// Whether the cookies of the panel's sessions count as credentials.
    pub session_cookies: bool,
}

impl PanelAuthOptions {
    /// Returns whether credentials are sent to another machine without TLS.
    pub fn is_readable_on_the_way(&self) -> bool {
        let Ok(url) = reqwest::Url::parse(&self.url) else {
            return false;
        };
        let host = url.host_str().unwrap_or_default();
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        url.scheme() == "http" && !is_here
    }
}

/// The HTTP client for the panel could not be created.
#[derive(Debug, thiserror::Error)]
#[error("the HTTPS client for auth.panel.url could not be created")]
pub struct PanelAuthError(#[from] reqwest::Error);

/// Asks the panel about callers, and remembers its answers.
pub struct PanelAuth {
    client: PanelClient,
    options: PanelAuthOptions,
    /// Hashes the credentials, so that no hash of this process means anything elsewhere.
    hash_key: [u8; 32],
    cache: AnswerCache,
    /// The questions that reads are asking, so that they ask each of them once.
    asking: Mutex<HashMap<CacheKey, SharedRefusal>>,
    requests: Semaphore,
    newcomers: Semaphore,
    counts: PanelCounts,
}

/// The access of a caller, or why there is none.
type Answer = Result<Arc<PanelServer>, NoAccess>;

/// Why several reads with one question have no access, once the first of them knows it. If they
/// have access, the cache says so.
type SharedRefusal = Arc<tokio::sync::Mutex<Option<NoAccess>>>;

/// Why there is no access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAccess {
    /// The panel refuses the caller.
    Refused(PanelRefusal),
    /// The panel has not answered, and there is no answer of the last minute.
    PanelDown,
}

impl PanelAuth {
    /// Creates the client.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(options: PanelAuthOptions) -> Result<Self, PanelAuthError> {
        let authorities = options.ca_bundle.as_ref().map(CaBundle::certificates);
        Ok(Self {
            client: PanelClient::new(&options.url, authorities.unwrap_or_default())?,
            options,
            hash_key: rand::random(),
            cache: AnswerCache::default(),
            asking: Mutex::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            newcomers: Semaphore::new(NEWCOMERS_MAX),
            counts: PanelCounts::default(),
        })
    }

    /// Returns the panel's URL, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.options.url
    }

    /// Returns the numbers of requests to the panel.
    pub(crate) fn counts(&self) -> PanelCounts {
        self.counts.clone()
    }

    /// Returns whether the cookies of the panel's sessions count as credentials.
    pub(crate) fn takes_session_cookies(&self) -> bool {
        self.options.session_cookies
    }

    /// Returns the keyed hash of a credential.
    pub(crate) fn hash(&self, credential: &PanelCredential) -> [u8; 32] {
        *self.hasher(credential).finalize().as_bytes()
    }

    /// Returns the caller's access for a request that changes nothing.
    pub(crate) async fn read(&self, request: &PanelQuestion, is_proven: bool) -> Answer {
        let key = self.cache_key(request);
        if let Some(grant) = self.known(&key) {
            return Ok(grant.server);
        }
        let question = Question::begin(self, key);
        let mut no_access = question.no_access.lock().await;
        // Another read may have asked meanwhile.
        if let Some(grant) = self.known(&key) {
            return Ok(grant.server);
        }
        if let Some(no_access) = &*no_access {
            return Err(no_access.clone());
        }
        let answer = match self.ask(request, is_proven).await {
            Err(NoAccess::PanelDown) => {
                let grant = self.cache.get(&key, GRACE, Instant::now());
                grant.map(|grant| grant.server).ok_or(NoAccess::PanelDown)
            }
            answer => answer,
        };
        *no_access = answer.as_ref().err().cloned();
        answer
    }

    /// Returns the answer that a read may use without asking, if there is one.
    fn known(&self, key: &CacheKey) -> Option<Grant> {
        let now = Instant::now();
        let grant = self.cache.get(key, self.options.cache_for, now);
        grant.or_else(|| self.cache.get_while_down(key, now))
    }

    /// Asks the panel, whatever it has said before.
    pub(crate) async fn ask(&self, request: &PanelQuestion, is_proven: bool) -> Answer {
        let key = self.cache_key(request);
        if let Some(pause) = self.cache.pause(&key, Instant::now()) {
            let seconds = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
            let retry_after_seconds = seconds.saturating_add(1);
            return Err(NoAccess::Refused(PanelRefusal::TooManyRequests {
                retry_after_seconds,
            }));
        }
        let Some(_turn) = self.turn(is_proven).await else {
            tracing::warn!("too many requests wait for the panel");
            return Err(NoAccess::PanelDown);
        };
        let asked_at = Instant::now();
        match self.client.ask(request).await {
            Ok(Ok(server)) => {
                counts::count(&self.counts, "granted");
                let server = Arc::new(server);
                let grant = Grant {
                    server: Arc::clone(&server),
                    asked_at,
                };
                self.cache.grant(key, grant);
                Ok(server)
            }
            Ok(Err(refusal)) => {
                counts::count(&self.counts, "refused");
                self.cache
                    .refuse(key, pause_after(&refusal), Instant::now());
                Err(NoAccess::Refused(refusal))
            }
            Err(failure) => {
                counts::count(&self.counts, "failed");
                tracing::warn!(error = %failure, "cannot ask the panel about a caller");
                self.cache.fail(key, Instant::now());
                Err(NoAccess::PanelDown)
            }
        }
    }

    /// Waits until a request may be sent. Unknown credentials leave places for the others.
    async fn turn(&self, is_proven: bool) -> Option<Turn<'_>> {
        let take = async {
            let newcomer = match is_proven {
                true => None,
                false => Some(self.newcomers.acquire().await.ok()?),
            };
            let request = self.requests.acquire().await.ok()?;
            Some(Turn(request, newcomer))
        };
        tokio::time::timeout(TURN_TIMEOUT, take).await.ok()?
    }

    fn hasher(&self, credential: &PanelCredential) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.hash_key);
        let value = credential.value().as_bytes();
        hasher.update(&[u8::from(credential.is_key())]);
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
        hasher
    }

    fn cache_key(&self, request: &PanelQuestion) -> CacheKey {
        let mut hasher = self.hasher(&request.credential);
        let server = match &request.server {
            ServerRef::Id(id) => id.to_string(),
            ServerRef::Short(short) => short.clone(),
        };
        hasher.update(&(server.len() as u64).to_le_bytes());
        hasher.update(server.as_bytes());
        match request.address {
            IpAddr::V4(address) => hasher.update(&address.octets()),
            IpAddr::V6(address) => hasher.update(&address.octets()),
        };
        *hasher.finalize().as_bytes()
    }
}

/// The places of a request to the panel. They are free when it is dropped.
struct Turn<'a>(
    #[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>,
    #[expect(dead_code, reason = "held until it is dropped")] Option<SemaphorePermit<'a>>,
);

/// A question that reads are asking. The last of them removes it.
struct Question<'a> {
    auth: &'a PanelAuth,
    key: CacheKey,
    no_access: SharedRefusal,
}

impl<'a> Question<'a> {
    fn begin(auth: &'a PanelAuth, key: CacheKey) -> Self {
        let mut asking = auth.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let no_access = Arc::clone(asking.entry(key).or_default());
        Self {
            auth,
            key,
            no_access,
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut asking = self
            .auth
            .asking
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One reference is in the map, and one is here.
        if Arc::strong_count(&self.no_access) <= 2 {
            asking.remove(&self.key);
        }
    }
}

/// Returns for how long the panel is not asked again about a caller.
fn pause_after(refusal: &PanelRefusal) -> Option<Duration> {
    let PanelRefusal::TooManyRequests {
        retry_after_seconds,
    } = refusal
    else {
        return None;
    };
    Some(Duration::from_secs((*retry_after_seconds).into()).min(PAUSE_MAX))
}

impl fmt::Debug for PanelAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanelAuth").field(&self.options.url).finish()
    }
}
