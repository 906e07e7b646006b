//! Reads the settings file of Wings, generously: unknown keys are ignored, and a missing key
//! has the default that Wings gives it. Nothing is ever written to the file.
//!
//! Every problem names the file and the key. None contains a value of `token`.

use std::path::{Path, PathBuf};

use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use uuid::Uuid;

use holdfast_domain::wings::WingsToken;

/// How a value starts that is the path of a file.
const FILE_PREFIX: &str = "file://";

/// What the file says, as far as it is used.
#[derive(Debug)]
pub(super) struct WingsFile {
    pub(super) uuid: Uuid,
    pub(super) token_id: String,
    pub(super) token: WingsToken,
    /// The URL of the panel, without a slash at the end.
    pub(super) remote: String,
    host: String,
    port: u16,
    has_tls: bool,
    pub(super) data: PathBuf,
    pub(super) backup_directory: PathBuf,
    pub(super) allowed_mounts: Vec<PathBuf>,
}

impl WingsFile {
    /// Reads the file. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// All problems, one sentence each.
    pub(super) fn read(
        path: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let text = fs_err::read_to_string(path).map_err(|error| vec![error.to_string()])?;
        Self::parse(path, &text, variable)
    }

    fn parse(
        path: &Path,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let document =
            load(text).map_err(|problem| vec![format!("{} {problem}", path.display())])?;
        let mut reader = FileReader {
            path,
            document,
            problems: Vec::new(),
        };
        let read = reader.file(variable);
        match read {
            Some(file) if reader.problems.is_empty() => Ok(file),
            _ => Err(reader.problems),
        }
    }

    /// Returns the URL at which Wings answers on its own machine.
    pub(super) fn url(&self) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        let host = match self.host.as_str() {
            "" | "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" | "[::]" => "[::1]".to_owned(),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        format!("{scheme}://{host}:{}", self.port)
    }
}

/// Loads the first document. Scalars stay as they are written: a token may look like a number.
fn load(text: &str) -> Result<Yaml<'_>, String> {
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    loader.allow_duplicate_keys(true);
    let mut parser = Parser::new_from_str(text);
    let loaded = parser.load(&mut loader, false);
    let failed = loaded.err().or_else(|| loader.error().cloned());
    if let Some(error) = failed {
        // The error's text may hold a part of the line.
        let line = error.marker().line();
        return Err(format!("is not valid YAML: see line {line}"));
    }
    match loader.into_documents().into_iter().next() {
        Some(document) if document.is_mapping() => Ok(document),
        _ => Err("has no settings: is it the settings file of Wings?".to_owned()),
    }
}

struct FileReader<'a> {
    path: &'a Path,
    document: Yaml<'a>,
    problems: Vec<String>,
}

// Each method reads all of its values before it returns, so that every problem is found.
impl FileReader<'_> {
    fn file(&mut self, variable: impl Fn(&str) -> Option<String>) -> Option<WingsFile> {
        let uuid = self.uuid();
        let token_id = self.credential("token_id", "WINGS_TOKEN_ID", &variable);
        let token = self.credential("token", "WINGS_TOKEN", &variable);
        let remote = self.remote();
        let host = self.text("api.host");
        let port = self.port();
        let has_tls = self.boolean("api.ssl.enabled");
        let folders = self.default_folders();
        let data = self.folder("system.data", &folders.join("volumes"));
        let backup_directory = self.folder("system.backup_directory", &folders.join("backups"));
        let allowed_mounts = self.folders("allowed_mounts");
        Some(WingsFile {
            uuid: uuid?,
            token_id: token_id?,
            token: WingsToken::new(token?),
            remote: remote?,
            host: host?.unwrap_or_else(|| "0.0.0.0".to_owned()),
            port: port?,
            has_tls: has_tls?,
            data: data?,
            backup_directory: backup_directory?,
            allowed_mounts: allowed_mounts?,
        })
    }

    /// Adds a problem and returns `None`.
    fn reject<T>(&mut self, key: &str, message: &str) -> Option<T> {
        let path = self.path.display();
        self.problems.push(format!("{path}: `{key}` {message}"));
        None
    }

    /// Returns the node of a key such as `api.ssl.enabled`; `None` if it is missing or null.
    fn node(&self, key: &str) -> Option<&Yaml<'_>> {
        let mut node = &self.document;
        for part in key.split('.') {
            let Yaml::Mapping(mapping) = node else {
                return None;
            };
            node = mapping.iter().rev().find_map(|(name, value)| match name {
                Yaml::Representation(name, _, _) if name == part => Some(value),
                _ => None,
            })?;
        }
        let is_null = match node {
            Yaml::Representation(text, ScalarStyle::Plain, _) => {
                matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        };
        (!is_null).then_some(node)
    }

    /// Reads a scalar as it is written; `None` inside if it is missing.
    fn text(&mut self, key: &str) -> Option<Option<String>> {
        match self.node(key) {
            None => Some(None),
            Some(Yaml::Representation(text, _, _)) => Some(Some(text.to_string())),
            Some(_) => self.reject(key, "must be a single value"),
        }
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let hint = "copy the configuration from the page of the node in the panel again";
        let Some(text) = self.text("uuid")? else {
            return self.reject("uuid", &format!("is missing: {hint}"));
        };
        match Uuid::parse_str(text.trim()) {
            Ok(uuid) => Some(uuid),
            Err(_) => self.reject("uuid", &format!("must be a UUID, not `{text}`: {hint}")),
        }
    }

    /// Reads a credential as Wings does: the variable comes first, `$NAME` is replaced, and
    /// `file://` names a file.
    fn credential(
        &mut self,
        key: &str,
        name: &str,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let written = self.text(key)?;
        let given = variable(name).filter(|value| !value.is_empty());
        let Some(text) = given.or(written).filter(|text| !text.is_empty()) else {
            let message = format!(
                "is missing: copy the configuration from the page of the node in the panel again, \
                 or set {name} for this service as for Wings"
            );
            return self.reject(key, &message);
        };
        let text = match expand(&text, variable) {
            Ok(text) => text,
            Err(name) => {
                let message =
                    format!("uses the variable {name}, which is not set for this service");
                return self.reject(key, &message);
            }
        };
        let text = match text.strip_prefix(FILE_PREFIX) {
            None => text,
            Some(file) => match fs_err::read_to_string(file) {
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => return self.reject(key, &format!("cannot be read: {error}")),
            },
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                "must be printable ASCII characters without spaces, as the panel makes it";
            return self.reject(key, message);
        }
        Some(text)
    }

    fn remote(&mut self) -> Option<String> {
        let key = "remote";
        let Some(text) = self.text(key)? else {
            return self.reject(key, "is missing: set it to the URL of the panel");
        };
        let is_usable = reqwest::Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        if !is_usable {
            let message = "must be the URL of the panel, such as https://panel.example.com, \
                           without a user, ? or #";
            return self.reject(key, message);
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    fn port(&mut self) -> Option<u16> {
        let key = "api.port";
        match self.text(key)? {
            None => Some(8080),
            Some(text) => match text.trim().parse() {
                Ok(port) if port > 0 => Some(port),
                _ => self.reject(key, &format!("must be a port, not `{text}`")),
            },
        }
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        let text = self.text(key)?.unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "" | "false" | "no" | "off" | "n" => Some(false),
            _ => self.reject(key, &format!("must be true or false, not `{text}`")),
        }
    }

    /// Returns the folder of Wings' data by default. Pelican's Wings has another one.
    fn default_folders(&self) -> PathBuf {
        let is_pelican = self
            .path
            .components()
            .any(|part| part.as_os_str() == "pelican");
        PathBuf::from(match is_pelican {
            true => "/var/lib/pelican",
            false => "/var/lib/pterodactyl",
        })
    }

    fn folder(&mut self, key: &str, default: &Path) -> Option<PathBuf> {
        match self.text(key)?.filter(|text| !text.is_empty()) {
            None => Some(default.to_owned()),
            Some(text) => match holdfast_domain::server_directory::parse(&text) {
                Ok(folder) => Some(folder),
                Err(refused) => self.reject(key, &format!("{refused}, but is `{text}`")),
            },
        }
    }

    fn folders(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        let texts = match self.node(key) {
            None => Some(Vec::new()),
            Some(Yaml::Sequence(nodes)) => nodes
                .iter()
                .map(|node| match node {
                    Yaml::Representation(text, _, _) => Some(PathBuf::from(text.as_ref())),
                    _ => None,
                })
                .collect(),
            Some(_) => None,
        };
        match texts {
            Some(folders) => Some(folders),
            None => self.reject(key, "must be a list of folders"),
        }
    }
}

/// Replaces `$NAME` and `${NAME}`.
///
/// # Errors
/// The name of a variable that is not set.
fn expand(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, after) = match after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
        {
            Some(found) => found,
            None => {
                let end = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                after.split_at(end.unwrap_or(after.len()))
            }
        };
        if name.is_empty() {
            expanded.push('$');
        } else {
            expanded.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests;
