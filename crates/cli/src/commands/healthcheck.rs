//! `holdfast healthcheck`: asks the API whether it is healthy, for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::error::CommandError;
use crate::output;
use crate::settings::Settings;

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(
    url: Option<String>,
    load: impl FnOnce() -> Result<Settings, CommandError>,
) -> Result<(), CommandError> {
    let base = match url {
        Some(url) => url,
        None => format!("http://{}", connectable(load()?.http.listen)),
    };
    let url = format!("{}/healthz", base.trim_end_matches('/'));
    let response = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?
        .get(&url)
        .send()
        .await;
    let status = response
        .map_err(|error| CommandError::with_cause(format!("{url} does not answer"), &error))?
        .status();
    if status.is_success() {
        output::line("ok")
    } else {
        Err(CommandError::new(format!("{url} answered {status}")))
    }
}

/// Returns the address to connect to; an unspecified address such as 0.0.0.0 becomes localhost.
fn connectable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
