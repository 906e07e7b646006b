//! Words that several texts of errors have in common.

use holdfast_domain::backup::BackupOperation;
use holdfast_domain::limit::ServerBusy;

pub(super) fn busy_reason(busy: ServerBusy) -> &'static str {
    match busy {
        ServerBusy::Installing => "it is installing",
        ServerBusy::Suspended => "it is suspended",
        ServerBusy::BackingUp => "a backup of it is in progress",
        ServerBusy::Restoring => "a restore of it is in progress",
    }
}

pub(super) fn participle(purpose: BackupOperation) -> &'static str {
    match purpose {
        BackupOperation::Download => "downloaded",
        BackupOperation::Restore => "restored",
        BackupOperation::Lock => "locked",
        BackupOperation::Unlock => "unlocked",
        BackupOperation::Verify => "verified",
    }
}
