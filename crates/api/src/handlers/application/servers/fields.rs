//! What can be said of a server, when it is registered and when it is changed.

use std::path::PathBuf;

use holdfast_db::servers::DIRECTORY_TAKEN;
use holdfast_domain::retention::KeepRules;
use holdfast_domain::{
    DirectorySetBy, DiskName, NodeName, Server, ServerId, ServerState, UserId, server_directory,
};
use holdfast_storage::Disks;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::{Fields, Violation};
use crate::state::{ApiOptions, ApiState};

/// The longest name of a server, in characters.
const NAME_MAX: usize = 191;
/// The greatest number of backups and of days that the database holds.
const COUNT_MAX: u64 = i32::MAX.unsigned_abs() as u64;
/// The greatest size that the database holds, in bytes.
const BYTES_MAX: u64 = i64::MAX.unsigned_abs();

/// What a request says of a server. Of what can be taken back, `Some(None)` takes the setting again.
#[derive(Debug)]
pub(super) struct ServerFields {
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
    state: Option<ServerState>,
}

impl ServerFields {
    /// Takes the fields of a request; what is wrong with them is noted there.
    pub(super) async fn take(
        operator: &Operator,
        state: &ApiState,
        fields: &mut Fields,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            owner: operator.owner(state, fields, "owner").await?,
            name: fields.text("name", NAME_MAX),
            directory: directory(fields, &state.options),
            node: fields.nullable("node", |fields| {
                let says = "1 to 64 of a-z, A-Z, 0-9, `_`, `-` and `.`";
                fields.parsed("node", "string", says, |text| NodeName::parse(text).ok())
            }),
            disk: fields.nullable("disk", |fields| disk(fields, &state.disks)),
            backups: number(fields, "backup_limit", 0, COUNT_MAX),
            max_backup_bytes: number(fields, "max_backup_bytes", 1, BYTES_MAX),
            quota_bytes: number(fields, "quota_bytes", 0, BYTES_MAX),
            retention_days: number(fields, "retention_days", 0, COUNT_MAX),
            keep: fields.nullable("keep", |fields| {
                fields.parsed("keep", "rules", KeepRules::FORMAT, KeepRules::parse)
            }),
            rotate: fields.flag("rotate"),
            state: state_of(fields),
        })
    }

    /// Writes what was said into a server's record; says whether the server has moved.
    pub(super) fn apply(self, server: &mut Server, options: &ApiOptions) -> bool {
        let place = (server.node.clone(), server.directory.clone());
        set(&mut server.owner, self.owner);
        set(&mut server.name, self.name);
        set(&mut server.directory, self.directory);
        let node = self.node.map(|node| node.unwrap_or(options.node.clone()));
        set(&mut server.node, node);
        set(&mut server.disk, self.disk);
        set(&mut server.state, self.state);
        let limits = &mut server.limits;
        let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        set(&mut limits.backups, self.backups.map(small));
        set(&mut limits.max_backup_bytes, self.max_backup_bytes);
        set(&mut limits.quota_bytes, self.quota_bytes);
        set(&mut limits.retention_days, self.retention_days.map(small));
        set(&mut limits.keep, self.keep);
        set(&mut limits.rotate, self.rotate);
        let moved = place != (server.node.clone(), server.directory.clone());
        if moved {
            server.directory_set_by = DirectorySetBy::Application;
        }
        moved
    }
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn number(fields: &mut Fields, field: &str, min: u64, max: u64) -> Option<Option<u64>> {
    fields.nullable(field, |fields| fields.integer(field, min..=max))
}

/// Takes the state that a panel gives a server.
pub(super) fn state_of(fields: &mut Fields) -> Option<ServerState> {
    let words = ServerState::ALL.map(ServerState::as_str);
    fields.one_of("state", &words, ServerState::parse)
}

fn disk(fields: &mut Fields, disks: &Disks) -> Option<DiskName> {
    let names: Vec<&str> = disks.iter().map(|(name, _)| name.as_str()).collect();
    fields.one_of("disk", &names, |text| {
        let mut known = disks.iter().map(|(name, _)| name);
        known.find(|name| name.as_str() == text).cloned()
    })
}

/// Takes a directory that the application API may name.
fn directory(fields: &mut Fields, options: &ApiOptions) -> Option<PathBuf> {
    let text = fields.untrimmed("dir")?;
    let checked = server_directory::parse(&text).and_then(|directory| {
        options
            .places
            .check(&directory, DirectorySetBy::Application)?;
        Ok(directory)
    });
    match checked {
        Ok(directory) => Some(directory),
        Err(refused) => {
            fields.refuse("dir", "directory", format!("The dir {refused}."));
            None
        }
    }
}

/// Checks once more where a server is to be: a change of its node alone moves its directory, too.
pub(super) fn check_place(server: &Server, options: &ApiOptions) -> Result<(), ApiError> {
    options
        .places
        .check(&server.directory, DirectorySetBy::Application)
        .map_err(|refused| Violation::alone("dir", "directory", format!("The dir {refused}.")))
}

/// What a database's refusal to store a server means.
pub(super) fn refused(error: holdfast_db::Error, id: ServerId) -> ApiError {
    match error {
        holdfast_db::Error::Conflict { constraint } if constraint == DIRECTORY_TAKEN => {
            Violation::alone(
                "dir",
                "unique",
                "The dir is the directory of another server on this node, or one of them lies in the other.",
            )
        }
        holdfast_db::Error::Conflict { .. } => Violation::alone(
            "uuid",
            "unique",
            format!(
                "A server whose UUID begins with {} is there already.",
                id.short()
            ),
        ),
        holdfast_db::Error::Missing { .. } => {
            Violation::alone("owner", "exists", "The owner is no user.")
        }
        other => other.into(),
    }
}
