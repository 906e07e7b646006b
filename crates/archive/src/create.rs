//! Creates archives.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use crate::directory::open_source;
use crate::index::CreatedWith;
use crate::output::{ArchiveOutput, PlainOutput};
use crate::pack::{OutsideLinks, Packer};
use crate::pack_plan::PlanPacker;
use crate::pipeline::ArchiveStart;
use crate::plan::Plan;
use crate::previous::unsuitable;
use crate::reuse::{FrontRange, Reuse};
use crate::scan::{Collector, Scan, scan};
use crate::{Control, CreateOptions, Error, IgnoreRules, Summary, pipeline};

/// Archives `source` as a POSIX tar in one gzip member, and writes its index.
///
/// The same tree always gives the same bytes, with any number of threads. Entries that cannot be
/// read, or that change or vanish while they are read, become [`Notes`](crate::Notes), not errors.
/// So do symlinks that leave `source`. A reason that lies outside of the entry, such as a lack of
/// file descriptors or a failing disk, is an error. Both writers are flushed; the caller must make
/// the files durable, and delete them after an error.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], [`Error::TooLarge`]
/// (bytes of the archive), [`Error::Output`] if a writer fails, [`Error::NoAccess`] or
/// [`Error::Io`] if `source` itself cannot be read, [`Error::Io`] if the system fails.
///
/// # Examples
///
/// ```
/// use holdfast_archive::{Control, CreateOptions, IgnoreRules, create, verify};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let source = folder.path().join("server");
/// # fs_err::create_dir(&source)?;
/// # fs_err::write(source.join("world.dat"), "blocks")?;
/// # fs_err::write(source.join("latest.log"), "lines")?;
/// # let archive_path = folder.path().join("backup.tar.gz");
/// let rules = IgnoreRules::new(&["*.log".to_owned()])?;
/// let archive = fs_err::File::create_new(&archive_path)?;
/// let index = fs_err::File::create_new(archive_path.with_extension("index"))?;
/// let control = Control::new();
/// let summary = create(&source, &rules, &CreateOptions::default(), archive, index, &control)?;
/// assert_eq!(summary.files, 1);
/// assert_eq!(summary.notes.count, 0);
///
/// let (archive, _) = fs_err::File::open(&archive_path)?.into_parts();
/// assert_eq!(verify(&archive, None, &control)?.sha256, summary.sha256);
/// # Ok(())
/// # }
/// ```
pub fn create(
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    archive: impl Write + Send,
    index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    let scanned = scan(source, rules, control)?;
    let archive = PlainOutput(archive);
    create_from(scanned, rules, options, archive, index, control)
}

/// Archives a directory after a scan with the same rules. Otherwise the same as [`create`].
///
/// What was created since the scan is left out. What is gone becomes a note.
///
/// # Errors
///
/// The same as [`create`]; and [`Error::PreviousUnusable`] or [`Error::PreviousUnsuitable`] after a
/// scan with a previous archive.
/// The output is then of no use, and the caller can begin again without that archive.
pub fn create_from(
    scanned: Scan,
    rules: &IgnoreRules,
    options: &CreateOptions,
    mut archive: impl ArchiveOutput,
    mut index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    create_into(scanned, rules, options, &mut archive, &mut index, control)
}

/// Implements [`create_from`]. It is not generic, so that the engine is compiled only once: in this
/// crate, with its optimisation.
fn create_into(
    scanned: Scan,
    rules: &IgnoreRules,
    options: &CreateOptions,
    archive: &mut dyn ArchiveOutput,
    index: &mut (dyn Write + Send),
    control: &Control,
) -> Result<Summary, Error> {
    let Scan {
        source,
        previous,
        plan,
        ..
    } = &scanned;
    let root = open_source(source)?;
    control.reset_done();
    let previous = previous.as_ref();
    if previous.is_some() && plan.is_none() {
        return Err(unsuitable("the directory has too many entries"));
    }
    let front = match previous {
        Some(previous) if archive.takes_front() => {
            FrontRange::find(previous, archive.checks_front())
        }
        _ => FrontRange::default(),
    };
    let start = ArchiveStart {
        options,
        created_with: CreatedWith::of(options, scanned.unsettled_since),
        previous,
        front: match previous {
            Some(previous) => front.start(previous)?,
            None => None,
        },
        control,
    };
    let (packed, written) = pipeline::run(start, archive, index, |sink| {
        let links = OutsideLinks::new(source);
        let mut packer = Packer::new(options, links, scanned.unsettled_since, control, sink);
        for note in rules.notes() {
            packer.add_note(note.path.as_bytes(), note.reason.clone());
        }
        let pack_all = |plan: &Plan, packer: &mut Packer<'_>| {
            let mut plan = PlanPacker::new(source, root.as_fd(), plan, control)?;
            plan.put_rest(packer)
        };
        match (plan, previous) {
            (Some(plan), Some(previous)) => {
                packer.add_notes(scanned.notes.clone());
                packer.set_linked(scanned.unchanged_links.clone());
                let mut plan = PlanPacker::new(source, root.as_fd(), plan, control)?;
                Reuse::new(previous)?.pack(&front, &mut plan, &mut packer)?;
            }
            (Some(plan), None) => {
                packer.add_notes(scanned.notes.clone());
                pack_all(plan, &mut packer)?;
            }
            (None, _) => {
                let mut pack_portion = |plan| pack_all(&plan, &mut packer);
                let collector = Collector::new(scanned.plan_bytes_max, control, &mut pack_portion);
                let collected = collector.collect(source, rules)?;
                pack_all(&collected.plan, &mut packer)?;
                packer.add_notes(collected.notes);
            }
        }
        packer.finish()
    })?;
    Ok(Summary {
        sha256: written.sha256,
        archive_bytes: written.archive_bytes,
        reused_bytes: written.taken_bytes,
        source_bytes: packed.source_bytes,
        read_bytes: packed.read_bytes,
        files: packed.files,
        entries: packed.entries,
        unread_entries: packed.unread_entries,
        notes: packed.notes,
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::FileExt as _;
    use std::path::PathBuf;

    use crc32fast::hash as crc32;
    use fs_err as fs;
    use rustix::fs::{AtFlags, Timespec, Timestamps};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::index::{IndexReader, Record};
    use crate::plan::PLAN_BYTES_MAX;
    use crate::resumable_hash::ResumableSha256;
    use crate::scan::scan_within;
    use crate::{RestoreOptions, restore, verify};

    /// Writes a tree with files of all sizes and ages, hard links and deep folders.
    fn write_tree(root: &Path) {
        for number in 0..60_usize {
            let folder = root.join(format!("f{}/g{}/h", number % 7, number % 3));
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("file-{number}"));
            let length = [0, 7, 5_000, 300_000][number % 4] + number;
            let bytes = (0..length).map(|at| (at * at / 91 + number) as u8);
            fs::write(&file, bytes.collect::<Vec<u8>>()).unwrap();
            if number % 9 == 0 {
                fs::hard_link(&file, root.join(format!("z-link-{number}"))).unwrap();
                fs::hard_link(&file, root.join(format!("a-link-{number}"))).unwrap();
            }
            let time = Timespec {
                tv_sec: 1_700_000_000 - (number as i64) * 500_000,
                tv_nsec: 5,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            rustix::fs::utimensat(rustix::fs::CWD, &file, &times, AtFlags::empty()).unwrap();
        }
    }

    /// Archives a tree with plans of at most `plan_bytes_max`.
    fn archive(source: &Path, plan_bytes_max: usize, threads: usize) -> (File, File, Summary) {
        let (rules, control) = (IgnoreRules::none(), Control::new());
        let options = CreateOptions {
            threads,
            ..CreateOptions::default()
        };
        let scanned = scan_within(plan_bytes_max, source, &rules, None, &control).unwrap();
        assert_eq!(scanned.plan.is_some(), plan_bytes_max == PLAN_BYTES_MAX);
        let (file, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let created = create_from(
            scanned,
            &rules,
            &options,
            PlainOutput(&file),
            &index,
            &control,
        );
        (file, index, created.unwrap())
    }

    fn contents(file: &File) -> Vec<u8> {
        let length = file.metadata().unwrap().len();
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Returns path, type, inode group and contents of each entry of a tree.
    fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
        let listed = std::process::Command::new("tar")
            .args(["--sort=name", "--format=posix", "-cf", "-", "-C"])
            .args([root.as_os_str(), ".".as_ref()])
            .args(["--pax-option=delete=atime,delete=ctime"])
            .output()
            .unwrap();
        let mut tar = tar::Archive::new(listed.stdout.as_slice());
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let about = format!(
                "{:?} {:?}",
                entry.path().unwrap(),
                entry.link_name().unwrap()
            );
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (about, bytes)
        });
        let mut entries: Vec<_> = entries
            .filter(|(about, _)| !about.starts_with("\"./\""))
            .collect();
        entries.sort();
        entries
    }

    #[test]
    fn a_tree_too_large_for_one_plan_is_packed_in_portions() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        write_tree(&source);
        for bytes in [PLAN_BYTES_MAX, 1, 300, 2_000] {
            let (file, index, summary) = archive(&source, bytes, 3);
            assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
            assert_eq!(contents(&archive(&source, bytes, 1).0), contents(&file));
            assert_eq!(
                verify(&file, None, &Control::new()).unwrap().sha256,
                summary.sha256
            );
            let target = folder.path().join(format!("target-{bytes}"));
            let options = RestoreOptions::default();
            let control = Control::new();
            restore(
                &file,
                Some(&index),
                &target,
                &options,
                &control,
                &mut || Ok(()),
            )
            .unwrap();
            assert!(tree(&target) == tree(&source), "{bytes}");
            // Other programs set mode and time of a folder soon after its entry.
            let mut folders = std::collections::HashSet::new();
            crate::list(&file, None, &control, &mut |entry| {
                let path = PathBuf::from(OsStr::from_bytes(&entry.path));
                if entry.kind == crate::EntryKind::Directory {
                    folders.insert(path);
                } else {
                    let above = path.ancestors().find(|path| folders.contains(*path));
                    assert_eq!(above, None, "{path:?}, {bytes}");
                }
                Ok(())
            })
            .unwrap();
            assert!(folders.len() > 20);
        }
    }

    #[test]
    fn the_index_states_what_a_reuse_of_each_block_needs() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path());
        let (file, index, summary) = archive(folder.path(), PLAN_BYTES_MAX, 2);
        let bytes = contents(&file);
        let mut records = IndexReader::open(&index).unwrap().records();
        let (mut blocks, mut large) = (0, 0);
        let mut own_blocks = None;
        while let Some(record) = records.next().unwrap() {
            let location = match record {
                Record::Block(location) => location,
                Record::Entry(entry, offset) => {
                    // All files here are new, and can change without a change of their times.
                    assert_eq!((entry.device, entry.inode, entry.ctime), (0, 0, (0, 0)));
                    if entry.stored >= 256 << 10 {
                        assert_eq!(offset, 0);
                        own_blocks = Some(entry.stored.next_multiple_of(512));
                        large += 1;
                    }
                    continue;
                }
            };
            let (start, end) = (location.offset, location.offset + location.packed);
            let packed = &bytes[start as usize..end as usize];
            let reuse = location.reuse.unwrap();
            assert_eq!(reuse.packed_crc, crc32(packed));
            let raw = crate::blocks::Inflater::new()
                .block(&file, &location)
                .unwrap();
            assert_eq!(reuse.content, blake3::hash(&raw).as_bytes()[..16]);
            // The whole hash can be continued after each block.
            let rest = (end % 64) as usize;
            let mut hash = ResumableSha256::resume(
                &reuse.sha256_state,
                end,
                &bytes[end as usize - rest..][..rest],
            );
            hash.update(&bytes[end as usize..]);
            assert_eq!(hash.finish(), summary.sha256, "after block {blocks}");
            if let Some(left) = own_blocks.take() {
                assert!(location.raw <= left);
                own_blocks = Some(left - location.raw).filter(|&left| left > 0);
            }
            blocks += 1;
        }
        assert_eq!(own_blocks, None);
        assert!(
            blocks > 2 * large && large > 10,
            "{blocks} blocks, {large} large files"
        );
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), summary.sha256);
    }
}
