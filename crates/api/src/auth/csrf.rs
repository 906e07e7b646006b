//! The proof that a page of the panel has sent a request with cookies, and no other web page.
//!
//! A browser adds cookies to requests of any page. So such a request must repeat the panel's
//! `XSRF-TOKEN` cookie in a header, which other pages cannot read, and must come from a page of the
//! same origin.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, ORIGIN};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use subtle::ConstantTimeEq as _;

use crate::client_address;
use crate::state::ApiOptions;

/// The cookie that the panel's pages repeat in the header.
const COOKIE: &str = "XSRF-TOKEN";
const HEADER: HeaderName = HeaderName::from_static("x-xsrf-token");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The shortest token. Those of panels have more than 200 characters.
const TOKEN_MIN: usize = 16;

/// Returns whether a request with these cookies proves that a page of the panel has sent it.
pub(super) fn is_proven(
    request: &HttpRequest,
    cookies: &[(&str, &str)],
    panel_url: &str,
    options: &ApiOptions,
) -> bool {
    repeats_token(request, cookies) && is_same_origin(request, panel_url, options)
}

/// Compares the header with the cookie. Scripts send the cookie's value decoded.
fn repeats_token(request: &HttpRequest, cookies: &[(&str, &str)]) -> bool {
    let mut values = cookies.iter().filter(|(name, _)| *name == COOKIE);
    let (Some((_, cookie)), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some(Some(header)) = single(request, &HEADER) else {
        return false;
    };
    let decoded: Vec<u8> = percent_decode_str(cookie).collect();
    let is_equal = decoded.ct_eq(header.as_bytes()) | cookie.as_bytes().ct_eq(header.as_bytes());
    header.len() >= TOKEN_MIN && is_equal.into()
}

/// Checks what the browser says about the page. It must say something.
fn is_same_origin(request: &HttpRequest, panel_url: &str, options: &ApiOptions) -> bool {
    let (Some(site), Some(origin)) = (single(request, &SITE), single(request, &ORIGIN)) else {
        return false;
    };
    let is_own = |origin: &str| {
        let own = client_address::requested_url(request, &options.trusted_proxies);
        let known = [
            Some(panel_url),
            options.public_url.as_deref(),
            Some(own.as_str()),
        ];
        known
            .into_iter()
            .flatten()
            .any(|url| has_origin(url, origin))
    };
    (site.is_some() || origin.is_some())
        && site.is_none_or(|site| site == "same-origin")
        && origin.is_none_or(is_own)
}

fn has_origin(url: &str, origin: &str) -> bool {
    let of_url = Url::parse(url).map(|url| url.origin().ascii_serialization());
    of_url.is_ok_and(|of_url| of_url.eq_ignore_ascii_case(origin))
}

/// Returns the value of a header, if there is one. Returns `None` if there are several, or if it is
/// not text.
fn single<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else {
        return Some(None);
    };
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(Some)
}
