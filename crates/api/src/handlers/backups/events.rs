//! `GET …/backups/events`: a stream of server-sent events, so that clients need not poll.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;

use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::ServerPath;
use crate::state::ApiState;
use crate::streams::event_stream::EventStream;
use crate::views::objects::StreamEvent;

/// Streams the events of a server's backups.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/events",
    tag = "backups",
    params(
        ServerPath,
        (
            "Last-Event-ID" = Option<String>,
            Header,
            description = "The ID of the last received event. The stream starts with the events \
                           after it"
        ),
    ),
    responses(
        (
            status = 200,
            description = "An endless stream of server-sent events. The data of each is JSON: \
                           `stream.ready`, `backup.created`, `backup.progress` (without an ID, at \
                           most once a second), `backup.completed`, `backup.failed`, \
                           `backup.changed`, `backup.deleted`, `restore.created`, \
                           `restore.completed`, `restore.failed`, `verification.passed`, \
                           `verification.failed`, `verification.inconclusive`",
            content_type = "text/event-stream",
            body = StreamEvent
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn events(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::List)?;

    let last_seen = last_event_id(&request);
    let credentials = caller.stream_credentials(&request)?;
    let events = EventStream::open(state, credentials, server.id, last_seen).await?;
    let chunks = stream::unfold(events, async |mut events| {
        let bytes = events.next().await?;
        Some((Ok::<_, ApiError>(bytes), events))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        // A proxy that compressed the stream would hold events back.
        .insert_header((CACHE_CONTROL, "no-cache, no-transform"))
        // Without this header, nginx would buffer the stream.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(chunks))
}

/// Returns the number in `Last-Event-ID`. An invalid number counts as one that is too large, so
/// that the client learns that it may have missed events.
fn last_event_id(request: &HttpRequest) -> Option<i64> {
    let text = request.headers().get("last-event-id")?.to_str().ok()?;
    (!text.is_empty()).then(|| text.parse().unwrap_or(i64::MAX))
}
