//! Runs the HTTP service on a listening socket until the caller stops it.
//!
//! It opens no socket and handles no signals; both belong to the caller.

#[cfg(fuzzing)]
pub(crate) mod strict_lines;
#[cfg(not(fuzzing))]
mod strict_lines;

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response, ServiceConfig};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, web};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::handlers::{health, metrics};
use crate::metrics::ApiMetrics;
use crate::middleware;
use crate::routes;
use crate::state::ApiState;

use strict_lines::StrictLines;

/// How long running requests may continue after the stop, in seconds.
const DRAIN_SECONDS: u64 = 5;
/// How long a client may take to close its connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The limits of the separate address for metrics.
const METRICS_LIMITS: ConnectionLimits = ConnectionLimits {
    threads: 1,
    connections: 64,
    request_timeout: Duration::from_secs(5),
    keep_alive: Duration::from_secs(5),
};

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
    let (state, metrics) = (web::Data::from(state), web::Data::from(metrics));
    let server = start(listener, state, metrics, ListenerRoutes::Service)?;
    run_until(shutdown, server).await
}

/// Serves only requests to a panel's node on `listener` until `shutdown`.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve_node(
    listener: TcpListener,
    state: Arc<ApiState>,
    metrics: Arc<ApiMetrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (state, metrics) = (web::Data::from(state), web::Data::from(metrics));
    let server = start(listener, state, metrics, ListenerRoutes::Node)?;
    run_until(shutdown, server).await
}

/// Starts the threads of the service. This function is not `async`, so that its code is compiled in
/// this crate, and not again in each caller's crate.
fn start(
    listener: TcpListener,
    state: web::Data<ApiState>,
    metrics: web::Data<ApiMetrics>,
    routes: ListenerRoutes,
) -> io::Result<Server> {
    let options = &state.options;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let limits = ConnectionLimits {
        threads,
        connections: options.max_connections.div_ceil(threads).max(1),
        request_timeout: options.request_timeout,
        keep_alive: options.keep_alive,
    };
    let routes = match routes {
        ListenerRoutes::Service if options.wings.is_some() && !options.wings_has_listener => {
            |app: &mut web::ServiceConfig| {
                app.configure(routes::node_routes).configure(routes::routes);
            }
        }
        ListenerRoutes::Service => routes::routes,
        ListenerRoutes::Node => routes::only_node_routes,
    };
    run(listener, limits, move || {
        App::new()
            .app_data(state.clone())
            .app_data(metrics.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(middleware::handle))
            .configure(routes)
    })
}

/// What a listener answers.
#[derive(Clone, Copy, Debug)]
enum ListenerRoutes {
    /// Requests to the service, and to a panel's node if that has no listener of its own.
    Service,
    /// Only requests to a panel's node.
    Node,
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
    run(listener, METRICS_LIMITS, move || {
        App::new()
            .app_data(metrics.clone())
            .wrap(from_fn(middleware::handle))
            .route("/metrics", web::get().to(metrics::metrics))
            .route("/healthz", web::get().to(health::alive))
            .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }))
    })
}

/// The limits of the connections to an address.
#[derive(Clone, Copy, Debug)]
struct ConnectionLimits {
    threads: usize,
    /// The largest number of open connections of each thread.
    connections: usize,
    /// How long the head of a request may take to arrive.
    request_timeout: Duration,
    /// How long an idle connection is kept open.
    keep_alive: Duration,
}

/// Serves `app` on `listener`. `actix_web::HttpServer` does the same without [`StrictLines`].
fn run<NewApp, NewFactory, Factory, Body>(
    listener: TcpListener,
    limits: ConnectionLimits,
    app: NewApp,
) -> io::Result<Server>
where
    NewApp: Fn() -> NewFactory + Clone + Send + 'static,
    NewFactory: IntoServiceFactory<Factory, Request>,
    Factory: ServiceFactory<Request, Config = AppConfig> + 'static,
    Factory::Error: Into<actix_web::Error> + 'static,
    Factory::InitError: fmt::Debug,
    Factory::Response: Into<Response<Body>> + 'static,
    Body: MessageBody + 'static,
{
    listener.set_nonblocking(true)?;
    let builder = Server::build();
    let stop = builder.graceful_shutdown_signal();
    let builder = builder.listen("http", listener, move || {
        let stop = stop.clone();
        let app = app().into_factory();
        let app = app.map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.request_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .h1(map_config(app, |()| AppConfig::default()));
        let config = ServiceConfig::default();
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            let stream = StrictLines::new(stream, config.clone());
            async move { Ok::<_, DispatchError>((stream, peer)) }
        })
        .and_then(http)
    })?;
    Ok(builder
        .workers(limits.threads)
        .max_concurrent_connections(limits.connections)
        .disable_signals()
        .shutdown_timeout(DRAIN_SECONDS)
        .run())
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
