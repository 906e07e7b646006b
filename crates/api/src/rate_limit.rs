//! How many requests a key may make in a minute, and an address without one.
//!
//! Each process counts in memory, which costs a request nothing, and once a
//! second adds its counts to those of the others in the database. Several
//! processes together so let through at most what they take in one second more
//! than the limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, rates};
use holdfast_domain::key::KeyIdentifier;

use holdfast_domain::error_chain::chain;

use crate::client_address;
use crate::error::ApiError;
use crate::state::ApiState;

const EXCHANGE: Duration = Duration::from_secs(1);
/// How many subjects are told apart. Beyond that, newcomers share one count: memory stays bounded
/// whatever a flood makes up.
const SUBJECTS_MAX: usize = 100_000;
const NEWCOMERS: &str = "newcomers";

/// Counts requests.
#[derive(Debug)]
pub struct RateLimiter {
    per_minute: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    minute: i64,
    subjects: HashMap<String, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Requests to all processes, as of the last exchange.
    told: u64,
    /// Requests to this process since.
    own: u64,
}

/// What a request is told about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    limit: u32,
    remaining: u64,
    /// When the minute ends, in seconds since 1970.
    reset: i64,
    /// How long that is from now, in seconds.
    wait: u32,
    allowed: bool,
}

impl RateLimiter {
    /// Begins to count and, until `stop`, to exchange counts with other processes. A limit of 0
    /// counts nothing.
    pub fn begin(
        database: &Database,
        per_minute: u32,
        now: fn() -> DateTime<Utc>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let limiter = Arc::new(Self {
            per_minute,
            counts: Mutex::default(),
        });
        if per_minute > 0 {
            tokio::spawn(exchange(Arc::clone(&limiter), database.clone(), now, stop));
        }
        limiter
    }

    fn counts(&self, now: DateTime<Utc>) -> MutexGuard<'_, Counts> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.timestamp().div_euclid(60);
        if counts.minute != minute {
            *counts = Counts {
                minute,
                subjects: HashMap::new(),
            };
        }
        counts
    }

    fn count(&self, subject: &str, now: DateTime<Utc>) -> Option<Verdict> {
        if self.per_minute == 0 {
            return None;
        }
        let mut counts = self.counts(now);
        let full = counts.subjects.len() >= SUBJECTS_MAX && !counts.subjects.contains_key(subject);
        let subject = if full { NEWCOMERS } else { subject };
        let count = counts.subjects.entry(subject.to_owned()).or_default();
        let limit = u64::from(self.per_minute);
        let allowed = count.told + count.own < limit;
        if allowed {
            count.own += 1;
        }
        let remaining = limit.saturating_sub(count.told + count.own);
        let reset = (counts.minute + 1) * 60;
        let wait = u32::try_from(reset - now.timestamp())
            .unwrap_or(60)
            .clamp(1, 60);
        Some(Verdict {
            limit: self.per_minute,
            remaining,
            reset,
            wait,
            allowed,
        })
    }
}

async fn exchange(
    limiter: Arc<RateLimiter>,
    database: Database,
    now: fn() -> DateTime<Utc>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXCHANGE) => {}
        }
        let (minute, subjects, own) = {
            let counts = limiter.counts(now());
            let own = counts.subjects.iter().filter(|(_, count)| count.own > 0);
            let (subjects, own): (Vec<String>, Vec<u64>) = own
                .map(|(subject, count)| (subject.clone(), count.own))
                .unzip();
            (counts.minute, subjects, own)
        };
        if subjects.is_empty() {
            continue;
        }
        let told: Vec<i64> = own
            .iter()
            .map(|n| i64::try_from(*n).unwrap_or(i64::MAX))
            .collect();
        let sums = match rates::add(&database, minute, &subjects, &told).await {
            Ok(sums) => sums,
            Err(error) => {
                // Each process then counts for itself; nobody is refused for it.
                tracing::warn!(
                    error = chain(&error),
                    "request counts could not be exchanged"
                );
                continue;
            }
        };
        let mut counts = limiter.counts(now());
        if counts.minute == minute {
            for (subject, own) in subjects.iter().zip(own) {
                if let Some(count) = counts.subjects.get_mut(subject) {
                    count.own = count.own.saturating_sub(own);
                }
            }
            for (subject, sum) in sums {
                if let Some(count) = counts.subjects.get_mut(&subject) {
                    count.told = sum;
                }
            }
        }
    }
}

/// Counts a request by its key, or, when it brought no good one, by its address.
///
/// # Errors
/// [`ApiError::TooManyRequests`]. A failure that is no refusal (the database is away) is not counted.
pub(crate) fn count(
    request: &HttpRequest,
    key: Result<&KeyIdentifier, &ApiError>,
) -> Result<(), ApiError> {
    let subject = match key {
        Ok(key) => format!("key:{key}"),
        Err(ApiError::Unavailable | ApiError::Internal) => return Ok(()),
        Err(_) => by_address(request),
    };
    match count_subject(request, &subject) {
        Some(verdict) if !verdict.allowed => Err(ApiError::TooManyRequests {
            retry_after_seconds: verdict.wait,
        }),
        _ => Ok(()),
    }
}

fn count_subject(request: &HttpRequest, subject: &str) -> Option<Verdict> {
    let state = request.app_data::<web::Data<ApiState>>()?;
    let verdict = state.limiter.count(subject, (state.now)())?;
    request.extensions_mut().insert(verdict);
    Some(verdict)
}

/// Names the caller's address; of IPv6 the network that one customer gets, since its holder has
/// 2⁶⁴ addresses to choose from.
fn by_address(request: &HttpRequest) -> String {
    match client_address::caller_address(request) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Some(address) => format!("address:{address}"),
        None => "address:unknown".to_owned(),
    }
}

/// Writes what is known of the limit into an answer's headers. An answer that came before anybody
/// asked for a key (no such path) counts by address.
pub(crate) fn tell(response: &mut ServiceResponse<BoxBody>) {
    let told = response.request().extensions().get::<Verdict>().copied();
    let Some(verdict) =
        told.or_else(|| count_subject(response.request(), &by_address(response.request())))
    else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("x-ratelimit-limit"),
        verdict.limit.into(),
    );
    headers.insert(
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderValue::from(verdict.remaining),
    );
    headers.insert(
        HeaderName::from_static("x-ratelimit-reset"),
        HeaderValue::from(verdict.reset),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    #[test]
    fn a_subject_has_its_minute_and_nobody_elses_count() {
        let limiter = RateLimiter {
            per_minute: 2,
            counts: Mutex::default(),
        };
        let ask = |subject, second| {
            let verdict = limiter.count(subject, at(second)).expect("a verdict");
            (
                verdict.allowed,
                verdict.remaining,
                verdict.reset,
                verdict.wait,
            )
        };
        assert_eq!(ask("a", 119), (true, 1, 120, 1));
        assert_eq!(ask("a", 120), (true, 1, 180, 60));
        assert_eq!(ask("a", 121), (true, 0, 180, 59));
        assert_eq!(ask("a", 150), (false, 0, 180, 30));
        assert_eq!(ask("b", 150), (true, 1, 180, 30));
        assert_eq!(ask("a", 180), (true, 1, 240, 60));
    }

    #[test]
    fn what_other_processes_took_counts_and_a_limit_of_0_is_none() {
        let limiter = RateLimiter {
            per_minute: 5,
            counts: Mutex::default(),
        };
        limiter
            .counts(at(0))
            .subjects
            .insert("a".into(), Count { told: 4, own: 0 });
        assert!(limiter.count("a", at(0)).expect("a verdict").allowed);
        assert!(!limiter.count("a", at(0)).expect("a verdict").allowed);
        let off = RateLimiter {
            per_minute: 0,
            counts: Mutex::default(),
        };
        assert_eq!(off.count("a", at(0)), None);
    }

    #[test]
    fn a_flood_of_subjects_shares_one_count() {
        let limiter = RateLimiter {
            per_minute: 1,
            counts: Mutex::default(),
        };
        for i in 0..SUBJECTS_MAX {
            assert!(
                limiter
                    .count(&i.to_string(), at(0))
                    .expect("a verdict")
                    .allowed
            );
        }
        assert!(limiter.count("one more", at(0)).expect("a verdict").allowed);
        assert!(
            !limiter
                .count("and another", at(0))
                .expect("a verdict")
                .allowed
        );
        assert!(limiter.counts(at(0)).subjects.len() <= SUBJECTS_MAX + 1);
    }
}
