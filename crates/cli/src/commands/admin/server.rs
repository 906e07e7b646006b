//! `holdfast admin server create|set|list|delete`.

mod delete;

use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::servers::DIRECTORY_TAKEN;
use holdfast_db::{Database, Error, servers};
use holdfast_domain::job::ServerBackupsAction;
use holdfast_domain::retention::KeepRules;
use holdfast_domain::server::ServerManager;
use holdfast_domain::{
    DirectorySetBy, DiskName, NodeName, Server, ServerId, ServerRef, ServerState, server_directory,
};

use super::{change, date, find_server, find_user};
use crate::error::CommandError;
use crate::settings::Settings;

/// The subcommands of `holdfast admin server`.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Registers a server, so that its directory can be backed up
    Create {
        /// UUID of the server [default: a new one]
        #[arg(long, value_name = "UUID")]
        uuid: Option<Uuid>,
        /// The attributes of the server.
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Changes a server; options that are not given stay as they are
    Set {
        /// UUID of the server, or its first eight characters
        server: String,
        /// State of the server in the panel; only `normal` allows backups and restores
        #[arg(
            long,
            value_name = "STATE",
            value_parser = ["normal", "installing", "suspended", "restoring"]
        )]
        state: Option<String>,
        /// The attributes to change.
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Lists servers
    List,
    /// Deletes a server, and waits until it is deleted; its directory is kept
    #[command(group = clap::ArgGroup::new("backups").required(true))]
    Delete {
        /// UUID of the server, or its first eight characters
        server: String,
        /// Deletes the backups of the server from their disks
        #[arg(long, group = "backups")]
        delete_backups: bool,
        /// Keeps the archives on their disks, and only removes the backups from the database
        #[arg(long, group = "backups")]
        keep_backups: bool,
    },
}

/// The attributes of a server.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// Email address of the owner
    #[arg(long, value_name = "EMAIL")]
    owner: Option<String>,
    /// Display name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Directory of the server on its node
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Node that has the directory [default: worker.node]
    #[arg(long, value_name = "NODE", value_parser = NodeName::parse)]
    node: Option<NodeName>,
    /// Disk for new backups [default: storage.default]
    #[arg(long, value_name = "DISK", value_parser = DiskName::parse)]
    disk: Option<DiskName>,
    /// Maximum number of backups; 0 means no backups
    #[arg(long, value_name = "N")]
    backup_limit: Option<u32>,
    /// Maximum size of an archive, in bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_backup_bytes: Option<u64>,
    /// Maximum total size of all archives, in bytes; 0 means no quota
    #[arg(long, value_name = "N")]
    quota_bytes: Option<u64>,
    /// Maximum age of backups, in days; 0 means no limit
    #[arg(long, value_name = "N")]
    retention_days: Option<u32>,
    /// Retention rules that replace those of the settings, such as last=3,daily=7,weekly=4 (also
    /// within=DAYS, hourly, monthly); `settings` applies those of the settings again
    #[arg(long, value_name = "RULES", value_parser = parse_keep)]
    keep: Option<ServerKeepRules>,
    /// When the server has reached its backup limit: whether a new backup replaces the oldest
    /// unlocked one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    rotate: Option<bool>,
    /// Whether the server has the default schedule of the settings (schedules.default)
    #[arg(long, value_name = "STATE", value_parser = ["on", "off"])]
    default_schedule: Option<String>,
}

/// The retention rules of a server; `None` for those of the settings.
#[derive(Clone, Copy, Debug)]
struct ServerKeepRules(Option<KeepRules>);

fn parse_keep(text: &str) -> Result<ServerKeepRules, String> {
    match text {
        "settings" => Ok(ServerKeepRules(None)),
        rules => match KeepRules::parse(rules) {
            Some(rules) => Ok(ServerKeepRules(Some(rules))),
            None => Err(format!("must be `settings`, or {}", KeepRules::FORMAT)),
        },
    }
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: ServerCommand,
) -> Result<Value, CommandError> {
    match command {
        ServerCommand::Create { uuid, options } => create(settings, database, uuid, options).await,
        ServerCommand::Set {
            server,
            state,
            options,
        } => {
            let mut server = find_server(database, &server).await?;
            if let Some(state) = state {
                server.state = ServerState::parse(&state).unwrap_or_default();
            }
            apply(settings, database, &mut server, options).await?;
            save(database, "server set", &server).await?;
            Ok(view(&server))
        }
        ServerCommand::Delete {
            server,
            delete_backups,
            ..
        } => {
            let backups = if delete_backups {
                ServerBackupsAction::Delete
            } else {
                ServerBackupsAction::Keep
            };
            delete::run(database, &server, backups).await
        }
        ServerCommand::List => Ok(servers::list(database).await?.iter().map(view).collect()),
    }
}

async fn create(
    settings: &Settings,
    database: &Database,
    uuid: Option<Uuid>,
    options: ServerOptions,
) -> Result<Value, CommandError> {
    let missing = |option: &str| CommandError::new(format!("a new server needs --{option}"));
    let owner = options.owner.as_deref().ok_or_else(|| missing("owner"))?;
    let name = options.name.clone().ok_or_else(|| missing("name"))?;
    options.dir.as_ref().ok_or_else(|| missing("dir"))?;
    let id = ServerId(uuid.unwrap_or_else(Uuid::new_v4));
    if servers::find(database, &ServerRef::Short(id.short()))
        .await?
        .is_some()
    {
        return Err(CommandError::new(format!(
            "there is already a server `{}`: `holdfast admin server set` changes it",
            id.short()
        )));
    }
    let mut server = Server {
        id,
        owner: Some(find_user(database, owner).await?.id),
        name,
        directory: PathBuf::new(),
        node: settings.api.node.clone(),
        directory_set_by: DirectorySetBy::Admin,
        disk: None,
        state: ServerState::Normal,
        limits: holdfast_domain::server::ServerLimits::default(),
        created_at: Utc::now(),
        managed_by: None,
        absent_since: None,
    };
    apply(settings, database, &mut server, options).await?;
    save(database, "server create", &server).await?;
    Ok(view(&server))
}

async fn save(database: &Database, command: &str, server: &Server) -> Result<(), CommandError> {
    let mut change = change::begin(database, command).await?;
    servers::save(&mut change, server)
        .await
        .map_err(|error| conflict(error, server))?;
    Ok(change.commit(Some(&server.id.to_string()), None).await?)
}

/// Explains a conflict when a server is saved.
fn conflict(error: Error, server: &Server) -> CommandError {
    match error {
        Error::Conflict { constraint } if constraint == DIRECTORY_TAKEN => {
            CommandError::new(format!(
                "--dir `{}` is the directory of another server on node `{}`, or one contains \
             the other: a restore of one server would replace files of the other",
                server.directory.display(),
                server.node
            ))
        }
        Error::Conflict { .. } => {
            CommandError::new(format!("there is already a server `{}`", server.id.short()))
        }
        other => other.into(),
    }
}

async fn apply(
    settings: &Settings,
    database: &Database,
    server: &mut Server,
    options: ServerOptions,
) -> Result<(), CommandError> {
    if let Some(owner) = options.owner {
        server.owner = Some(find_user(database, &owner).await?.id);
    }
    if let Some(name) = options.name {
        let name = name.trim();
        if name.is_empty() || name.contains('\0') {
            return Err(CommandError::new("--name must not be blank"));
        }
        server.name = name.to_owned();
    }
    if let Some(node) = options.node {
        server.node = node;
    }
    if let Some(dir) = options.dir {
        server.directory = checked_directory(settings, &server.node, &dir)?;
        server.directory_set_by = DirectorySetBy::Admin;
    }
    server.disk = options.disk.or(server.disk.take());
    let limits = &mut server.limits;
    limits.backups = options.backup_limit.or(limits.backups);
    limits.max_backup_bytes = options.max_backup_bytes.or(limits.max_backup_bytes);
    limits.quota_bytes = options.quota_bytes.or(limits.quota_bytes);
    limits.retention_days = options.retention_days.or(limits.retention_days);
    if let Some(ServerKeepRules(rules)) = options.keep {
        limits.keep = rules;
    }
    limits.rotate = options.rotate.unwrap_or(limits.rotate);
    if let Some(state) = options.default_schedule {
        limits.no_default_schedule = state == "off";
    }
    Ok(())
}

/// Checks a directory, and returns its path to store. On this node it must exist, and links in the
/// path are resolved. On another node, only the form of the path can be checked.
fn checked_directory(
    settings: &Settings,
    node: &NodeName,
    dir: &Path,
) -> Result<PathBuf, CommandError> {
    let refused = |reason: &str| CommandError::new(format!("--dir `{}` {reason}", dir.display()));
    let Some(text) = dir.to_str().filter(|text| !text.contains('\0')) else {
        return Err(refused("is not valid UTF-8"));
    };
    let is_here = *node == settings.api.node;
    let dir_path = if is_here {
        let path = fs_err::canonicalize(dir).map_err(|_| refused("does not exist on this node"))?;
        if !path.is_dir() {
            return Err(refused("is not a directory"));
        }
        path
    } else {
        server_directory::parse(text).map_err(|error| refused(&error.to_string()))?
    };
    let mut rules = settings.api.directory_rules.clone();
    if !is_here {
        // The disks are folders of this machine, not of the other node.
        rules.disks.clear();
    }
    rules
        .check(&dir_path, DirectorySetBy::Admin)
        .map_err(|error| refused(&error.to_string()))?;
    Ok(dir_path)
}

fn view(server: &Server) -> Value {
    json!({
        "uuid": server.id,
        "identifier": server.id.short(),
        "name": server.name,
        "owner": server.owner,
        "dir": server.directory,
        "node": server.node,
        "disk": server.disk,
        "state": server.state.as_str(),
        "backup_limit": server.limits.backups,
        "max_backup_bytes": server.limits.max_backup_bytes,
        "quota_bytes": server.limits.quota_bytes,
        "retention_days": server.limits.retention_days,
        "keep": server.limits.keep.map(|rules| rules.to_string()),
        "rotate": server.limits.rotate,
        "default_schedule": !server.limits.no_default_schedule,
        "managed_by": server.managed_by.map(ServerManager::as_str),
        "absent_since": server.absent_since.map(date),
        "created_at": date(server.created_at),
    })
}
