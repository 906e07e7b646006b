//! Runs the service on a socket that the caller owns, until the caller says stop.

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

/// How long requests that are under way may take to end after the stop signal, in seconds.
const DRAIN_SECONDS: u64 = 5;

/// How long a client may take to let go of a connection that is to end.
const DISCONNECT: Duration = Duration::from_secs(1);
/// How many connections the address for metrics takes.
const METRICS_CONNECTIONS: usize = 64;

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP service failed")]
pub struct ServeError(#[from] io::Error);

/// Serves requests on `listener` until `shutdown`, then lets those that are under way end, for
/// 5 s at most.
///
/// # Errors
/// When the socket can't be used.
pub async fn serve(
    listener: TcpListener,
    state: Arc<ApiState>,
    metrics: Arc<ApiMetrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let server = start(listener, web::Data::from(state), web::Data::from(metrics))?;
    until(shutdown, server).await
}

/// Starts the service's threads. Not `async`, so that this crate compiles the service and callers
/// don't compile it again.
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
            .wrap(from_fn(middleware::edge))
            .configure(routes::routes)
    })
    .listen(nonblocking(listener)?)?
    .workers(threads)
    // Both count for each thread.
    .max_connections(options.max_connections.div_ceil(threads).max(1))
    .client_request_timeout(options.request_timeout)
    .client_disconnect_timeout(DISCONNECT)
    .keep_alive(options.keep_alive)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .run();
    Ok(server)
}

/// Serves `/metrics`, and `/healthz`, of a process on an address of their own until `shutdown`.
///
/// # Errors
/// When the socket can't be used.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<ApiMetrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let server = start_metrics(listener, web::Data::from(metrics))?;
    until(shutdown, server).await
}

fn start_metrics(listener: TcpListener, metrics: web::Data<ApiMetrics>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(metrics.clone())
            .wrap(from_fn(middleware::edge))
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

/// Runs a server until `shutdown`, or until it ends by itself.
async fn until(shutdown: CancellationToken, server: Server) -> Result<(), ServeError> {
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
