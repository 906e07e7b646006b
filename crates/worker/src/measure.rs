//! Counts the size of a backup's source before the backup is created.

use std::sync::Arc;
use std::time::Duration;

use holdfast_archive::{Control, IgnoreRules};
use holdfast_domain::{DirectoryRules, Server};

use crate::server_directory;

/// How long counting may take: a request waits for it.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Counts the bytes that a backup of a server would read. Returns `None` if that takes too long or
/// the files can't be read; the backup itself will report the error.
pub async fn count_source_bytes(
    rules: DirectoryRules,
    server: Server,
    patterns: Vec<String>,
) -> Option<u64> {
    let control = Arc::new(Control::new());
    let scan_control = Arc::clone(&control);
    let counting = tokio::task::spawn_blocking(move || {
        let directory =
            server_directory::resolve(&rules, &server.directory, server.directory_set_by).ok()?;
        let lines = match patterns.is_empty() {
            true => holdfast_archive::read_pteroignore(&directory).ok()?.lines,
            false => patterns,
        };
        let rules = IgnoreRules::new(&lines).ok()?;
        let totals = holdfast_archive::scan(&directory, &rules, &scan_control).ok()?;
        Some(totals.bytes)
    });
    let counted = tokio::time::timeout(COUNT_TIMEOUT, counting).await;
    control.cancel();
    counted.ok()?.ok()?
}
