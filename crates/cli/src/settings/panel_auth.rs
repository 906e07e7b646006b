//! Reads `auth.panel`: the panel that decides about callers with its own credentials.

use holdfast_api::PanelAuthOptions;

use super::values::SettingsReader;

/// The longest time that an answer of the panel is used, in seconds.
const CACHE_SECONDS_MAX: u64 = 60;

impl SettingsReader {
    /// Reads the options. They are `None` if there is no panel.
    pub(super) fn panel_auth(&mut self) -> Option<Option<PanelAuthOptions>> {
        let url = self.optional_url("auth.panel.url");
        let ca_bundle = self.ca_bundle("auth.panel.ca_file");
        let cache_for = self.seconds("auth.panel.cache_seconds", 0..=CACHE_SECONDS_MAX);
        let session_cookies = self.optional_bool("auth.panel.session_cookies");
        let (ca_bundle, cache_for) = (ca_bundle?, cache_for?);
        let session_cookies = session_cookies?.unwrap_or(true);
        Some(url?.map(|url| PanelAuthOptions {
            url,
            ca_bundle,
            cache_for,
            session_cookies,
        }))
    }
}
