//! What could not be removed of an old tree, such as immutable files.
//!
//! It is moved into one folder for each directory, `.holdfast-old-…`, so that it never blocks a
//! later restore. Each recovery tries to remove it again.

use std::fmt;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::layout::RestoreLayout;
use super::remove::Remains;
use super::staging::{OwnFolder, names_in};
use crate::Error;
use crate::error::lossy;

/// Moves what is left of a staging folder out of the way. Returns the name of the new place.
pub(super) fn set_aside(layout: &RestoreLayout, staging: &OwnFolder) -> Result<Vec<u8>, Error> {
    let fail = |error| Error::io("move away", &staging.path(layout), error);
    let mut found = OwnFolder::find(layout, &layout.leftovers_name)?;
    let leftovers = match found.pop() {
        Some(found) => found,
        None => OwnFolder::create(layout, &layout.leftovers_name)?,
    };
    if !staging.is_in_place(layout) {
        return Err(fail(Errno::STALE));
    }
    let taken = names_in(&leftovers.handle).map_err(fail)?;
    let mut number = 1_u64;
    while taken.contains(&number.to_string().into_bytes()) {
        number += 1;
    }
    let (old, new) = (staging.name.as_slice(), number.to_string());
    let (from, to) = (&layout.staging_parent, &leftovers.handle);
    match rustix::fs::renameat_with(from, old, to, new.as_str(), RenameFlags::NOREPLACE) {
        // The lock is held, so nothing takes the name meanwhile.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(from, old, to, new.as_str()),
        other => other,
    }
    .map_err(fail)?;
    Ok(leftovers.name)
}

/// Tries to remove all leftovers of a directory. Returns what stays; `None` if there were none.
pub(super) fn retry(layout: &RestoreLayout) -> Result<Option<Remains>, Error> {
    let mut remains: Option<Remains> = None;
    for leftovers in OwnFolder::find(layout, &layout.leftovers_name)? {
        let left = leftovers.remove(layout)?;
        remains.get_or_insert_default().add(left);
    }
    Ok(remains)
}

impl fmt::Display for Remains {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of the old files ({} bytes)",
            self.entries, self.bytes
        )?;
        let Some((path, error)) = &self.first else {
            return Ok(());
        };
        let error = std::io::Error::from(*error);
        write!(formatter, ", such as `{}` ({error})", lossy(path))
    }
}
