//! Makes the client: where it connects, what it signs with, how long it waits and how often it
//! tries.

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
use crate::authorities::Authorities;

/// How often a request is tried in all.
const ATTEMPTS: u32 = 5;
/// How long the first wait before another try may be, and the longest one; each is jittered.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one try of an ordinary request may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long a server may take to put parts together.
const COMPLETE: Duration = Duration::from_secs(300);
/// How slow a connection may be that a part goes through, in bytes per second.
const SLOWEST: u64 = 64 * 1024;
/// How long nothing at all may move in a connection.
const STALL: Duration = Duration::from_secs(20);

/// Makes the client of a disk, for its own endpoint or for `endpoint`.
pub(super) async fn connect(
    name: &DiskName,
    options: &S3Options,
    endpoint: Option<&str>,
) -> Client {
    let region = Region::new(options.region.clone());
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.clone())
        .force_path_style(options.is_path_style)
        .timeout_config(timeouts(ATTEMPT))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(BACKOFF.0)
                .with_max_backoff(BACKOFF.1),
        )
        // Tries are rationed by what fails; a disk that is down must not use up another one's.
        .retry_partition(RetryPartition::new(format!("holdfast-disk-{name}")))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(STALL)
                .build(),
        )
        // Each part goes with its CRC32. What comes back is checked against the archive's SHA-256.
        .request_checksum_calculation(match options.has_checksums {
            true => RequestChecksumCalculation::WhenSupported,
            false => RequestChecksumCalculation::WhenRequired,
        })
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(authorities) = &options.authorities {
        config = config.http_client(trusting(authorities));
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
                .region(region)
                .build()
                .await,
        ),
    };
    Client::from_conf(config.build())
}

/// The client's own way of connecting, which trusts these authorities as well.
fn trusting(authorities: &Authorities) -> SharedHttpClient {
    let context = authorities.context();
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

/// The settings of a request that carries a part of `bytes`: it may take longer.
pub(super) fn for_part(bytes: usize) -> Builder {
    let longest = ATTEMPT + Duration::from_secs(bytes as u64 / SLOWEST);
    Config::builder().timeout_config(timeouts(longest))
}

/// The settings of a request that has the server put parts together.
pub(super) fn for_completion() -> Builder {
    Config::builder().timeout_config(timeouts(COMPLETE))
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .build()
}
