//! `holdfast healthcheck`: for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::failure::Failure;
use crate::output;
use crate::settings::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(
    url: Option<String>,
    load: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<(), Failure> {
    let base = match url {
        Some(url) => url,
        None => format!("http://{}", reachable(load()?.http.listen)),
    };
    let url = format!("{}/healthz", base.trim_end_matches('/'));
    let answer = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?
        .get(&url)
        .send()
        .await;
    let status = answer
        .map_err(|error| Failure::of(format!("{url} does not answer"), &error))?
        .status();
    if status.is_success() {
        output::line("ok");
        Ok(())
    } else {
        Err(Failure::new(format!("{url} answered {status}")))
    }
}

/// Turns "any address" into one that can be connected to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
