//! Unpacks an archive, or a selection of it, into a new staging folder.

use std::os::fd::AsFd;

use super::staging::Staging;
use super::{Restore, attributes};
use crate::blocks::{decompress_blocks, send_all};
use crate::gunzip::{ArchiveReader, tar_stream};
use crate::index::IndexReader;
use crate::options::thread_count;
use crate::selected_blocks::send_selected;
use crate::selection::{SelectedTotals, Selection};
use crate::summary::Notes;
use crate::tar_format::{TarReader, read_error};
use crate::unpack::{AttributePolicy, unpack};
use crate::{Error, RestoreSummary};

impl Restore<'_> {
    /// Checks the free space, and unpacks the archive into a new staging folder.
    pub(super) fn stage(
        &self,
        index: Option<&IndexReader<'_>>,
        needed: u64,
    ) -> Result<(Staging, RestoreSummary), Error> {
        self.check_space(needed)?;
        match self.stage_with(index, None, needed) {
            // The archive may be whole although its index is wrong.
            Err(Error::Corrupt { .. } | Error::Hostile { .. }) if index.is_some() => {
                self.stage_with(None, None, needed)
            }
            other => other,
        }
    }

    pub(super) fn check_space(&self, needed: u64) -> Result<(), Error> {
        let available = self.layout.available();
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        Ok(())
    }

    /// Unpacks the archive into a new staging folder. Removes that after an error.
    pub(super) fn stage_with(
        &self,
        index: Option<&IndexReader<'_>>,
        selection: Option<&Selection>,
        needed: u64,
    ) -> Result<(Staging, RestoreSummary), Error> {
        let with_figures = |error| self.layout.add_space_figures(error, needed);
        let staging = Staging::create(self.layout).map_err(with_figures)?;
        match self.unpack(index, selection, &staging) {
            Ok(summary) => Ok((staging, summary)),
            Err(error) => {
                // The disk is full only as long as the staging folder exists.
                let error = with_figures(error);
                staging.folder.remove(self.layout)?;
                Err(error)
            }
        }
    }

    /// Returns the bytes that unpacking needs: the total of the index, or else a lower bound from
    /// the gzip trailer.
    pub(super) fn space_needed(&self, index: Option<&IndexReader<'_>>) -> Result<u64, Error> {
        if let Some(index) = index {
            return Ok(index.totals.disk_bytes);
        }
        let mut length = [0; 4];
        let Some(at) = self.size.checked_sub(4) else {
            return Err(Error::corrupt("it is empty"));
        };
        self.archive.fill(&mut length, at).map_err(read_error)?;
        // The length counts tar headers too, but only modulo 4 GiB. Deflate makes data at most 1032
        // times smaller, so a greater length is damage, and not a lack of space.
        let length = u64::from(u32::from_le_bytes(length));
        Ok(self.size.max(length.min(self.size.saturating_mul(1032))))
    }

    /// Unpacks the archive into the tree of a new staging folder.
    fn unpack(
        &self,
        index: Option<&IndexReader<'_>>,
        selection: Option<&Selection>,
        staging: &Staging,
    ) -> Result<RestoreSummary, Error> {
        let mut notes = Notes::default();
        attributes::copy_inherited(self.layout.target.as_fd(), staging.tree.as_fd(), &mut notes)
            .map_err(|error| Error::io("copy the project of", &self.layout.destination, error))?;
        let mut summary = self.unpack_into(index, selection, staging)?;
        summary.notes.append(notes);
        Ok(summary)
    }

    fn unpack_into(
        &self,
        index: Option<&IndexReader<'_>>,
        selection: Option<&Selection>,
        staging: &Staging,
    ) -> Result<RestoreSummary, Error> {
        let (archive, control) = (self.archive, self.control);
        let root = rustix::io::dup(&staging.tree);
        let root =
            root.map_err(|error| Error::io("open", &staging.folder.path(self.layout), error))?;
        control.reset_done();
        control.set_totals(0, 0);
        let policy = AttributePolicy {
            apply_owner: self.options.apply_owner,
            default_owner: self.layout.default_owner()?,
            special_modes: self.options.special_modes,
        };
        let threads = thread_count(self.options.threads);
        let totals = selection.map(|selection| selection.totals);
        let totals = totals.or_else(|| index.map(|index| SelectedTotals::from(&index.totals)));
        if let Some(totals) = &totals {
            control.set_totals(totals.files, totals.bytes);
        }
        let summary = match index {
            None => {
                let reader = ArchiveReader::new(archive, self.size, control);
                let mut tar = TarReader::new(tar_stream(reader));
                unpack(&mut tar, selection, root, policy, threads, control)
            }
            Some(index) => std::thread::scope(|scope| {
                let blocks = decompress_blocks(scope, archive, threads, |feed| match selection {
                    Some(selection) => send_selected(index, selection, control, feed),
                    None => send_all(archive, index, control, feed),
                })?;
                let mut tar = TarReader::new(blocks);
                unpack(&mut tar, selection, root, policy, threads, control)
            }),
        }?;
        let unpacked = (summary.entries, summary.files, summary.bytes);
        let Some(totals) = totals else {
            return Ok(summary);
        };
        if unpacked != (totals.entries, totals.files, totals.bytes) {
            return Err(Error::corrupt("its entries do not match its index"));
        }
        Ok(summary)
    }
}
