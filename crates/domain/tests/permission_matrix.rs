//! Snapshots of the rules as readable tables: actions by access, operations by state.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::DateTime;
use uuid::Uuid;

use holdfast_domain::access::Action;
use holdfast_domain::backup::{BackupNotes, BackupOperation, CompletedBackup};
use holdfast_domain::limit::{CreateLimits, ServerLoad, Throttle, check_create, check_idle};
use holdfast_domain::{
    Backup, BackupId, BackupState, DiskName, JobKind, Permission, ServerAccess, ServerId,
    ServerState,
};

#[test]
fn each_kind_of_access_allows_its_actions() {
    let mut standings = vec![
        ("owner".to_owned(), ServerAccess::Owner),
        ("admin".to_owned(), ServerAccess::Admin),
        (
            "subuser without any".to_owned(),
            ServerAccess::Subuser(BTreeSet::new()),
        ),
    ];
    for permission in Permission::ALL {
        let name = format!("subuser with {}", permission.as_str());
        standings.push((name, ServerAccess::Subuser(BTreeSet::from([permission]))));
    }
    let mut table = format!("{:30}", "");
    for action in Action::ALL {
        write!(table, "{:>16}", format!("{action:?}").to_lowercase()).unwrap();
    }
    for (name, standing) in standings {
        write!(table, "\n{name:30}").unwrap();
        for action in Action::ALL {
            write!(
                table,
                "{:>16}",
                if standing.may(action) { "yes" } else { "-" }
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn each_state_of_backup_and_server_allows_its_operations() {
    let at = DateTime::from_timestamp(0, 0).unwrap();
    let completed = BackupState::Completed(CompletedBackup {
        at,
        sha256: [0; 32],
        size_bytes: 1,
        attempt: 1,
        notes: BackupNotes::default(),
        work: None,
    });
    let failed = BackupState::Failed {
        at,
        error: "why".into(),
    };
    let states = [
        ("creating", BackupState::Creating),
        ("completed", completed),
        ("failed", failed),
    ];
    let mut table = String::from("backup\n");
    for (name, state) in states {
        for is_locked in [false, true] {
            let backup = Backup {
                id: BackupId(Uuid::nil()),
                server: ServerId(Uuid::nil()),
                name: "b".into(),
                ignored_files: Vec::new(),
                disk: DiskName::parse("local").unwrap(),
                node: None,
                state: state.clone(),
                is_locked,
                is_scheduled: false,
                is_full: false,
                schedule: None,
                created_at: at,
                progress: None,
                restore: None,
                verification: None,
                damaged_at: None,
            };
            let locked = if is_locked { "locked" } else { "" };
            let delete = backup.check_delete();
            let download = backup
                .check_completed(BackupOperation::Download)
                .map(|_| ());
            writeln!(
                table,
                "{name:12}{locked:8} delete {delete:?}, download, restore, lock {download:?}"
            )
            .unwrap();
        }
    }
    table.push_str("server\n");
    let unfinished = [
        None,
        Some(JobKind::CreateBackup),
        Some(JobKind::RestoreBackup),
        Some(JobKind::DeleteBackup),
    ];
    for state in ServerState::ALL {
        for job in unfinished {
            let load = ServerLoad {
                state,
                unfinished: job,
                backups: 0,
                rotatable: 0,
                archived_bytes: 0,
                recent_backups: 0,
            };
            let throttle = Throttle {
                count: 0,
                seconds: 1,
            };
            let create = check_create(
                &load,
                &CreateLimits {
                    backups: 1,
                    throttle,
                    rotate: false,
                },
            );
            let restore = check_idle(state, job);
            let job = job.map_or("nothing runs", JobKind::as_str);
            writeln!(
                table,
                "{:12}{job:16} create {create:?}, restore {restore:?}",
                state.as_str()
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}
