//! Reads access control lists and extended attributes of files and folders.

use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::{Packer, entry_problem};
use crate::Error;
use crate::acl::{self, Acl};
use crate::tar_format::TarEntry;

/// Reads attributes. Most files have none, and cost one call of the system.
pub(super) struct AttributeReader {
    /// Whether attributes of users are stored.
    xattrs: bool,
    /// A file system without attributes, which is not asked again.
    without: Option<u64>,
}

impl AttributeReader {
    pub(super) fn new(xattrs: bool) -> Self {
        Self {
            xattrs,
            without: None,
        }
    }

    /// Reads the attributes of an open file or folder into its entry. Returns those that could not
    /// be read: what was tried, and the error.
    fn read(
        &mut self,
        file: BorrowedFd<'_>,
        entry: &mut TarEntry,
        device: u64,
    ) -> Vec<(&'static str, Errno)> {
        let mut refused = Vec::new();
        if self.without == Some(device) {
            return refused;
        }
        let names = acl::read_bytes(|bytes| rustix::fs::flistxattr(file, spare_capacity(bytes)));
        let names = match names {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.without = Some(device);
                return refused;
            }
            Err(error) => {
                refused.push(("read the extended attributes", error));
                return refused;
            }
        };
        let names = names.split(|&byte| byte == 0);
        for name in names.filter(|name| !name.is_empty()) {
            let is_user = self.xattrs && name.starts_with(b"user.");
            let is_access = name == acl::ACCESS.as_bytes();
            let is_default = name == acl::DEFAULT.as_bytes();
            // No other attribute is stored: it could give rights, such as `security.capability`.
            if !(is_user || is_access || is_default) {
                continue;
            }
            if name.contains(&b'=') {
                // The name of a PAX record ends at the first one.
                refused.push((
                    "store an extended attribute with an equals sign",
                    Errno::INVAL,
                ));
                continue;
            }
            let value =
                acl::read_bytes(|bytes| rustix::fs::fgetxattr(file, name, spare_capacity(bytes)));
            match value {
                Ok(value) if is_access => entry.acls.access = Some(Acl::from_binary(&value)),
                Ok(value) if is_default => entry.acls.default = Some(Acl::from_binary(&value)),
                Ok(value) => entry.xattrs.push((name.to_vec(), value)),
                // It was removed meanwhile.
                Err(Errno::NODATA) => {}
                Err(error) => refused.push(("read an extended attribute", error)),
            }
        }
        entry.xattrs.sort_unstable();
        refused
    }
}

impl Packer<'_> {
    /// Reads the attributes of an open file or folder into its entry.
    pub(super) fn read_attributes(
        &mut self,
        file: BorrowedFd<'_>,
        entry: &mut TarEntry,
        stat: &Stat,
    ) -> Result<(), Error> {
        for (action, error) in self.attributes.read(file, entry, stat.st_dev) {
            let reason = entry_problem(action, &entry.path, error)?;
            self.is_complete = false;
            self.add_note(&entry.path, reason);
        }
        Ok(())
    }
}
