//! A stand-in for Wings, the daemon of a node: power, commands, and the backups that it makes
//! itself.
//!
//! ```ignore
//! let wings = WingsStandIn::start(Flavour::Pterodactyl, &key, &panel.url(), folder);
//! fs_err::write(settings, wings.settings())?;    // what Holdfast reads
//! wings.add_server(server);                      // its directory is wings.directory(server)
//! wings.set_power(server, PowerState::Running);
//! wings.change_server(server, |server| server.ignores_stop = true);
//! wings.stop_outside(server);                    // Wings starts it again
//! wings.calls()                                  // every request so far
//! ```

mod backups;
mod control;
mod server_api;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_web::web;
use uuid::Uuid;

pub(crate) use state::{Call, PowerState, WingsServer, WingsState};

use super::faults::{Fault, FaultSwitch};
use super::serving::Serving;
use super::{Flavour, NodeKey, wings_settings};

/// How Wings starts.
#[derive(Clone, Debug)]
pub(crate) struct WingsOptions {
    pub(crate) flavour: Flavour,
    pub(crate) key: NodeKey,
    /// The panel's URL.
    pub(crate) remote: String,
    pub(crate) listen: SocketAddr,
    pub(crate) control: SocketAddr,
    /// The folder of the servers' directories.
    pub(crate) data: PathBuf,
    /// The folder of the archives that Wings made itself.
    pub(crate) backups: PathBuf,
}

/// A Wings that runs until it is dropped.
pub(crate) struct WingsStandIn {
    wings: Arc<Wings>,
    control: Serving,
}

/// What the handlers of Wings share.
struct Wings {
    options: WingsOptions,
    state: Mutex<WingsState>,
    faults: FaultSwitch,
    serving: OnceLock<Serving>,
    client: reqwest::Client,
}

impl WingsStandIn {
    /// Starts Wings at free ports, with the folders `volumes` and `backups` in `folder`.
    pub(crate) fn start(flavour: Flavour, key: &NodeKey, remote: &str, folder: &Path) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_with(WingsOptions {
            flavour,
            key: key.clone(),
            remote: remote.to_owned(),
            listen: any,
            control: any,
            data: folder.join("volumes"),
            backups: folder.join("backups"),
        })
    }

    pub(crate) fn start_with(options: WingsOptions) -> Self {
        for folder in [&options.data, &options.backups] {
            fs_err::create_dir_all(folder).unwrap();
        }
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15));
        let (listen, control) = (options.listen, options.control);
        let wings = Arc::new(Wings {
            state: Mutex::new(WingsState::load(&options.data)),
            options,
            faults: FaultSwitch::default(),
            serving: OnceLock::new(),
            client: client.no_proxy().build().unwrap(),
        });
        let shared = web::Data::from(Arc::clone(&wings));
        let routes = move |config: &mut web::ServiceConfig| {
            config.app_data(shared.clone());
            config.configure(server_api::routes);
            config.configure(backups::routes);
            config.default_service(web::to(server_api::unknown));
        };
        let serving = Serving::start(listen, wings.faults.clone(), routes);
        let _only = wings.serving.set(serving);
        let shared = web::Data::from(Arc::clone(&wings));
        let routes = move |config: &mut web::ServiceConfig| {
            config.app_data(shared.clone()).configure(control::routes);
        };
        let control = Serving::start(control, FaultSwitch::default(), routes);
        Self { wings, control }
    }

    /// Where Wings itself answers, behind the proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.wings.address())
    }

    pub(crate) fn control_url(&self) -> String {
        format!("http://{}", self.control.address())
    }

    /// The text of its settings file.
    pub(crate) fn settings(&self) -> String {
        self.wings.settings()
    }

    /// The folder of the archives that Wings made itself.
    pub(crate) fn backup_directory(&self) -> &Path {
        &self.wings.options.backups
    }

    /// The directory of a server.
    pub(crate) fn directory(&self, server: Uuid) -> PathBuf {
        self.wings.directory(server)
    }

    /// The path of an archive that Wings made, or would make.
    pub(crate) fn archive(&self, server: Uuid, backup: Uuid) -> PathBuf {
        self.wings.archive(server, backup)
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.wings.set_fault(fault);
    }

    /// Adds a server that is offline, and makes its directory.
    pub(crate) fn add_server(&self, server: Uuid) {
        self.wings.add_server(server);
    }

    /// Sets the state of a server at once.
    pub(crate) fn set_power(&self, server: Uuid, state: PowerState) {
        self.change_server(server, |server| server.enter(state));
    }

    pub(crate) fn change_server(&self, server: Uuid, change: impl FnOnce(&mut WingsServer)) {
        let mut state = self.wings.state.lock().unwrap();
        change(state.servers.get_mut(&server).unwrap());
    }

    pub(crate) fn server(&self, server: Uuid) -> WingsServer {
        self.wings.state.lock().unwrap().servers[&server].clone()
    }

    /// Stops the container of a server without Wings, which takes it as a crash and starts the
    /// server again.
    pub(crate) fn stop_outside(&self, server: Uuid) {
        self.change_server(server, |server| server.crash());
    }

    /// Every request that arrived so far, with the status of its answer.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.wings.state.lock().unwrap().calls.clone()
    }
}

impl Drop for WingsStandIn {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(serving) = self.wings.serving.get() {
            serving.stop();
        }
    }
}

impl Wings {
    fn address(&self) -> SocketAddr {
        self.serving.get().unwrap().address()
    }

    fn settings(&self) -> String {
        let options = &self.options;
        let (data, backups) = (&options.data, &options.backups);
        wings_settings(&options.key, &options.remote, self.address(), data, backups)
    }

    fn directory(&self, server: Uuid) -> PathBuf {
        self.options.data.join(server.to_string())
    }

    fn archive(&self, server: Uuid, backup: Uuid) -> PathBuf {
        let folder = match self.options.flavour {
            Flavour::Pterodactyl => self.options.backups.clone(),
            Flavour::Pelican => self.options.backups.join(server.to_string()),
        };
        folder.join(format!("{backup}.tar.gz"))
    }

    fn set_fault(&self, fault: Fault) {
        let is_down = fault == Fault::Down;
        self.faults.set(fault);
        self.serving.get().unwrap().set_down(is_down);
    }

    fn add_server(&self, server: Uuid) {
        fs_err::create_dir_all(self.directory(server)).unwrap();
        let mut state = self.state.lock().unwrap();
        state.servers.insert(server, WingsServer::default());
    }
}
