//! Keeps the servers of the panel's node known here: reads the panel's list every few minutes, and
//! asks at once about a server that an unknown request has registered. The leader of the node does
//! it.
//!
//! A server counts as absent only after a complete list without it. Its backups are deleted only
//! after it has been absent for long, and if the panel then answers that it does not know it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use holdfast_db::operator_log::{Change, OperatorAction};
use holdfast_db::wings_servers::{self, NodeServers, PageResult};
use holdfast_db::{Error, servers};
use holdfast_domain::ServerId;
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::{DeleteServerArgs, ServerBackupsAction};

use super::callbacks;
use super::client::{PAGE_SIZE, PanelClient, PanelError, ServerAnswer};
use crate::context::{Context, WingsOptions};

/// Time between two looks for servers that the panel has not confirmed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same time after the panel has not answered.
const LOOK_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time until a list that could not be read is read again.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How many servers are asked about in one look.
const LOOK_LIMIT: u32 = 20;
/// How many servers are forgotten after one list.
const FORGET_LIMIT: u32 = 20;
/// After how many incomplete lists a warning is logged.
const INCOMPLETE_MAX: u32 = 5;
/// How many pages a list can have. A node has far fewer servers.
const PAGES_MAX: u32 = 10_000;

/// Why the servers could not be compared with those of the panel.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    /// The panel did not answer as expected.
    #[error("the panel did not list its servers")]
    Panel(#[from] PanelError),
    /// The pages do not fit together: a server was created or deleted meanwhile, or pages are
    /// missing.
    #[error("the panel's list is not complete: {0}")]
    Incomplete(String),
    /// The database can't be used.
    #[error("the servers of the panel could not be recorded")]
    Database(#[from] Error),
}

/// Keeps the servers of the node known until `stop`.
pub(crate) async fn sync_all(context: Arc<Context>, stop: CancellationToken) {
    let Some(wings) = &context.options.wings else {
        return;
    };
    let Some(client) = callbacks::create(&wings.node) else {
        return;
    };
    let mut sync = ServerSync {
        context: &context,
        wings,
        client,
        node: NodeServers {
            node: context.options.node.clone(),
            data: wings.node.data.clone(),
            panel_url: wings.node.panel_url.clone(),
        },
        is_failing: false,
        incomplete_lists: 0,
        reported: BTreeSet::new(),
    };
    let (mut next_list, mut next_look) = (Instant::now(), Instant::now());
    while !stop.is_cancelled() {
        let work = async {
            if Instant::now() >= next_list {
                next_list = Instant::now() + sync.list().await;
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + sync.look().await;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }
}

struct ServerSync<'a> {
    context: &'a Context,
    wings: &'a WingsOptions,
    client: PanelClient,
    node: NodeServers,
    /// Whether the last request to the panel has failed, which is logged once.
    is_failing: bool,
    /// How many lists were incomplete since the last complete one.
    incomplete_lists: u32,
    /// The servers about which a warning was logged.
    reported: BTreeSet<ServerId>,
}

impl ServerSync<'_> {
    /// Reads the whole list. Returns the time until the next one.
    async fn list(&mut self) -> Duration {
        match self.read_list().await {
            Ok(()) => {
                self.context.metrics.count_panel_list("complete");
                self.incomplete_lists = 0;
                self.record_success();
                self.wings.sync_every
            }
            Err(error) => {
                let is_incomplete = matches!(error, SyncError::Incomplete(_));
                let result = if is_incomplete {
                    "incomplete"
                } else {
                    "failed"
                };
                self.context.metrics.count_panel_list(result);
                self.incomplete_lists += u32::from(is_incomplete);
                // A server may have been created while the list was read. The next one is
                // complete.
                if !is_incomplete || self.incomplete_lists >= INCOMPLETE_MAX {
                    self.record_failure(&error);
                }
                self.wings.sync_every.min(RETRY_INTERVAL)
            }
        }
    }

    async fn read_list(&mut self) -> Result<(), SyncError> {
        let database = &self.context.database;
        let began_at = wings_servers::now(database).await?;
        let mut total = None;
        let mut count = 0;
        let mut page_number = 1;
        loop {
            let page = self.client.servers(page_number).await?;
            if page.current_page != page_number || *total.get_or_insert(page.total) != page.total {
                return Err(SyncError::Incomplete(format!(
                    "page {} of {} servers, after {total:?} before",
                    page.current_page, page.total
                )));
            }
            count += page.servers.len() as u64;
            for part in page.servers.chunks(PAGE_SIZE as usize) {
                let result = wings_servers::sync_page(database, &self.node, part).await?;
                self.report(&result);
            }
            if page_number >= page.last_page.min(PAGES_MAX) {
                break;
            }
            page_number += 1;
        }
        let total = total.unwrap_or_default();
        if count != total {
            let why = format!("it has {count} of {total} servers");
            return Err(SyncError::Incomplete(why));
        }
        // A panel with an empty database, or one that was set up anew, lists no server either.
        if total == 0
            && let Some(known) = wings_servers::find_present(database, &self.node.node).await?
            && let ServerAnswer::Known(_) = self.client.server(known).await?
        {
            let why = format!("it is empty, but the panel knows server {known}");
            return Err(SyncError::Incomplete(why));
        }
        let (absent, count) =
            wings_servers::mark_absent(database, &self.node.node, began_at).await?;
        for server in &absent {
            self.report_absent(server.id, &server.name);
        }
        if count > absent.len() as u64 {
            tracing::warn!(
                count,
                "the panel no longer lists this many servers of the node"
            );
        }
        self.forget().await
    }

    /// Asks the panel about servers that it has not confirmed. Returns the time until the next
    /// look.
    async fn look(&mut self) -> Duration {
        let database = &self.context.database;
        let node = &self.node.node;
        let unconfirmed = match wings_servers::list_unconfirmed(database, node, LOOK_LIMIT).await {
            Ok(unconfirmed) => unconfirmed,
            Err(error) => {
                self.record_failure(&error.into());
                return LOOK_RETRY_INTERVAL;
            }
        };
        for server in unconfirmed {
            match self.confirm(server).await {
                Ok(()) => self.record_success(),
                Err(error) => {
                    self.record_failure(&error);
                    return LOOK_RETRY_INTERVAL;
                }
            }
        }
        LOOK_INTERVAL
    }

    async fn confirm(&mut self, server: ServerId) -> Result<(), SyncError> {
        let database = &self.context.database;
        match self.client.server(server).await? {
            ServerAnswer::Known(found) => {
                let result = wings_servers::sync_page(database, &self.node, &[found]).await?;
                self.report(&result);
            }
            ServerAnswer::Elsewhere | ServerAnswer::Unknown => {
                if wings_servers::mark_unknown(database, &self.node.node, server).await? {
                    self.report_absent(server, "");
                }
            }
        }
        Ok(())
    }

    /// Deletes the servers that have been absent for too long.
    async fn forget(&mut self) -> Result<(), SyncError> {
        let Some(age) = self.wings.forget_after else {
            return Ok(());
        };
        let database = &self.context.database;
        let node = &self.node.node;
        let forgotten = wings_servers::list_forgotten(database, node, age, FORGET_LIMIT).await?;
        for server in forgotten {
            match self.client.server(server).await? {
                ServerAnswer::Unknown => self.delete(server, age).await?,
                ServerAnswer::Known(_) | ServerAnswer::Elsewhere => tracing::debug!(
                    %server,
                    "the panel does not list a server, but knows it: its backups are kept",
                ),
            }
        }
        Ok(())
    }

    async fn delete(&self, id: ServerId, age: Duration) -> Result<(), SyncError> {
        let action = OperatorAction::Command {
            command: "wings.forget_after_days".to_owned(),
            typed_by: self.context.worker.clone(),
        };
        let mut change = Change::begin(&self.context.database, action).await?;
        let node = &self.node.node;
        let locked = wings_servers::lock_forgotten(&mut change, node, id, age).await?;
        let Some(server) = locked else {
            return Ok(());
        };
        let args = DeleteServerArgs {
            backups: ServerBackupsAction::Delete,
        };
        match servers::begin_deletion(&mut change, &server, args).await {
            Ok(_) => {}
            // A job has begun to use its files. The next list tries again.
            Err(Error::Conflict { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        change.commit(Some(&id.to_string()), None).await?;
        tracing::warn!(
            server = %id,
            name = server.name,
            absent_days = age.as_secs() / (24 * 3600),
            "deleting the backups of a server that the panel has deleted (wings.forget_after_days)",
        );
        Ok(())
    }

    fn report(&mut self, result: &PageResult) {
        if result.inserted > 0 || result.moved > 0 {
            tracing::info!(
                inserted = result.inserted,
                moved = result.moved,
                "took over servers of the panel"
            );
        }
        for (servers, why) in [
            (
                &result.conflicting,
                "its directory overlaps with that of another server, or another server has the \
                 same short identifier",
            ),
            (
                &result.foreign,
                "an operator or another panel has registered it, so it stays as it is",
            ),
        ] {
            for server in servers {
                if self.reported.insert(*server) {
                    tracing::warn!(%server, why, "a server of the panel was not taken over");
                }
            }
        }
        for server in &result.busy {
            tracing::debug!(%server, "a server is moved to this node when its job has ended");
        }
    }

    fn report_absent(&self, server: ServerId, name: &str) {
        let kept_days = self
            .wings
            .forget_after
            .map(|age| age.as_secs() / (24 * 3600));
        tracing::warn!(
            %server,
            name,
            kept_days,
            "the panel no longer lists a server of this node. Its backups are kept for kept_days; \
             if that is missing, without limit (wings.forget_after_days)",
        );
    }

    fn record_success(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the panel lists its servers again");
        }
    }

    fn record_failure(&mut self, error: &SyncError) {
        match error {
            SyncError::Database(error) => {
                let what = "the servers of the panel could not be recorded";
                self.context.database_health.record_failure(what, error);
                return;
            }
            SyncError::Panel(error) => self.context.metrics.count_panel_failure(error.reason()),
            SyncError::Incomplete(_) => {}
        }
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                error = chain(error),
                "the servers of the panel could not be read; new ones are known by their first \
                 backup, and no server counts as absent"
            );
        }
    }
}
