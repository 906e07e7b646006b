//! `GET /storage`: the disks that are configured or hold backups, with their totals and free space.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};

use holdfast_db::usage::{self, StoredTotals};
use holdfast_domain::DiskName;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{DiskObject, ObjectList};

/// How long a disk may take to report its free space.
const FREE_SPACE_TIMEOUT: Duration = Duration::from_secs(2);

/// Lists disks with the totals of their completed backups.
#[utoipa::path(
    get,
    path = "/api/application/storage",
    operation_id = "storage_by_disk",
    tag = "application",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of disks, by name", body = ObjectList<DiskObject>),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn by_disk(
    _operator: Operator,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut disks: BTreeMap<String, StoredTotals> = state
        .disks
        .iter()
        .map(|(name, _)| (name.to_string(), StoredTotals::default()))
        .collect();
    disks.extend(usage::by_disk(&state.database).await?);
    let disks: Vec<(String, StoredTotals)> = disks.into_iter().collect();
    let mut objects = Vec::new();
    for (name, totals) in page.slice(&disks) {
        let is_default = state.disks.default_name().as_str() == name;
        let free_bytes = free_bytes(&state, name).await;
        objects.push(views::application::disk(
            name, *totals, free_bytes, is_default,
        ));
    }
    let total = disks.len() as u64;
    Ok(views::ok(&page.list(total, objects.into_iter())))
}

/// Returns the free space of a disk, or `None` if this process cannot see it.
async fn free_bytes(state: &ApiState, name: &str) -> Option<u64> {
    let name = DiskName::parse(name).ok()?;
    let disk = state.disks.get(&name).ok()?;
    let free_bytes = tokio::time::timeout(FREE_SPACE_TIMEOUT, disk.free_bytes()).await;
    free_bytes.ok()?.ok()?
}
