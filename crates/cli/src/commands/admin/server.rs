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
use holdfast_domain::{
    DirectorySetBy, DiskName, NodeName, Server, ServerId, ServerRef, ServerState, server_directory,
};

use super::{change, date, find_server, find_user};
use crate::failure::Failure;
use crate::service;
use crate::settings::Settings;

/// What can be done with servers.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Register a server: a directory that is backed up
    Create {
        /// Its UUID; a new one if not given
        #[arg(long, value_name = "UUID")]
        uuid: Option<Uuid>,
        /// What it is, and its limits
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Change a server
    Set {
        /// Its UUID, or the first eight characters of it
        server: String,
        /// What the panel says it is doing
        #[arg(long, value_name = "STATE", value_parser = ["normal", "installing", "suspended", "restoring"])]
        state: Option<String>,
        /// What changes
        #[command(flatten)]
        options: ServerOptions,
    },
    /// List servers
    List,
    /// Delete a server, and wait until that is done; its directory is never touched
    #[command(group = clap::ArgGroup::new("backups").required(true))]
    Delete {
        /// Its UUID, or the first eight characters of it
        server: String,
        /// Remove its archives from their disks
        #[arg(long, group = "backups")]
        delete_backups: bool,
        /// Leave its archives on their disks, and forget them
        #[arg(long, group = "backups")]
        keep_backups: bool,
    },
}

/// What can be said of a server.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// Address of its owner
    #[arg(long, value_name = "EMAIL")]
    owner: Option<String>,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its directory, on its node
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// The node that sees its directory [default: worker.node]
    #[arg(long, value_name = "NODE", value_parser = NodeName::parse)]
    node: Option<NodeName>,
    /// The disk for its new backups [default: storage.default]
    #[arg(long, value_name = "DISK", value_parser = DiskName::parse)]
    disk: Option<DiskName>,
    /// How many backups it may have; 0 for none at all
    #[arg(long, value_name = "N")]
    backup_limit: Option<u32>,
    /// The greatest archive, in bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_backup_bytes: Option<u64>,
    /// All archives together, in bytes; 0 for no quota
    #[arg(long, value_name = "N")]
    quota_bytes: Option<u64>,
    /// How long backups are kept, in days; 0 for ever
    #[arg(long, value_name = "N")]
    retention_days: Option<u32>,
    /// Which backups are kept, such as last=3,daily=7,weekly=4 (also within=DAYS, hourly, monthly), in place of what
    /// the settings say; `settings` for that again
    #[arg(long, value_name = "RULES", value_parser = keep)]
    keep: Option<Keep>,
    /// Whether it may have one more backup at its limit, for which the oldest unlocked one goes afterwards
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    rotate: Option<bool>,
}

/// A server's own rules, or that it has none.
#[derive(Clone, Copy, Debug)]
struct Keep(Option<KeepRules>);

fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "settings" => Ok(Keep(None)),
        rules => match KeepRules::parse(rules) {
            Some(rules) => Ok(Keep(Some(rules))),
            None => Err(format!("must be `settings`, or {}", KeepRules::FORMAT)),
        },
    }
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: ServerCommand,
) -> Result<Value, Failure> {
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
) -> Result<Value, Failure> {
    let missing = |option: &str| Failure::new(format!("a new server needs --{option}"));
    let owner = options.owner.as_deref().ok_or_else(|| missing("owner"))?;
    let name = options.name.clone().ok_or_else(|| missing("name"))?;
    options.dir.as_ref().ok_or_else(|| missing("dir"))?;
    let id = ServerId(uuid.unwrap_or_else(Uuid::new_v4));
    if servers::find(database, &ServerRef::Short(id.short()))
        .await?
        .is_some()
    {
        return Err(Failure::new(format!(
            "a server named `{}` is there already: `holdfast admin server set` changes it",
            id.short()
        )));
    }
    let mut server = Server {
        id,
        owner: find_user(database, owner).await?.id,
        name,
        directory: PathBuf::new(),
        node: NodeName::parse(&settings.worker.node).map_err(Failure::new)?,
        directory_set_by: DirectorySetBy::Admin,
        disk: None,
        state: ServerState::Normal,
        limits: holdfast_domain::server::ServerLimits::default(),
        created_at: Utc::now(),
    };
    apply(settings, database, &mut server, options).await?;
    save(database, "server create", &server).await?;
    Ok(view(&server))
}

async fn save(database: &Database, command: &str, server: &Server) -> Result<(), Failure> {
    let mut change = change::begin(database, command).await?;
    servers::save(&mut change, server)
        .await
        .map_err(|error| taken(error, server))?;
    Ok(change.commit(Some(&server.id.to_string()), None).await?)
}

/// What a database's refusal to store a server means.
fn taken(error: Error, server: &Server) -> Failure {
    match error {
        Error::Conflict { constraint } if constraint == DIRECTORY_TAKEN => Failure::new(format!(
            "--dir `{}` is the directory of another server on node `{}`, or one of them lies in the other: \
             a restore of one would replace the other",
            server.directory.display(),
            server.node
        )),
        Error::Conflict { .. } => Failure::new(format!(
            "a server named `{}` is there already",
            server.id.short()
        )),
        other => other.into(),
    }
}

async fn apply(
    settings: &Settings,
    database: &Database,
    server: &mut Server,
    options: ServerOptions,
) -> Result<(), Failure> {
    if let Some(owner) = options.owner {
        server.owner = find_user(database, &owner).await?.id;
    }
    if let Some(name) = options.name {
        let name = name.trim();
        if name.is_empty() || name.contains('\0') {
            return Err(Failure::new("--name must not be blank"));
        }
        server.name = name.to_owned();
    }
    if let Some(node) = options.node {
        server.node = node;
    }
    if let Some(dir) = options.dir {
        server.directory = directory(settings, &server.node, &dir)?;
        server.directory_set_by = DirectorySetBy::Admin;
    }
    server.disk = options.disk.or(server.disk.take());
    let limits = &mut server.limits;
    limits.backups = options.backup_limit.or(limits.backups);
    limits.max_backup_bytes = options.max_backup_bytes.or(limits.max_backup_bytes);
    limits.quota_bytes = options.quota_bytes.or(limits.quota_bytes);
    limits.retention_days = options.retention_days.or(limits.retention_days);
    if let Some(Keep(rules)) = options.keep {
        limits.keep = rules;
    }
    limits.rotate = options.rotate.unwrap_or(limits.rotate);
    Ok(())
}

/// Checks a server's directory. On this node it must be there, and its path is stored without
/// links; of another node only the form can be checked.
fn directory(settings: &Settings, node: &NodeName, dir: &Path) -> Result<PathBuf, Failure> {
    let refuse = |why: &str| Failure::new(format!("--dir `{}` {why}", dir.display()));
    let Some(text) = dir.to_str().filter(|text| !text.contains('\0')) else {
        return Err(refuse("is not a name in UTF-8"));
    };
    let here = node.as_str() == settings.worker.node;
    let dir_path = if here {
        let path = fs_err::canonicalize(dir).map_err(|_| refuse("does not exist on this node"))?;
        if !path.is_dir() {
            return Err(refuse("is not a directory"));
        }
        path
    } else {
        server_directory::parse(text).map_err(|refused| refuse(&refused.to_string()))?
    };
    let mut rules = service::place_rules(settings)?;
    if !here {
        // Another machine's folder of the same name.
        rules.disks.clear();
    }
    rules
        .check(&dir_path, DirectorySetBy::Admin)
        .map_err(|refused| refuse(&refused.to_string()))?;
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
        "created_at": date(server.created_at),
    })
}
