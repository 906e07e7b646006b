//! `GET /nodes`: every node that has servers or was seen within the last hour, with its workers.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use holdfast_db::workers::{self, Worker};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::origin::base_url;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;

pub(crate) async fn list(
    _operator: Operator,
    request: HttpRequest,
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
    let objects: Vec<Value> = nodes
        .iter()
        .map(|(name, workers)| {
            let servers = servers.get(name).copied().unwrap_or_default();
            views::application::node(name, workers, servers)
        })
        .collect();
    let page = Page::read(request.query_string());
    let shown = page.cut(&objects);
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(objects.len() as u64, shown.len(), &request, &base_url);
    Ok(views::ok(&views::application::list(shown, &pagination)))
}
