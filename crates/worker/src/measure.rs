//! How much there is to back up, counted before a backup exists.

use std::sync::Arc;
use std::time::Duration;

use holdfast_archive::{Control, IgnoreRules};
use holdfast_domain::{DirectoryRules, Server};

use crate::server_directory;

/// How long counting may take: somebody waits for it.
const QUICK: Duration = Duration::from_secs(2);

/// Counts the bytes that a backup of a server would read. Nothing when that takes too long, or the files can't
/// be seen from here: the backup itself will say why.
pub async fn measure(rules: DirectoryRules, server: Server, patterns: Vec<String>) -> Option<u64> {
    let control = Arc::new(Control::new());
    let watched = Arc::clone(&control);
    let counting = tokio::task::spawn_blocking(move || {
        let directory =
            server_directory::resolve(&rules, &server.directory, server.directory_set_by).ok()?;
        let lines = match patterns.is_empty() {
            true => holdfast_archive::read_pteroignore(&directory).ok()?.lines,
            false => patterns,
        };
        let rules = IgnoreRules::new(&lines).ok()?;
        let totals = holdfast_archive::scan(&directory, &rules, &watched).ok()?;
        Some(totals.bytes)
    });
    let counted = tokio::time::timeout(QUICK, counting).await;
    control.cancel();
    counted.ok()?.ok()?
}
