//! `holdfast archive restore --path`: single files and folders.

use std::path::Path;

use super::archive::{archive, with_archive};
use crate::support::files;

#[test]
fn single_files_and_folders_are_restored() {
    let folder = with_archive();
    let here = folder.path();
    let made = archive(here, &["create", "server", "some.tar.gz"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let before = files::tree(&here.join("server"));
    for path in [
        "server.properties",
        "world/level.dat",
        "world/region/r.0.0.mca",
    ] {
        fs_err::remove_file(here.join("server").join(path)).unwrap();
    }
    files::write(&here.join("server/world/region/new.mca"), b"new");
    let restore = |more: &[&str]| {
        archive(
            here,
            &[&["restore", "some.tar.gz", "server"], more].concat(),
        )
    };
    let restored = restore(&[
        "--path",
        "world/region/",
        "--path",
        "server.properties",
        "--keep",
    ]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let now = files::tree(&here.join("server"));
    for path in ["server.properties", "world/region/r.0.0.mca"] {
        assert_eq!(now[Path::new(path)], before[Path::new(path)]);
    }
    assert!(!now.contains_key(Path::new("world/level.dat")));
    assert!(now.contains_key(Path::new("world/region/new.mca")));
    for (path, text) in [
        ("nothing", "holdfast: the archive has no `nothing`"),
        (
            "/etc",
            "holdfast: --path `/etc`: it must be relative, such as `world/region`, without",
        ),
        (
            "a/../b",
            "holdfast: --path `a/../b`: it must not contain `.` or `..`",
        ),
    ] {
        let refused = restore(&["--path", path]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.starts_with(text), "{refused:?}");
    }
    assert_eq!(files::tree(&here.join("server")), now);
}
