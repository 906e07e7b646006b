//! `GET /storage`: every disk that is configured or holds something, with what it holds and what is free.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::usage::{self, StoredTotals};
use holdfast_domain::DiskName;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{DiskObject, ObjectList};

/// How long a disk may take to say how much is free.
const ASK: Duration = Duration::from_secs(2);

/// Says what every disk holds.
#[utoipa::path(
    get,
    path = "/api/application/storage",
    operation_id = "storage_by_disk",
    tag = "application",
    params(
        PageQuery,
    ),
    responses((status = 200, description = "A page of disks, by name", body = ObjectList<DiskObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn by_disk(
    _operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut disks: BTreeMap<String, StoredTotals> = state
        .disks
        .iter()
        .map(|(name, _)| (name.to_string(), StoredTotals::default()))
        .collect();
    disks.extend(usage::by_disk(&state.database).await?);
    let disks: Vec<(String, StoredTotals)> = disks.into_iter().collect();
    let page = Page::read(request.query_string());
    let shown = page.cut(&disks);
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(disks.len() as u64, shown.len(), &request, &base_url);
    let mut objects = Vec::with_capacity(shown.len());
    for (name, stored) in shown {
        let is_default = state.disks.default_name().as_str() == name;
        let free = free_bytes(&state, name).await;
        objects.push(views::application::disk(name, *stored, free, is_default));
    }
    Ok(views::ok(&views::application::list(objects, pagination)))
}

/// What this process can see of a disk; `None` when it is away, or of another machine.
async fn free_bytes(state: &ApiState, name: &str) -> Option<u64> {
    let name = DiskName::parse(name).ok()?;
    let disk = state.disks.get(&name).ok()?;
    let asked = tokio::time::timeout(ASK, disk.free_bytes()).await;
    asked.ok()?.ok()?
}
