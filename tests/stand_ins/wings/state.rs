//! The servers of Wings and their power states.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What Wings knows.
#[derive(Debug, Default)]
pub(crate) struct WingsState {
    pub(crate) servers: BTreeMap<Uuid, WingsServer>,
    pub(crate) calls: Vec<Call>,
    /// The `unique_id` of each download that was made.
    pub(crate) used_tokens: Vec<String>,
}

/// A request to Wings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) status: u16,
}

/// The state of a server, with Wings' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PowerState {
    #[default]
    Offline,
    Starting,
    Running,
    Stopping,
}

/// A server of Wings. Its state changes with time: see [`WingsServer::settle`].
#[derive(Clone, Debug)]
pub(crate) struct WingsServer {
    pub(crate) state: PowerState,
    pub(crate) suspended: bool,
    /// Whether only `kill` ends it.
    pub(crate) ignores_stop: bool,
    /// How long it takes to start and to stop.
    pub(crate) start_takes: Duration,
    pub(crate) stop_takes: Duration,
    /// The commands that its console received.
    pub(crate) console: Vec<String>,
    /// The power actions that were asked for.
    pub(crate) actions: Vec<String>,
    /// How often Wings started it because it had crashed.
    pub(crate) crashes: u32,
    /// Whether a backup of it is being restored by Wings.
    pub(crate) restoring: bool,
    /// When the next state is reached, and which one.
    next: Option<(Instant, PowerState)>,
    /// Whether it starts again as soon as it is offline.
    restarts: bool,
}

impl Default for WingsServer {
    fn default() -> Self {
        Self {
            state: PowerState::Offline,
            suspended: false,
            ignores_stop: false,
            start_takes: Duration::from_millis(50),
            stop_takes: Duration::from_millis(200),
            console: Vec::new(),
            actions: Vec::new(),
            crashes: 0,
            restoring: false,
            next: None,
            restarts: false,
        }
    }
}

impl WingsState {
    /// Each folder in the data directory is a server.
    pub(super) fn load(data: &Path) -> Self {
        let mut state = Self::default();
        for entry in fs_err::read_dir(data).into_iter().flatten() {
            let name = entry.unwrap().file_name();
            if let Some(uuid) = name.to_str().and_then(|name| Uuid::parse_str(name).ok()) {
                state.servers.insert(uuid, WingsServer::default());
            }
        }
        state
    }

    /// The server, in the state that it has reached by now.
    pub(super) fn server(&mut self, uuid: Uuid) -> Option<&mut WingsServer> {
        let server = self.servers.get_mut(&uuid)?;
        server.settle();
        Some(server)
    }
}

impl WingsServer {
    /// Enters a state, and stays there.
    pub(crate) fn enter(&mut self, state: PowerState) {
        self.state = state;
        self.next = None;
        self.restarts = false;
    }

    /// Enters the states that were due since the last call.
    pub(crate) fn settle(&mut self) {
        while let Some((at, state)) = self.next {
            if Instant::now() < at {
                return;
            }
            self.next = None;
            self.state = state;
            if state == PowerState::Offline && self.restarts {
                self.restarts = false;
                self.start();
            }
        }
    }

    pub(super) fn start(&mut self) {
        if self.state == PowerState::Offline && !self.suspended {
            self.state = PowerState::Starting;
            self.next = Some((Instant::now() + self.start_takes, PowerState::Running));
        }
    }

    pub(super) fn stop(&mut self, then_start: bool) {
        if self.state == PowerState::Offline {
            if then_start {
                self.start();
            }
            return;
        }
        self.restarts = then_start;
        if self.state != PowerState::Stopping {
            self.state = PowerState::Stopping;
            let end = (Instant::now() + self.stop_takes, PowerState::Offline);
            self.next = (!self.ignores_stop).then_some(end);
        }
    }

    pub(super) fn kill(&mut self) {
        self.enter(PowerState::Offline);
    }

    /// Ends without having been told to. Wings starts it again.
    pub(crate) fn crash(&mut self) {
        self.settle();
        if self.state == PowerState::Offline {
            return;
        }
        self.enter(PowerState::Offline);
        self.crashes += 1;
        self.restarts = true;
        // It is seen as offline for a moment.
        self.next = Some((Instant::now() + self.stop_takes, PowerState::Offline));
    }
}
