//! `GET …/backups/events`: server-sent events, so that a page need not poll.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;

use holdfast_domain::access::Action;

use crate::auth::{Caller, Pass, permit};
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;
use crate::streams::Feed;
use crate::views::objects::StreamEvent;

/// Streams what becomes of a server's backups.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/events",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen: what came after it is sent first"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = StreamEvent,
         description = "Server-sent events without end: `stream.ready`, `backup.created`, `backup.progress` (no id; once \
                        a second while something changes), `backup.completed`, `backup.failed`, `backup.changed`, \
                        `backup.deleted`, `restore.created`, `restore.completed`, `restore.failed`, `verification.passed`, \
                        `verification.failed`, `verification.inconclusive`; the data of each is JSON"),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn events(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing) = caller.server()?;
    permit(standing, Action::List)?;
    let header = request.headers().get("last-event-id");
    let seen = header
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty())
        // What is no number of ours is one that was never given.
        .map(|text| text.parse().unwrap_or(i64::MAX));
    let pass = Pass::of(&request)?;
    let feed = Feed::begin(state, pass, server.id, seen).await?;
    let pieces = stream::unfold(feed, async |mut feed| {
        let bytes = feed.next().await?;
        Some((Ok::<_, ApiError>(bytes), feed))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // nginx would gather what it should pass on.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(pieces))
}
