//! Encodes entry headers: ustar fields where they suffice, PAX records for everything else.
//!
//! The bytes depend on the entry only, so that the same tree always gives the same archive.

use tar::{EntryType, Header};

use super::pax::{PaxRecords, format_time};
use super::{EntryKind, TarEntry, padding};

/// Bytes of the name and link fields of a header.
const NAME_BYTES: usize = 100;
/// Bytes of the prefix field of a ustar header.
const PREFIX_BYTES: usize = 155;
/// The first number that does not fit into seven octal digits, the size of an owner field.
const OWNER_LIMIT: u64 = 1 << 21;
/// The first number that does not fit into eleven octal digits, the size of a size or time field.
const SIZE_LIMIT: u64 = 1 << 33;

/// A name split into the two fields of a ustar header.
struct UstarName {
    prefix: Vec<u8>,
    name: Vec<u8>,
}

/// Appends the header of an entry. The caller must write `stored` bytes and their padding after it.
pub(crate) fn encode_header(entry: &TarEntry, out: &mut Vec<u8>) {
    let mut records = PaxRecords::default();
    let name = add_name(entry, &mut records);
    add_attributes(entry, &mut records);
    let records = records.finish();
    if !records.is_empty() {
        push_pax_header(&records, out);
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(match entry.kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::HardLink => EntryType::Link,
        EntryKind::Symlink => EntryType::Symlink,
        EntryKind::Directory => EntryType::Directory,
    });
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_size(entry.stored);
    header.set_mtime(u64::try_from(entry.mtime.seconds).unwrap_or(0));
    let link = &entry.link[..entry.link.len().min(NAME_BYTES)];
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    push_header(header, &name, out);
}

/// Returns the name fields of the header, and adds the records for a name that does not fit.
fn add_name(entry: &TarEntry, records: &mut PaxRecords) -> UstarName {
    if entry.segments.is_some() {
        records.add(b"GNU.sparse.major", b"1");
        records.add(b"GNU.sparse.minor", b"0");
        records.add(b"GNU.sparse.name", &entry.path);
        records.add(b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
        return sparse_name(&entry.path);
    }
    let mut name = entry.path.clone();
    if entry.kind == EntryKind::Directory {
        name.push(b'/');
    }
    split(&name).unwrap_or_else(|| {
        records.add_name(b"path", &name);
        name.truncate(NAME_BYTES);
        UstarName {
            prefix: Vec::new(),
            name,
        }
    })
}

/// Adds the records for attributes that do not fit into a ustar header.
fn add_attributes(entry: &TarEntry, records: &mut PaxRecords) {
    if entry.link.len() > NAME_BYTES {
        records.add_name(b"linkpath", &entry.link);
    }
    let whole_seconds = u64::try_from(entry.mtime.seconds).ok();
    let fits = whole_seconds.is_some_and(|seconds| seconds < SIZE_LIMIT);
    if entry.mtime.nanoseconds != 0 || !fits {
        records.add(b"mtime", format_time(entry.mtime).as_bytes());
    }
    for (key, value) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if value >= OWNER_LIMIT {
            records.add(key, value.to_string().as_bytes());
        }
    }
    if entry.stored >= SIZE_LIMIT {
        records.add(b"size", entry.stored.to_string().as_bytes());
    }
    for (key, list) in [
        (&b"SCHILY.acl.access"[..], &entry.acls.access),
        (b"SCHILY.acl.default", &entry.acls.default),
    ] {
        if let Some(list) = list {
            records.add(key, list.to_text().as_bytes());
        }
    }
    for (key, value) in &entry.xattrs {
        records.add(&[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
}

/// Appends an extended header with these records.
fn push_pax_header(records: &[u8], out: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(records.len() as u64);
    // Readers ignore the name. A constant one compresses best.
    let name = UstarName {
        prefix: Vec::new(),
        name: b"PaxHeader".to_vec(),
    };
    push_header(header, &name, out);
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
}

/// Sets the fields that all headers share, and appends the header.
fn push_header(mut header: Header, name: &UstarName, out: &mut Vec<u8>) {
    let Some(ustar) = header.as_ustar_mut() else {
        unreachable!("the header was created as ustar");
    };
    ustar.set_device_major(0);
    ustar.set_device_minor(0);
    ustar.prefix[..name.prefix.len()].copy_from_slice(&name.prefix);
    ustar.name[..name.name.len()].copy_from_slice(&name.name);
    header.set_cksum();
    // `tar` writes seven digits and a NUL. GNU tar writes six digits, a NUL and a space. A sum has
    // at most six digits, so the first one is always 0.
    let checksum = &mut header.as_old_mut().cksum;
    checksum.rotate_left(1);
    checksum[7] = b' ';
    out.extend_from_slice(header.as_bytes());
}

/// Splits a name at a slash so that both parts fit into a ustar header.
fn split(name: &[u8]) -> Option<UstarName> {
    if name.len() <= NAME_BYTES {
        return Some(UstarName {
            prefix: Vec::new(),
            name: name.to_vec(),
        });
    }
    if name.len() > PREFIX_BYTES + 1 + NAME_BYTES {
        return None;
    }
    let least = name.len() - NAME_BYTES - 1;
    let slash = least
        + name[least..name.len() - 1]
            .iter()
            .position(|&byte| byte == b'/')?;
    (slash <= PREFIX_BYTES && slash > 0).then(|| UstarName {
        prefix: name[..slash].to_vec(),
        name: name[slash + 1..].to_vec(),
    })
}

/// Returns the name that a reader without support for sparse files shows; the same as GNU tar's.
fn sparse_name(path: &[u8]) -> UstarName {
    const MARKER: &[u8] = b"GNUSparseFile.0/";
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(start);
    split(&[folder, MARKER, name].concat()).unwrap_or_else(|| UstarName {
        prefix: Vec::new(),
        name: [MARKER, &name[..name.len().min(NAME_BYTES - MARKER.len())]].concat(),
    })
}
