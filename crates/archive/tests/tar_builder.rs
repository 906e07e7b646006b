//! Builds tar archives byte by byte, for tests of hostile archives.
#![allow(unreachable_pub, reason = "a support module of tests")]
#![allow(clippy::allow_attributes, reason = "as in the support module")]

use std::io::Write as _;

use crate::support::file_of;

/// A builder of tar archives, valid or not.
#[derive(Default)]
pub struct TarBuilder(pub Vec<u8>);

impl TarBuilder {
    pub fn header(mut self, kind: u8, name: &str, link: &str, size: u64) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(if kind == b'5' { b"0000755" } else { b"0000644" });
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].fill(b' ');
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header);
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.header(b'0', name, "", bytes.len() as u64).bytes(bytes)
    }

    pub fn folder(self, name: &str) -> Self {
        self.header(b'5', name, "", 0)
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.header(b'2', name, target, 0)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.header(b'1', name, target, 0)
    }

    pub fn pax(self, records: &[u8]) -> Self {
        self.header(b'x', "PaxHeader", "", records.len() as u64)
            .bytes(records)
    }

    pub fn packed(mut self) -> std::fs::File {
        self.0.resize(self.0.len() + 1024, 0);
        self.packed_as_it_is()
    }

    pub fn packed_as_it_is(self) -> std::fs::File {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&self.0).unwrap();
        file_of(&packed.finish().unwrap())
    }
}

pub fn record(key: &str, value: &str) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while length.to_string().len() + bare != length {
        length += 1;
    }
    format!("{length} {key}={value}\n").into_bytes()
}
