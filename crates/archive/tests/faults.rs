//! How other engines lose data, one row of our list of faults after the other, and that we do not.

mod contents;
mod damage;
mod work;

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_archive::{
    Control, CreateOptions, Error, RestoreOptions, Rules, create, restore, verify,
};
use rustix::fs::{Mode, OFlags};

use crate::support::*;

/// A server that must survive whatever is done to it.
fn precious(root: &Path) {
    write(root.join("world/level.dat"), "precious");
    write(root.join("config/a/b/c.yml"), "precious: true");
    set_mode(root.join("config/a"), 0o711);
}

fn restored(archive: &std::fs::File, target: &Path, options: &RestoreOptions) -> Result<(), Error> {
    restore(archive, None, target, options, &Control::new(), &mut || {
        Ok(())
    })
    .map(|_| ())
}
