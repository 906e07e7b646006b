//! Headers as bytes: ustar where it suffices, PAX records for everything it cannot say.

use super::pax::{Records, time_text};
use super::{Entry, Kind, RECORD, padding};

/// Appends the header of an entry; its `stored` bytes and their padding must follow.
pub(crate) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let mut records = Records::default();
    let mut name = entry.path.clone();
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    let sparse = entry.segments.is_some();
    let (prefix, short) = if sparse {
        records.add(b"GNU.sparse.major", b"1");
        records.add(b"GNU.sparse.minor", b"0");
        records.add(b"GNU.sparse.name", &entry.path);
        records.add(b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
        sparse_name(&entry.path)
    } else if let Some((prefix, short)) = split(&name) {
        (prefix.to_vec(), short.to_vec())
    } else {
        records.add_name(b"path", &name);
        (Vec::new(), name[..100].to_vec())
    };
    let link = &entry.link[..entry.link.len().min(100)];
    if entry.link.len() > 100 {
        records.add_name(b"linkpath", &entry.link);
    }
    if entry.mtime.nanoseconds != 0 || !(0..1 << 33).contains(&entry.mtime.seconds) {
        records.add(b"mtime", time_text(entry.mtime).as_bytes());
    }
    for (key, value) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if value >= 1 << 21 {
            records.add(key, value.to_string().as_bytes());
        }
    }
    if entry.stored >= 1 << 33 {
        records.add(b"size", entry.stored.to_string().as_bytes());
    }
    for (key, value) in &entry.xattrs {
        records.add(&[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
    let records = records.finish();
    if !records.is_empty() {
        // The name is always the same: it says nothing, and compresses to nothing.
        let head = Fields {
            kind: b'x',
            mode: 0o644,
            size: records.len() as u64,
            ..Fields::default()
        };
        out.extend_from_slice(&head.encode(b"", b"PaxHeader", b""));
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    let fields = Fields {
        kind: match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Directory => b'5',
        },
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.stored,
        seconds: u64::try_from(entry.mtime.seconds).unwrap_or(0),
    };
    out.extend_from_slice(&fields.encode(&prefix, &short, link));
}

/// Splits a name at a slash so that both parts fit into a ustar header.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&name[..0], name));
    }
    if name.len() > 256 {
        return None;
    }
    let least = name.len() - 101;
    let slash = least
        + name[least..name.len() - 1]
            .iter()
            .position(|&byte| byte == b'/')?;
    (slash <= 155 && slash > 0).then(|| (&name[..slash], &name[slash + 1..]))
}

/// The name that readers show that do not know sparse files, as GNU tar writes it.
fn sparse_name(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(start);
    let full = [folder, b"GNUSparseFile.0/", name].concat();
    match split(&full) {
        Some((prefix, short)) => (prefix.to_vec(), short.to_vec()),
        None => (
            Vec::new(),
            [b"GNUSparseFile.0/", &name[..name.len().min(84)]].concat(),
        ),
    }
}

#[derive(Default)]
struct Fields {
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    seconds: u64,
}

impl Fields {
    fn encode(&self, prefix: &[u8], name: &[u8], link: &[u8]) -> [u8; RECORD] {
        let mut header = [0; RECORD];
        header[..name.len()].copy_from_slice(name);
        number(&mut header[100..108], u64::from(self.mode));
        number(&mut header[108..116], self.uid);
        number(&mut header[116..124], self.gid);
        number(&mut header[124..136], self.size);
        number(&mut header[136..148], self.seconds);
        header[148..156].fill(b' ');
        header[156] = self.kind;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        number(&mut header[329..337], 0);
        number(&mut header[337..345], 0);
        header[345..345 + prefix.len()].copy_from_slice(prefix);
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        number(&mut header[148..155], sum);
        header
    }
}

/// Writes octal digits and a NUL; a number that does not fit becomes base 256, and PAX says it again.
fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    if value < 1 << (3 * digits) {
        let mut rest = value;
        for digit in field[..digits].iter_mut().rev() {
            *digit = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
        field[digits] = 0;
        return;
    }
    let bytes = value.to_be_bytes();
    field.fill(0);
    field[0] = 0x80;
    let length = field.len().min(8);
    let start = field.len() - length;
    field[start..].copy_from_slice(&bytes[8 - length..]);
    field[0] |= 0x80;
}
