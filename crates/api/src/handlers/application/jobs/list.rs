//! `GET /jobs`: a page of jobs, newest first. `?server=`, `?kind=` and `?state=` filter them.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::jobs::{self, JobFilter};
use holdfast_db::servers;
use holdfast_domain::{JobKind, JobState, ServerId, ServerRef};

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{JobQuery, PageQuery};
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{JobObject, ObjectList};

/// Lists jobs.
#[utoipa::path(
    get,
    path = "/api/application/jobs",
    operation_id = "list_jobs",
    tag = "application",
    params(JobQuery, PageQuery),
    responses(
        (
            status = 200,
            description = "A page of jobs, newest first",
            body = ObjectList<JobObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    request: HttpRequest,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let filter = job_filter(&state, request.query_string()).await?;
    let total = jobs::count(&state.database, filter).await?;
    let jobs = jobs::page(&state.database, filter, page.size(), page.offset()).await?;
    let objects = jobs.iter().map(views::application::job);
    Ok(views::ok(&page.list(total, objects)))
}

/// Reads the filter from a query.
async fn job_filter(state: &ApiState, query: &str) -> Result<JobFilter, ApiError> {
    let mut fields = Fields::from_query(query);
    let expected = "a UUID or the first eight characters of one";
    let server = fields.parsed("server", "exists", expected, ServerRef::parse);
    let kind = fields.one_of("kind", &JobKind::ALL.map(JobKind::as_str), JobKind::parse);
    let job_state = fields.one_of(
        "state",
        &JobState::ALL.map(JobState::as_str),
        JobState::parse,
    );
    let server = match server {
        Some(server) => server_id(state, server, &mut fields).await?,
        None => None,
    };
    fields.check()?;
    Ok(JobFilter {
        server,
        kind,
        state: job_state,
    })
}

/// Returns the UUID of a server. A UUID may be that of a deleted server, whose jobs are still
/// listed.
async fn server_id(
    state: &ApiState,
    server: ServerRef,
    fields: &mut Fields,
) -> Result<Option<ServerId>, ApiError> {
    if let ServerRef::Id(id) = server {
        return Ok(Some(id));
    }
    let found = servers::find(&state.database, &server).await?;
    if found.is_none() {
        fields.add_violation("server", "exists", "The server does not exist.");
    }
    Ok(found.map(|server| server.id))
}
