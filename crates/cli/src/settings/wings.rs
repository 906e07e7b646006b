//! Reads `[wings]`: where the settings file of Wings is, and what it says about its node.

mod file;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::wings::WingsNode;
use holdfast_storage::LocalOptions;

use self::file::WingsFile;
use super::values::SettingsReader;
use super::{DiskDriver, StorageSettings};

const CONFIG: &str = "wings.config";

/// The panel's daemon beside which this service runs.
#[derive(Clone, Debug)]
pub struct WingsSettings {
    /// The settings file of Wings.
    pub config: PathBuf,
    /// The node that the file describes.
    pub node: Arc<WingsNode>,
    /// The address of a listener that answers only the node's routes; `None` for `http.listen`.
    pub listen: Option<SocketAddr>,
    /// How long the archives of a server are kept after the panel has stopped listing it; `None`
    /// means without limit.
    pub forget_after: Option<Duration>,
    /// The interval at which the panel is asked for its servers.
    pub sync_every: Duration,
    /// Where Wings keeps its own backups.
    pub backup_directory: PathBuf,
    /// The folders that the panel may mount into servers.
    pub allowed_mounts: Vec<PathBuf>,
}

impl WingsSettings {
    /// Returns a sentence about each local disk that the panel may mount into a server.
    pub fn warnings(&self, storage: &StorageSettings) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, root) in storage.local_roots() {
            for mount in &self.allowed_mounts {
                if root.starts_with(mount) || mount.starts_with(root) {
                    warnings.push(format!(
                        "the folder of disk {name}, {}, can be mounted into servers by the panel, \
                         because `allowed_mounts` of {} has {}: remove it there, or move the disk",
                        root.display(),
                        self.config.display(),
                        mount.display(),
                    ));
                }
            }
        }
        warnings
    }
}

impl StorageSettings {
    fn local_roots(&self) -> impl Iterator<Item = (&holdfast_domain::DiskName, &Path)> {
        self.disks.iter().filter_map(|(name, disk)| {
            let DiskDriver::Local(LocalOptions { root, .. }) = &disk.driver else {
                return None;
            };
            Some((name, root.as_path()))
        })
    }
}

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    /// Reads the settings for a node of a panel; `None` inside if there is no panel.
    pub(super) fn wings(&mut self) -> Option<Option<WingsSettings>> {
        let config = self.string(CONFIG);
        let listen = self.optional_socket_address("wings.listen");
        let url = self.optional_url("wings.url");
        let forget_after = self.days("wings.forget_after_days", 0..=36_525);
        let sync_every = self.seconds("wings.sync_seconds", 1..=86_400);
        let config = config?;
        if config.is_empty() {
            for (key, is_set) in [
                ("wings.listen", matches!(listen, Some(Some(_)))),
                ("wings.url", matches!(url, Some(Some(_)))),
            ] {
                if is_set {
                    self.add_problem(key, "is only used with wings.config, which is not set");
                }
            }
            return Some(None);
        }
        let config = self.absolute_path(CONFIG, Path::new(&config))?;
        let read = WingsFile::read(&config, |name| std::env::var(name).ok());
        let file = match read {
            Ok(file) => file,
            Err(problems) => {
                for problem in problems {
                    self.add_problem(CONFIG, problem);
                }
                return None;
            }
        };
        let wings_url = url?.unwrap_or_else(|| file.url());
        let forget_after = forget_after?;
        Some(Some(WingsSettings {
            config,
            node: Arc::new(WingsNode {
                uuid: file.uuid,
                token_id: file.token_id,
                token: file.token,
                panel_url: file.remote,
                wings_url,
                // Wings resolves links in the path too.
                data: fs_err::canonicalize(&file.data).unwrap_or(file.data),
            }),
            listen: listen?,
            forget_after: (!forget_after.is_zero()).then_some(forget_after),
            sync_every: sync_every?,
            backup_directory: file.backup_directory,
            allowed_mounts: file.allowed_mounts,
        }))
    }

    /// Checks that no disk lies where Wings keeps files of its own.
    pub(super) fn check_wings_folders(
        &mut self,
        wings: Option<&WingsSettings>,
        storage: Option<&StorageSettings>,
    ) {
        let (Some(wings), Some(storage)) = (wings, storage) else {
            return;
        };
        let mut problems = Vec::new();
        for (name, root) in storage.local_roots() {
            let real = fs_err::canonicalize(root).unwrap_or_else(|_| root.to_owned());
            for (folder, key, why) in [
                (&wings.node.data, "system.data", "the servers are"),
                (
                    &wings.backup_directory,
                    "system.backup_directory",
                    "Wings keeps its own backups",
                ),
            ] {
                if real.starts_with(folder) || folder.starts_with(&real) {
                    problems.push((
                        format!("storage.disks.{name}.root"),
                        format!(
                            "must not overlap {}, where {why} (`{key}` of {}), but is {}",
                            folder.display(),
                            wings.config.display(),
                            root.display(),
                        ),
                    ));
                }
            }
        }
        for (key, message) in problems {
            self.add_problem(&key, message);
        }
    }
}
