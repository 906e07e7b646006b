//! Restores single files and folders: only what belongs to them is read, unpacked and replaced.

use super::path_swap::swap_paths;
use super::staging::Staging;
use super::ways::find_way;
use super::{Restore, merge, sync};
use crate::entry_check::EntryCheck;
use crate::gunzip::{ArchiveReader, tar_stream};
use crate::index::{IndexReader, Record};
use crate::selection::{EntryView, Selection};
use crate::summary::Notes;
use crate::tar_format::TarReader;
use crate::{BeforeSwap, Error, RestoreSummary};

impl Restore<'_> {
    /// Unpacks the requested paths into a new staging folder. Returns also the bytes that it needs,
    /// and the paths.
    ///
    /// With its index, only the blocks that hold them are read, and each is checked. Otherwise the
    /// whole archive is.
    pub(super) fn stage_paths(
        &self,
        index: Option<&IndexReader<'_>>,
    ) -> Result<(Staging, RestoreSummary, u64, Selection), Error> {
        if let Some(index) = index {
            match self.try_to_stage_paths(Some(index)) {
                // The archive may be whole although its index is wrong.
                Err(Error::Corrupt { .. } | Error::Hostile { .. }) => self.control.reset_done(),
                other => return other,
            }
        }
        self.check_archive()?;
        self.try_to_stage_paths(None)
    }

    fn try_to_stage_paths(
        &self,
        index: Option<&IndexReader<'_>>,
    ) -> Result<(Staging, RestoreSummary, u64, Selection), Error> {
        let mut selection = Selection::new(&self.options.paths)?;
        match index {
            Some(index) => self.survey_index(index, &mut selection)?,
            None => self.survey_archive(&mut selection)?,
        }
        for path in &selection.paths {
            find_way(self.layout, path)?;
        }
        self.layout.refuse_mounts_at(&selection.paths)?;
        let needed = selection.totals.disk_bytes;
        self.check_space(needed)?;
        let (staging, summary) = self.stage_with(index, Some(&selection), needed)?;
        Ok((staging, summary, needed, selection))
    }

    fn survey_index(
        &self,
        index: &IndexReader<'_>,
        selection: &mut Selection,
    ) -> Result<(), Error> {
        selection.survey(|each| {
            let mut records = index.records();
            while let Some(record) = records.next()? {
                self.control.check()?;
                if let Record::Entry(entry, _) = record {
                    each(EntryView {
                        path: &entry.path,
                        kind: entry.kind,
                        link: &entry.link,
                        size: entry.size,
                        stored: entry.stored,
                    })?;
                }
            }
            Ok(())
        })
    }

    /// Reads the archive from its start. What a restore of all of it would refuse is refused.
    fn survey_archive(&self, selection: &mut Selection) -> Result<(), Error> {
        selection.survey(|each| {
            let reader = ArchiveReader::new(self.archive, self.size, self.control);
            let mut tar = TarReader::new(tar_stream(reader));
            let mut check = EntryCheck::new();
            while let Some(entry) = tar.next_entry()? {
                self.control.check()?;
                check.next(&entry)?;
                each(EntryView {
                    path: &entry.path,
                    kind: entry.kind,
                    link: &entry.link,
                    size: entry.size,
                    stored: entry.stored,
                })?;
            }
            Ok(())
        })
    }

    /// Makes the staged files and folders complete and durable, and puts them into place.
    pub(super) fn complete_paths(
        &self,
        staging: &Staging,
        selection: &Selection,
        notes: &mut Notes,
        before_swap: BeforeSwap<'_>,
    ) -> Result<(), Error> {
        let (layout, truncate) = (self.layout, self.options.truncate);
        if !truncate {
            // A server that still runs could write files that would not be kept.
            before_swap().map_err(Error::Refused)?;
            for path in &selection.paths {
                merge::keep_others_below(layout, staging, path, self.control, notes)?;
            }
        }
        sync(staging)
            .map_err(|error| Error::io("write to disk", &staging.folder.path(layout), error))?;
        self.control.check()?;
        swap_paths(layout, staging, &selection.paths, truncate, before_swap)
    }
}
