//! Reads all settings into checked values, and collects every problem on the way.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::layers::Layers;
use super::problem::SettingsError;
use super::values::SettingsReader;
use super::{AuthSettings, DatabaseSettings, LogFormat, LogSettings, MetricsSettings, Settings};

/// Reads all settings. Returns with them the keys that were read.
pub(super) fn settings(
    config_files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
    data: &Path,
) -> Result<(Settings, BTreeSet<String>), SettingsError> {
    let mut layers = Layers::new();
    for path in config_files {
        layers.add_file(path);
    }
    layers.add_environment(environment);
    let mut reader = SettingsReader {
        values: layers.values,
        problems: layers.problems,
        read_keys: BTreeSet::new(),
    };
    match reader.settings(data) {
        Some(settings) if reader.problems.is_empty() => Ok((settings, reader.read_keys)),
        _ => Err(SettingsError(reader.problems)),
    }
}

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    fn settings(&mut self, data: &Path) -> Option<Settings> {
        let http = self.http();
        let database = self.database();
        let auth = self.auth();
        let storage = self.storage(data);
        let wings = self.wings();
        let node = wings.as_ref().and_then(Option::as_ref);
        self.check_wings_folders(node, storage.as_ref());
        let power = self.power(wings.as_ref());
        let api = self.api(storage.as_ref(), power.as_ref(), node);
        let worker = self.worker(api.as_ref(), storage.as_ref(), power, node);
        let metrics = self.metrics();
        let log = self.log();
        Some(Settings {
            http: http?,
            database: database?,
            auth: auth?,
            storage: storage?,
            api: api?,
            worker: worker?,
            wings: wings?,
            metrics: metrics?,
            log: log?,
        })
    }

    fn database(&mut self) -> Option<DatabaseSettings> {
        let url = self.optional_secret("database.url", |text| {
            let url = reqwest::Url::parse(text);
            match url.as_ref().map(reqwest::Url::scheme) {
                Ok("postgres" | "postgresql") => Ok(()),
                _ => Err("must be a URL such as postgres://user:password@host/database".to_owned()),
            }
        });
        // The API and the worker hold a connection each to listen for notifications.
        let max_connections = self.number("database.max_connections", 4..=1000);
        Some(DatabaseSettings {
            url: url?,
            max_connections: max_connections.and_then(NonZeroU32::new)?,
        })
    }

    fn auth(&mut self) -> Option<AuthSettings> {
        let check_length = |key: &str| match key.len() {
            32.. => Ok(()),
            length => Err(format!("must have at least 32 bytes, not {length}")),
        };
        let signing_key = self.optional_secret("auth.signing_key", check_length);
        let previous_signing_keys = self.secrets("auth.previous_signing_keys", check_length);
        let panel = self.panel_auth();
        Some(AuthSettings {
            signing_key: signing_key?,
            previous_signing_keys: previous_signing_keys?,
            panel: panel?,
        })
    }

    fn metrics(&mut self) -> Option<MetricsSettings> {
        let allowed_networks = self.networks("metrics.allowed_networks");
        let listen = self.optional_socket_address("metrics.listen");
        let servers = self.number("metrics.servers", 0..=1_000_000);
        Some(MetricsSettings {
            allowed_networks: allowed_networks?,
            listen: listen?,
            servers: servers?,
        })
    }

    fn log(&mut self) -> Option<LogSettings> {
        let format = self.log_format();
        let filter = self.log_filter();
        let otlp_endpoint = self.optional_url("log.otlp_endpoint");
        Some(LogSettings {
            format: format?,
            filter: filter?,
            otlp_endpoint: otlp_endpoint?,
        })
    }

    fn log_format(&mut self) -> Option<LogFormat> {
        let text = self.string("log.format")?;
        match text.as_str() {
            "human" => Some(LogFormat::Human),
            "json" => Some(LogFormat::Json),
            _ => self.reject("log.format", format!("must be human or json, not `{text}`")),
        }
    }

    fn log_filter(&mut self) -> Option<String> {
        let text = self.string("log.filter")?;
        match EnvFilter::builder().parse(&text) {
            Ok(_) if !text.trim().is_empty() => Some(text),
            Ok(_) => self.reject("log.filter", "must be set, for example to info"),
            Err(error) => {
                let message = format!("`{text}` is not a log filter: {error}");
                self.reject("log.filter", message)
            }
        }
    }
}
