//! Runs the service on a socket that the caller owns, until the caller says stop.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;

use crate::edge;
use crate::routes;
use crate::state::ApiState;

/// How long requests that are under way may take to end after the stop signal, in seconds.
const DRAIN_SECONDS: u64 = 5;

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
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let state = web::Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(edge::edge))
            .configure(routes::routes)
    })
    .listen(listener)?
    .workers(std::thread::available_parallelism().map_or(2, usize::from))
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .run();
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
