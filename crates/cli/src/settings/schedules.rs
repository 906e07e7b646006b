//! Reads the settings of schedules.

use holdfast_domain::schedule::Timezone;

use super::values::SettingsReader;

impl SettingsReader {
    pub(super) fn timezone(&mut self, key: &str) -> Option<Timezone> {
        let name = self.string(key)?;
        match Timezone::parse(&name) {
            Some(timezone) => Some(timezone),
            None => {
                let rule = "must be a name of the IANA time zone database such as Europe/Berlin";
                self.reject(key, format!("{rule}, not `{name}`"))
            }
        }
    }
}
