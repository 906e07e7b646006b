//! Looks up Unix groups, and checks that this process may give files to them.

use nix::unistd::Group;

/// The capability to give files to any group; see `capability.h` of Linux.
const CAP_CHOWN: u32 = 0;

/// Returns the ID of a group by name or number.
///
/// # Errors
/// A message if there is no such group, or this process may not give files to it.
pub(super) fn usable_group(text: &str) -> Result<u32, String> {
    let group = group_id(text)?;
    let may_chown = has_capability(CAP_CHOWN).unwrap_or(true);
    if may_chown || is_member(group) {
        return Ok(group);
    }
    let own = rustix::process::geteuid().as_raw();
    Err(format!(
        "must be a group of the user that this process runs as (user {own}), or the process must \
         be root; it is not in `{text}`"
    ))
}

fn group_id(text: &str) -> Result<u32, String> {
    // A group may have any number, even if the machine has no name for it. The last one means "no
    // group" in system calls.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|group| *group != u32::MAX);
        return number
            .ok_or_else(|| format!("must be the name or number of a group, not `{text}`"));
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group `{text}` on this machine")),
        Err(error) => Err(format!("the group `{text}` can't be looked up: {error}")),
    }
}

fn is_member(group: u32) -> bool {
    let others = rustix::process::getgroups().unwrap_or_default();
    let own = rustix::process::getegid();
    others
        .into_iter()
        .chain([own])
        .any(|one| one.as_raw() == group)
}

/// Returns whether the process has a capability; `None` if that is unknown.
fn has_capability(number: u32) -> Option<bool> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let bits = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(bits >> number & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name_and_by_number() {
        for (text, expected) in [
            ("root", Ok(0)),
            ("0", Ok(0)),
            ("4294967294", Ok(u32::MAX - 1)),
            (
                "4294967295",
                Err("must be the name or number of a group, not `4294967295`"),
            ),
            (
                "99999999999",
                Err("must be the name or number of a group, not `99999999999`"),
            ),
            (
                "no such group",
                Err("there is no group `no such group` on this machine"),
            ),
            ("-1", Err("there is no group `-1` on this machine")),
        ] {
            assert_eq!(group_id(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_process_may_give_files_to_its_own_groups_and_to_others_only_with_the_capability() {
        let own = rustix::process::getegid().as_raw();
        assert_eq!(usable_group(&own.to_string()), Ok(own));
        let foreign = "4294967001";
        match has_capability(CAP_CHOWN) {
            Some(true) => assert_eq!(usable_group(foreign), Ok(4_294_967_001)),
            _ => assert!(
                usable_group(foreign)
                    .unwrap_err()
                    .contains("must be a group of")
            ),
        }
    }
}
