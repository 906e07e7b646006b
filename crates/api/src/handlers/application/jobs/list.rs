//! `GET /jobs`: a page of jobs, newest first; `?server=`, `?kind=` and `?state=` choose among them.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::jobs::{self, JobFilter};
use holdfast_db::servers;
use holdfast_domain::{JobKind, JobState, ServerRef};

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::{JobQuery, PageQuery};
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
    params(
        JobQuery,
        PageQuery,
    ),
    responses((status = 200, description = "A page of jobs, newest first", body = ObjectList<JobObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut filter = Fields::of_query(request.query_string());
    let says = "a UUID or the first eight characters of one";
    let server = filter.parsed("server", "exists", says, ServerRef::parse);
    let kind = filter.one_of("kind", &JobKind::ALL.map(JobKind::as_str), JobKind::parse);
    let job_state = filter.one_of(
        "state",
        &JobState::ALL.map(JobState::as_str),
        JobState::parse,
    );
    let server = match server {
        // By its UUID also one that is gone: its jobs tell how.
        Some(ServerRef::Id(id)) => Some(id),
        Some(short) => {
            let found = servers::find(&state.database, &short).await?;
            if found.is_none() {
                filter.refuse("server", "exists", "The server is not there.");
            }
            found.map(|server| server.id)
        }
        None => None,
    };
    filter.check()?;
    let wanted = JobFilter {
        server,
        kind,
        state: job_state,
    };
    let page = Page::read(request.query_string());
    let total = jobs::count(&state.database, wanted).await?;
    let jobs = jobs::page(&state.database, wanted, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, jobs.len(), &request, &base_url);
    let objects: Vec<_> = jobs.iter().map(views::application::job).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
