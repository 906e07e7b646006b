//! Creates the S3 client: endpoint, credentials, timeouts and retries.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder as HttpBuilder, ConnectorBuilder};

use holdfast_domain::DiskName;

use super::S3Options;
use crate::ca_bundle::CaBundle;

/// The maximum number of attempts of a request.
const ATTEMPTS_MAX: u32 = 5;
/// The maximum number of attempts of a health check, and the timeout of each.
const HEALTH_ATTEMPTS_MAX: u32 = 2;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(4);
/// The first delay before a retry, and the longest one. Each is jittered.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The timeout for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of one attempt of a request without a large body.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout for the completion of a multipart upload.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(300);
/// The lowest rate at which a part may be sent, in bytes per second.
const RATE_MIN: u64 = 64 * 1024;
/// How long a connection may transfer nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Loads the certificates of the machine's authorities.
///
/// The SDK loads them once, when the first client is used. If the process has no free file
/// descriptor at that moment, the SDK trusts no server until the process ends. So this runs at the
/// start.
pub(super) fn load_authorities() {
    let connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    drop(connector.build());
}

/// Creates a disk's client, for its configured endpoint or for `endpoint`.
pub(super) async fn connect(
    name: &DiskName,
    options: &S3Options,
    endpoint: Option<&str>,
) -> Client {
    let mut config = base_config(name, options);
    if let Some(ca_bundle) = &options.ca_bundle {
        config = config.http_client(http_client(ca_bundle));
    }
    if let Some(endpoint) = endpoint.or(options.endpoint.as_deref()) {
        config = config.endpoint_url(endpoint);
    }
    config = match &options.keys {
        Some(keys) => config.credentials_provider(Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            None,
            None,
            "settings",
        )),
        None => config.credentials_provider(
            DefaultCredentialsChain::builder()
                .region(Region::new(options.region.clone()))
                .build()
                .await,
        ),
    };
    Client::from_conf(config.build())
}

fn base_config(name: &DiskName, options: &S3Options) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(options.region.clone()))
        .force_path_style(options.is_path_style)
        .timeout_config(timeouts(ATTEMPT_TIMEOUT))
        .retry_config(retries(ATTEMPTS_MAX))
        // The SDK limits retries per partition. A disk that is down must not use up the retries of
        // another disk.
        .retry_partition(RetryPartition::new(format!("holdfast-disk-{name}")))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(STALL_TIMEOUT)
                .build(),
        )
        // Sent parts carry a CRC32. Read archives are checked with their SHA-256.
        .request_checksum_calculation(match options.has_checksums {
            true => RequestChecksumCalculation::WhenSupported,
            false => RequestChecksumCalculation::WhenRequired,
        })
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// Returns the SDK's HTTP client, with additional trusted authorities.
fn http_client(ca_bundle: &CaBundle) -> SharedHttpClient {
    let tls_context = ca_bundle.tls_context();
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls_context.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

/// Returns the settings for a request with a body of `bytes`, which gets a longer timeout.
pub(super) fn body_settings(bytes: usize) -> Builder {
    let timeout = ATTEMPT_TIMEOUT + Duration::from_secs(bytes as u64 / RATE_MIN);
    Config::builder().timeout_config(timeouts(timeout))
}

/// Returns the settings for the completion of a multipart upload.
pub(super) fn completion_settings() -> Builder {
    Config::builder().timeout_config(timeouts(COMPLETION_TIMEOUT))
}

/// Returns the settings for a health check, which must answer soon, but not fail on a single error.
pub(super) fn health_settings() -> Builder {
    Config::builder()
        .timeout_config(timeouts(HEALTH_TIMEOUT))
        .retry_config(retries(HEALTH_ATTEMPTS_MAX))
}

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(BACKOFF_MIN)
        .with_max_backoff(BACKOFF_MAX)
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .build()
}
