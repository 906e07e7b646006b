//! Tests of `[wings]` and of what depends on it.

use holdfast_worker::power::Power;

use super::*;

/// Settings that name a settings file of Wings, and that file in a folder.
struct Beside {
    folder: tempfile::TempDir,
}

impl Beside {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        fs_err::create_dir(this.data()).unwrap();
        let text = format!(
            "uuid: 7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10\ntoken_id: id\ntoken: hunter2\nremote: \
             https://panel.example.com/\napi: {{host: 127.0.0.1, port: 8443}}\nsystem:\n  data: \
             {}\n  backup_directory: {}\nallowed_mounts: [{}]\n",
            this.data().display(),
            this.path("old").display(),
            this.path("mounts").display(),
        );
        fs_err::write(this.path("config.yml"), text).unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        let folder = fs_err::canonicalize(self.folder.path()).unwrap();
        folder.join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("volumes")
    }

    /// Settings with the file of Wings and other lines.
    fn text(&self, more: &str) -> String {
        let file = self.path("config.yml");
        format!("wings.config = '{}'\n{more}", file.display())
    }
}

#[test]
fn the_node_of_the_panel_is_read_from_the_settings_of_wings() {
    let beside = Beside::new();
    let settings = load(&[&beside.text("worker.roots = ['/srv']")], &[]).unwrap();
    let wings = settings.wings.as_ref().unwrap();
    let node = &wings.node;
    assert_eq!(node.token_id, "id");
    assert_eq!(node.token.expose(), "hunter2");
    assert_eq!(node.panel_url, "https://panel.example.com");
    assert_eq!(node.wings_url, "http://127.0.0.1:8443");
    assert_eq!(node.data, beside.data());
    assert_eq!(wings.listen, None);
    assert_eq!(wings.forget_after, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(wings.sync_every, Duration::from_secs(300));
    assert!(settings.api.wings.is_some());
    assert_eq!(settings.worker.wings.as_ref().unwrap().node.uuid, node.uuid);
    // Its servers need not be below a root.
    let rules = &settings.api.directory_rules;
    assert_eq!(rules.wings_data.as_deref(), Some(beside.data().as_path()));
    // Wings stops the servers, and keeps their directories.
    assert!(matches!(settings.worker.power, Power::Wings(_)));
    assert_eq!(settings.worker.swap, SwapMethod::Children);
    assert!(!format!("{settings:?}").contains("hunter2"));

    let other = "worker.swap = 'exchange'\npower.driver = 'none'\n[wings]\nconfig = 'CONFIG'\n\
                 url = 'https://node.example.com:8080/'\nlisten = '127.0.0.1:8082'\n\
                 forget_after_days = 0";
    let file = beside.path("config.yml");
    let text = other.replace("CONFIG", file.to_str().unwrap());
    let settings = load(&[&text], &[]).unwrap();
    let wings = settings.wings.as_ref().unwrap();
    assert_eq!(wings.node.wings_url, "https://node.example.com:8080");
    assert_eq!(wings.listen, Some("127.0.0.1:8082".parse().unwrap()));
    assert_eq!(wings.forget_after, None);
    assert!(matches!(settings.worker.power, Power::None));
    assert_eq!(settings.worker.swap, SwapMethod::Exchange);
}

#[test]
fn settings_that_contradict_wings_are_refused() {
    let beside = Beside::new();
    let disk = |folder: PathBuf| {
        let folder = folder.display();
        format!("[storage.disks.main]\ndriver = 'local'\nroot = '{folder}'")
    };
    for (more, expected) in [
        (
            "power.driver = 'docker'".to_owned(),
            "power.driver (HOLDFAST__POWER__DRIVER) in 0.toml: must not be docker with \
             wings.config: a container that is stopped behind the back of Wings counts as a crash, \
             and Wings starts it again. Set it to \"wings\""
                .to_owned(),
        ),
        (
            disk(beside.data().join("backups")),
            format!(
                "must not overlap {}, where the servers are (`system.data` of ",
                beside.data().display()
            ),
        ),
        (
            disk(beside.path("")),
            format!(
                "must not overlap {}, where the servers are (`system.data` of ",
                beside.data().display()
            ),
        ),
        (
            disk(beside.path("old")),
            format!(
                "must not overlap {}, where Wings keeps its own backups",
                beside.path("old").display()
            ),
        ),
        (
            "wings.sync_seconds = 0".to_owned(),
            "must be between 1 and 86400, not 0".to_owned(),
        ),
    ] {
        let found = problems(&[&beside.text(&more)], &[]).join("\n");
        assert!(found.contains(&expected), "{more}: {found}");
    }
    let settings = load(&[&beside.text(&disk(beside.path("mounts/a")))], &[]).unwrap();
    let warnings = settings.wings.unwrap().warnings(&settings.storage);
    assert!(
        warnings.len() == 1 && warnings[0].contains("can be mounted into servers by the panel"),
        "{warnings:?}"
    );
}

#[test]
fn settings_of_wings_need_its_settings_file() {
    for (text, expected) in [
        (
            "power.driver = 'wings'",
            "can only be wings with wings.config, which is not set",
        ),
        (
            "wings.url = 'http://127.0.0.1'",
            "is only used with wings.config, which is not set",
        ),
        (
            "wings.listen = '127.0.0.1:1'",
            "is only used with wings.config, which is not set",
        ),
        (
            "wings.config = '/nowhere/config.yml'",
            "wings.config (HOLDFAST__WINGS__CONFIG) in 0.toml: failed to open file \
             `/nowhere/config.yml`",
        ),
    ] {
        let found = problems(&[text], &[]);
        assert!(found[0].contains(expected), "{text}: {found:?}");
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    assert!(load(&[], &[]).unwrap().wings.is_none());
}
