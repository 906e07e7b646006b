//! `GET /nodes`: the nodes that have servers or were seen within the last hour, with their workers.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};

use holdfast_db::workers::{self, Worker};

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{NodeObject, ObjectList};

/// Lists nodes with their workers.
#[utoipa::path(
    get,
    path = "/api/application/nodes",
    operation_id = "list_nodes",
    tag = "application",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of nodes, by name", body = ObjectList<NodeObject>),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let servers = workers::servers_by_node(&state.database).await?;
    let mut nodes: BTreeMap<String, Vec<Worker>> = servers
        .keys()
        .map(|node| (node.clone(), Vec::new()))
        .collect();
    for worker in workers::list(&state.database).await? {
        nodes.entry(worker.node.clone()).or_default().push(worker);
    }
    let nodes: Vec<_> = nodes.into_iter().collect();
    let objects = page.slice(&nodes).iter().map(|(name, workers)| {
        let servers = servers.get(name).copied().unwrap_or_default();
        views::application::node(name, workers, servers)
    });
    Ok(views::ok(&page.list(nodes.len() as u64, objects)))
}
