//! A stand-in for a panel: the API that nodes call, what it does to its nodes, and its client API.
//!
//! ```ignore
//! let key = NodeKey::random();
//! let panel = PanelStandIn::start(Flavour::Pterodactyl, &key);
//! panel.set_node_url(0, &nginx.url);
//! let server = panel.add_server();
//! let backup = panel.create_backup(server, NewBackup::default()).await?;
//! panel.set_fault(Fault::Down);
//! panel.backup(backup)   // what its page would show
//! ```

pub(crate) mod client_api;
mod control;
mod node_calls;
mod remote_api;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_web::web;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use node_calls::{NewBackup, NodeError};
pub(crate) use state::{Callback, PanelBackup, PanelNode, PanelServer, PanelState};

use super::faults::{Fault, FaultSwitch};
use super::serving::Serving;
use super::{Flavour, NodeKey};

/// How a panel starts.
#[derive(Clone, Debug)]
pub(crate) struct PanelOptions {
    pub(crate) flavour: Flavour,
    /// The first node. Others come with [`PanelStandIn::add_node`].
    pub(crate) node: NodeKey,
    pub(crate) listen: SocketAddr,
    /// Where scripts control it. It answers there while the panel itself is down.
    pub(crate) control: SocketAddr,
    /// A file that keeps what the panel knows, over restarts.
    pub(crate) state: Option<PathBuf>,
    /// How long a transaction stays open after the node's answer.
    pub(crate) commit_after: Duration,
}

/// A panel that runs until it is dropped.
pub(crate) struct PanelStandIn {
    panel: Arc<Panel>,
    control: Serving,
}

/// What the panel's handlers share.
struct Panel {
    flavour: Flavour,
    state: Mutex<PanelState>,
    file: Option<PathBuf>,
    commit_after: Duration,
    faults: FaultSwitch,
    serving: OnceLock<Serving>,
    client: reqwest::Client,
}

impl PanelStandIn {
    /// Starts a panel with one node at free ports.
    pub(crate) fn start(flavour: Flavour, node: &NodeKey) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_with(PanelOptions {
            flavour,
            node: node.clone(),
            listen: any,
            control: any,
            state: None,
            commit_after: Duration::from_millis(20),
        })
    }

    pub(crate) fn start_with(options: PanelOptions) -> Self {
        let panel = Arc::new(Panel {
            flavour: options.flavour,
            state: Mutex::new(PanelState::load(options.state.as_deref(), options.node)),
            file: options.state,
            commit_after: options.commit_after,
            faults: FaultSwitch::default(),
            serving: OnceLock::new(),
            client: node_calls::client(),
        });
        let shared = web::Data::from(Arc::clone(&panel));
        let routes = move |config: &mut web::ServiceConfig| {
            config.app_data(shared.clone());
            config.configure(remote_api::routes);
            config.configure(client_api::routes);
        };
        let serving = Serving::start(options.listen, panel.faults.clone(), routes);
        let _only = panel.serving.set(serving);
        let shared = web::Data::from(Arc::clone(&panel));
        let routes = move |config: &mut web::ServiceConfig| {
            config.app_data(shared.clone()).configure(control::routes);
        };
        let control = Serving::start(options.control, FaultSwitch::default(), routes);
        Self { panel, control }
    }

    /// The panel's URL, without a slash at its end: `remote` in the settings of Wings.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.panel.serving().address())
    }

    pub(crate) fn control_url(&self) -> String {
        format!("http://{}", self.control.address())
    }

    /// Switches a fault on; [`Fault::None`] ends it.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.panel.set_fault(fault);
    }

    /// Adds a node and returns its number. The first node is number 0.
    pub(crate) fn add_node(&self, key: NodeKey) -> usize {
        self.panel.change(|state| {
            state.nodes.push(PanelNode::new(key));
            state.nodes.len() - 1
        })
    }

    /// Sets where the panel, and the browsers of its users, reach a node.
    pub(crate) fn set_node_url(&self, node: usize, url: &str) {
        self.panel
            .change(|state| url.clone_into(&mut state.nodes[node].url));
    }

    /// Adds a server on node 0.
    pub(crate) fn add_server(&self) -> Uuid {
        self.panel
            .change(|state| state.add_server(Uuid::new_v4(), 0))
    }

    /// Changes a server; for example its node, its name or whether it is suspended.
    pub(crate) fn change_server(&self, server: Uuid, change: impl FnOnce(&mut PanelServer)) {
        self.panel
            .change(|state| change(state.servers.get_mut(&server).unwrap()));
    }

    /// Removes a server and its backups from the panel's tables, without a request to its node.
    pub(crate) fn forget_server(&self, server: Uuid) {
        self.panel.change(|state| state.forget_server(server));
    }

    /// Changes what the panel knows, without a request to a node.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut PanelState) -> T) -> T {
        self.panel.change(change)
    }

    pub(crate) fn server(&self, server: Uuid) -> Option<PanelServer> {
        self.panel.read(|state| state.servers.get(&server).cloned())
    }

    pub(crate) fn backup(&self, backup: Uuid) -> Option<PanelBackup> {
        self.panel.read(|state| state.backups.get(&backup).cloned())
    }

    /// All backups of a server, the oldest first.
    pub(crate) fn backups(&self, server: Uuid) -> Vec<PanelBackup> {
        self.panel.read(|state| state.backups_of(server))
    }

    /// The callbacks about backups and restores that arrived so far, with the panel's answers.
    pub(crate) fn callbacks(&self) -> Vec<Callback> {
        self.panel.read(|state| state.callbacks.clone())
    }

    /// Creates a backup like a user of the panel.
    pub(crate) async fn create_backup(
        &self,
        server: Uuid,
        new: NewBackup,
    ) -> Result<Uuid, NodeError> {
        node_calls::create_backup(&self.panel, server, new).await
    }

    pub(crate) async fn restore_backup(
        &self,
        backup: Uuid,
        truncate: bool,
    ) -> Result<(), NodeError> {
        node_calls::restore_backup(&self.panel, backup, truncate).await
    }

    pub(crate) async fn delete_backup(&self, backup: Uuid) -> Result<(), NodeError> {
        node_calls::delete_backup(&self.panel, backup).await
    }

    /// Asks the node to delete all backups of a server, as Pelican's daemon offers it.
    pub(crate) async fn delete_all_backups(&self, server: Uuid) -> Result<(), NodeError> {
        node_calls::delete_all_backups(&self.panel, server).await
    }

    /// Deletes a server: the node is asked first.
    pub(crate) async fn delete_server(&self, server: Uuid) -> Result<(), NodeError> {
        node_calls::delete_server(&self.panel, server).await
    }

    /// The link that a user's browser follows.
    pub(crate) fn download_link(&self, backup: Uuid) -> String {
        node_calls::download_link(&self.panel, backup)
    }
}

impl Drop for PanelStandIn {
    fn drop(&mut self) {
        self.control.stop();
        self.panel.serving().stop();
    }
}

impl Panel {
    fn serving(&self) -> &Serving {
        self.serving.get().unwrap()
    }

    fn set_fault(&self, fault: Fault) {
        let is_down = fault == Fault::Down;
        self.faults.set(fault);
        self.serving().set_down(is_down);
    }

    fn read<T>(&self, read: impl FnOnce(&PanelState) -> T) -> T {
        read(&self.state.lock().unwrap())
    }

    /// Changes the state, and keeps it in the file before anything is answered.
    fn change<T>(&self, change: impl FnOnce(&mut PanelState) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        state.save(self.file.as_deref());
        result
    }
}

/// An error in the form of the panel's APIs.
pub(super) fn error_body(status: u16, code: &str, detail: &str) -> Value {
    json!({"errors": [{"code": code, "status": status.to_string(), "detail": detail}]})
}
