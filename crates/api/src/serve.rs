//! Runs the HTTP service on a listening socket until the caller stops it.
//!
//! It opens no socket and handles no signals; both belong to the caller.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::handlers::{health, metrics};
use crate::metrics::ApiMetrics;
use crate::middleware;
use crate::routes;
use crate::state::ApiState;

/// How long running requests may continue after the stop, in seconds.
const DRAIN_SECONDS: u64 = 5;
/// How long a client may take to close its connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest number of connections to the separate address for metrics.
const METRICS_CONNECTIONS: usize = 64;

/// The reason why the service ended without being stopped.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP service failed")]
pub struct ServeError(#[from] io::Error);

/// Serves the API on `listener` until `shutdown`. Then waits up to 5 s for running requests.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(
    listener: TcpListener,
    state: Arc<ApiState>,
    metrics: Arc<ApiMetrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let server = start(listener, web::Data::from(state), web::Data::from(metrics))?;
    run_until(shutdown, server).await
}

/// Starts the threads of the service. This function is not `async`, so that its code is compiled in
/// this crate, and not again in each caller's crate.
fn start(
    listener: TcpListener,
    state: web::Data<ApiState>,
    metrics: web::Data<ApiMetrics>,
) -> io::Result<Server> {
    let options = state.options.clone();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(metrics.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(middleware::handle))
            .configure(routes::routes)
    })
    .listen(nonblocking(listener)?)?
    .workers(threads)
    // actix-web applies the limit to each thread.
    .max_connections(options.max_connections.div_ceil(threads).max(1))
    .client_request_timeout(options.request_timeout)
    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
    .keep_alive(options.keep_alive)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .run();
    Ok(server)
}

/// Serves only `/metrics` and `/healthz` on `listener` until `shutdown`.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<ApiMetrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let server = start_metrics(listener, web::Data::from(metrics))?;
    run_until(shutdown, server).await
}

fn start_metrics(listener: TcpListener, metrics: web::Data<ApiMetrics>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(metrics.clone())
            .wrap(from_fn(middleware::handle))
            .route("/metrics", web::get().to(metrics::metrics))
            .route("/healthz", web::get().to(health::alive))
            .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }))
    })
    .listen(nonblocking(listener)?)?
    .workers(1)
    .max_connections(METRICS_CONNECTIONS)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .run();
    Ok(server)
}

fn nonblocking(listener: TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Runs a server until `shutdown`, or until it fails.
async fn run_until(shutdown: CancellationToken, server: Server) -> Result<(), ServeError> {
    let handle = server.handle();
    let stop = async move {
        shutdown.cancelled().await;
        handle.stop(true).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server => Ok(ended?),
        () = stop => Ok(()),
    }
}
