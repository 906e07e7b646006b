//! The fields of requests that register or change a server.

use std::path::PathBuf;

use holdfast_db::servers::DIRECTORY_TAKEN;
use holdfast_domain::retention::KeepRules;
use holdfast_domain::{
    DirectoryRules, DirectorySetBy, DiskName, NodeName, Server, ServerId, ServerState, UserId,
    server_directory,
};
use holdfast_storage::Disks;

use crate::error::ApiError;
use crate::input::Fields;
use crate::operator::Operator;
use crate::state::{ApiOptions, ApiState};

/// The longest name of a server, in characters.
const NAME_MAX: usize = 191;
/// The largest number of backups or days that the database can store.
const COUNT_MAX: u64 = i32::MAX.unsigned_abs() as u64;
/// The largest size that the database can store, in bytes.
const BYTES_MAX: u64 = i64::MAX.unsigned_abs();

/// The fields of a request. `None` leaves a field unchanged; `Some(None)` resets it to the value of
/// the settings.
#[derive(Debug)]
pub(crate) struct ServerFields {
    pub(super) owner: Option<UserId>,
    pub(super) name: Option<String>,
    pub(super) directory: Option<PathBuf>,
    node: Option<Option<NodeName>>,
    disk: Option<Option<DiskName>>,
    backups: Option<Option<u64>>,
    max_backup_bytes: Option<Option<u64>>,
    quota_bytes: Option<Option<u64>>,
    retention_days: Option<Option<u64>>,
    keep: Option<Option<KeepRules>>,
    rotate: Option<bool>,
    default_schedule: Option<bool>,
    state: Option<ServerState>,
}

impl ServerFields {
    /// Takes the fields of a request. Violations are recorded in `fields`.
    pub(super) async fn take(
        operator: &Operator,
        state: &ApiState,
        fields: &mut Fields,
    ) -> Result<Self, ApiError> {
        let owner = operator.user_field(state, fields, "owner").await?;
        let rules = &state.options.directory_rules;
        let taken = Self::take_without_owner(fields, rules, &state.disks);
        Ok(Self { owner, ..taken })
    }

    /// Takes all fields that can be read without the database.
    pub(crate) fn take_without_owner(
        fields: &mut Fields,
        rules: &DirectoryRules,
        disks: &Disks,
    ) -> Self {
        Self {
            owner: None,
            name: fields.text("name", NAME_MAX),
            directory: take_directory(fields, rules),
            node: fields.nullable("node", |fields| {
                let expected = "1 to 64 characters (a-z, A-Z, 0-9, `_`, `-` and `.`)";
                fields.parsed("node", "string", expected, |text| {
                    NodeName::parse(text).ok()
                })
            }),
            disk: fields.nullable("disk", |fields| take_disk(fields, disks)),
            backups: take_number(fields, "backup_limit", 0, COUNT_MAX),
            max_backup_bytes: take_number(fields, "max_backup_bytes", 1, BYTES_MAX),
            quota_bytes: take_number(fields, "quota_bytes", 0, BYTES_MAX),
            retention_days: take_number(fields, "retention_days", 0, COUNT_MAX),
            keep: fields.nullable("keep", |fields| {
                fields.parsed("keep", "rules", KeepRules::FORMAT, KeepRules::parse)
            }),
            rotate: fields.flag("rotate"),
            default_schedule: fields.flag("default_schedule"),
            state: take_state(fields),
        }
    }

    /// Checks that the fields may be changed. Those of a server that a panel manages come from the
    /// panel.
    pub(super) fn check_manager(&self, server: &Server) -> Result<(), ApiError> {
        if server.managed_by.is_none() {
            return Ok(());
        }
        let of_panel = [
            ("owner", self.owner.is_some()),
            ("name", self.name.is_some()),
            ("dir", self.directory.is_some()),
            ("node", self.node.is_some()),
            ("state", self.state.is_some()),
            ("default_schedule", self.default_schedule == Some(true)),
        ];
        match of_panel.into_iter().find(|(_, is_given)| *is_given) {
            Some((field, _)) => {
                let detail = format!("The {field} of this server is managed by its panel.");
                Err(ApiError::violation(field, "prohibited", detail))
            }
            None => Ok(()),
        }
    }

    /// Applies the fields to a server. Returns whether its node or directory has changed.
    pub(crate) fn apply(self, server: &mut Server, options: &ApiOptions) -> bool {
        let before = (server.node.clone(), server.directory.clone());
        set(&mut server.owner, self.owner.map(Some));
        set(&mut server.name, self.name);
        set(&mut server.directory, self.directory);
        let node = self.node.map(|node| node.unwrap_or(options.node.clone()));
        set(&mut server.node, node);
        set(&mut server.disk, self.disk);
        set(&mut server.state, self.state);
        let limits = &mut server.limits;
        let count = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        set(&mut limits.backups, self.backups.map(count));
        set(&mut limits.max_backup_bytes, self.max_backup_bytes);
        set(&mut limits.quota_bytes, self.quota_bytes);
        set(&mut limits.retention_days, self.retention_days.map(count));
        set(&mut limits.keep, self.keep);
        set(&mut limits.rotate, self.rotate);
        let excluded = self.default_schedule.map(|included| !included);
        set(&mut limits.no_default_schedule, excluded);
        let has_moved = before != (server.node.clone(), server.directory.clone());
        if has_moved {
            server.directory_set_by = DirectorySetBy::Application;
        }
        has_moved
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn take_number(fields: &mut Fields, field: &str, min: u64, max: u64) -> Option<Option<u64>> {
    fields.nullable(field, |fields| fields.integer(field, min..=max))
}

/// Takes the state of a server.
pub(super) fn take_state(fields: &mut Fields) -> Option<ServerState> {
    let states = ServerState::ALL.map(ServerState::as_str);
    fields.one_of("state", &states, ServerState::parse)
}

/// Takes the name of a configured disk.
fn take_disk(fields: &mut Fields, disks: &Disks) -> Option<DiskName> {
    let names: Vec<&str> = disks.iter().map(|(name, _)| name.as_str()).collect();
    fields.one_of("disk", &names, |text| {
        let mut known = disks.iter().map(|(name, _)| name);
        known.find(|name| name.as_str() == text).cloned()
    })
}

/// Takes a directory that the rules allow for the application API.
fn take_directory(fields: &mut Fields, rules: &DirectoryRules) -> Option<PathBuf> {
    let text = fields.untrimmed("dir")?;
    let checked = server_directory::parse(&text).and_then(|directory| {
        rules.check(&directory, DirectorySetBy::Application)?;
        Ok(directory)
    });
    match checked {
        Ok(directory) => Some(directory),
        Err(refused) => {
            fields.add_violation("dir", "directory", format!("The dir {refused}."));
            None
        }
    }
}

/// Checks the directory of a changed server. A new node moves the server even if the request
/// contains no directory.
pub(super) fn check_directory(server: &Server, options: &ApiOptions) -> Result<(), ApiError> {
    options
        .directory_rules
        .check(&server.directory, DirectorySetBy::Application)
        .map_err(|refused| ApiError::violation("dir", "directory", format!("The dir {refused}.")))
}

/// Maps an error of saving a server: a used directory or UUID, or a missing owner, is a violation.
pub(super) fn map_save_error(error: holdfast_db::Error, id: ServerId) -> ApiError {
    match error {
        holdfast_db::Error::Conflict { constraint } if constraint == DIRECTORY_TAKEN => {
            ApiError::violation(
                "dir",
                "unique",
                "The dir is the directory of another server on this node, or one contains the \
                 other.",
            )
        }
        holdfast_db::Error::Conflict { .. } => ApiError::violation(
            "uuid",
            "unique",
            format!(
                "A server whose UUID begins with {} already exists.",
                id.short()
            ),
        ),
        holdfast_db::Error::Missing { .. } => {
            ApiError::violation("owner", "exists", "The owner is not an existing user.")
        }
        other => other.into(),
    }
}
