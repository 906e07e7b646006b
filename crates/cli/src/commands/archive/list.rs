//! `holdfast archive list`: the entries of an archive, sorted by path.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use holdfast_archive::{Control, Error};

use super::sorted_list::SortedList;
use crate::error::CommandError;
use crate::output;

/// Lists an archive, from its index if there is one.
pub(super) fn list(archive: &File, index: Option<&File>) -> Result<(), CommandError> {
    let mut sorted = SortedList::new();
    let mut sort_failed = None;
    let read = holdfast_archive::list(archive, index, &Control::new(), &mut |entry| {
        sorted.add(entry).map_err(|error| {
            sort_failed = Some(error);
            Error::Cancelled
        })
    });
    if let Some(error) = sort_failed {
        return Err(error.into());
    }
    // What was read of a damaged archive is shown, too.
    let mut out = BufWriter::new(io::stdout().lock());
    let mut stdout_failed = false;
    let shown = sorted.for_each(|row| {
        let slash = if row.is_folder { "/" } else { "" };
        let path = output::visible_name(&row.path);
        let written = writeln!(out, "{:04o} {:>12} {path}{slash}", row.mode, row.size);
        stdout_failed = written.is_err();
        written
    });
    match shown {
        Err(error) if stdout_failed => return Err(CommandError::stdout(&error)),
        other => other?,
    }
    out.flush().map_err(|error| CommandError::stdout(&error))?;
    Ok(read?)
}
