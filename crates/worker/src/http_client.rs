//! The HTTP client for the panel and for its daemon, Wings.
//!
//! It follows no redirects, so that the token never leaves the configured host, uses no proxy from
//! the environment, and limits the time and the size of each answer. The token is never in an error
//! or in a log.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, redirect};

/// The timeout of the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of the whole request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A client for one host, with its credential.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client,
    base_url: String,
}

/// An answer with any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It exceeded the timeout.
    #[error("it did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    TooSlow,
    /// The certificate was refused, or the other end does not use TLS.
    #[error(
        "its TLS certificate is not accepted. The host in the URL must be a name in the \
         certificate, and the certificate authorities of this machine must include its issuer"
    )]
    Tls(#[source] reqwest::Error),
    /// The connection failed or broke.
    #[error("it could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The answer is larger than what is read of it.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
    /// The client or the request could not be created.
    #[error("the request could not be created")]
    Request(#[source] reqwest::Error),
    /// The token can't be sent.
    #[error("the token contains characters that a header can't contain")]
    Token,
}

impl HttpClient {
    /// Creates a client for `base_url`, which has no slash at the end.
    ///
    /// # Errors
    /// If TLS can't be set up, or `bearer` can't be sent.
    pub(crate) fn new(
        base_url: &str,
        bearer: &str,
        accept: &'static str,
    ) -> Result<Self, HttpError> {
        let mut headers = HeaderMap::new();
        let mut credential =
            HeaderValue::from_str(&format!("Bearer {bearer}")).map_err(|_| HttpError::Token)?;
        credential.set_sensitive(true);
        headers.insert(AUTHORIZATION, credential);
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .default_headers(headers)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            // Such a connection does not leave the machine, where a certificate protects nothing.
            .tls_danger_accept_invalid_certs(is_loopback(base_url))
            .build()
            .map_err(|error| HttpError::Request(error.without_url()))?;
        Ok(Self {
            client,
            base_url: base_url.to_owned(),
        })
    }

    /// Sends a request and reads the answer, with a body of at most `max_bytes`.
    ///
    /// # Errors
    /// If there is no complete answer. An answer with an error status is not an error here.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        json: Option<String>,
        max_bytes: usize,
    ) -> Result<HttpAnswer, HttpError> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base_url));
        if let Some(json) = json {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(json);
        }
        let mut response = request.send().await.map_err(not_answered)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(not_answered)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(HttpError::TooLarge(max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, body })
    }
}

fn not_answered(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if error.is_timeout() {
        HttpError::TooSlow
    } else if error.is_builder() {
        HttpError::Request(error)
    } else if error.is_connect() && is_tls(&error) {
        HttpError::Tls(error)
    } else {
        HttpError::Unreachable(error)
    }
}

/// Returns whether TLS has failed. Its library is not visible here, only the texts of its errors.
fn is_tls(error: &reqwest::Error) -> bool {
    let text = holdfast_domain::error_chain::chain(error);
    [
        "certificate",
        "InvalidContentType",
        "corrupt message",
        "AlertReceived",
    ]
    .iter()
    .any(|part| text.contains(part))
}

fn is_loopback(url: &str) -> bool {
    let url = reqwest::Url::parse(url);
    let Some(host) = url.as_ref().ok().and_then(reqwest::Url::host_str) else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("https://127.9.9.9", true),
            ("https://[::1]:8080", true),
            ("https://localhost", true),
            ("https://localhost.example.com", false),
            ("https://127.0.0.1.example.com", false),
            ("https://10.0.0.5:8080", false),
            ("https://[2001:db8::1]", false),
            ("not a URL", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }

    #[test]
    fn the_token_is_not_in_debug_output() {
        let client = HttpClient::new("http://127.0.0.1", "hunter2", "*/*").expect("a client");
        assert!(!format!("{client:?}").contains("hunter2"));
        let error = HttpClient::new("http://127.0.0.1", "hunter2\n", "*/*").expect_err("no token");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
