//! Tests of settings: input as files and variables, output as values or problems.

mod disks;
mod panel_auth;
mod wings;
mod wrong;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use holdfast_worker::SwapMethod;

use super::layers::Layers;
use super::*;

const DATA: &str = "/data";

/// Loads files with these texts and these variables.
fn load(files: &[&str], variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let path = folder.path().join(format!("{index}.toml"));
            fs_err::write(&path, text).unwrap();
            path
        })
        .collect();
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Settings::load(&paths, variables, Path::new(DATA)).map_err(|mut problems| {
        // The name of the temporary folder is random.
        for problem in &mut problems.0 {
            let named = format!("{}/", folder.path().display());
            problem.message = problem.message.replace(&named, "");
            if let SettingSource::File(path) = &mut problem.source {
                *path = path.strip_prefix(folder.path()).unwrap_or(path).to_owned();
            }
        }
        problems
    })
}

fn disk<'a>(settings: &'a Settings, name: &str) -> &'a DiskSettings {
    &settings.storage.disks[&DiskName::parse(name).unwrap()]
}

fn problems(files: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let problems = load(files, variables).unwrap_err();
    problems.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_defaults_are_valid() {
    let settings = load(&[], &[]).unwrap();
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.api.max_body_bytes, 1 << 20);
    assert!(settings.api.public_url.is_none() && settings.api.trusted_proxies.is_empty());
    assert!(settings.database.url.is_none() && settings.auth.signing_key.is_none());
    assert_eq!(settings.api.max_backup_bytes, 10 << 30);
    assert_eq!(settings.api.download_ttl_seconds, 3600);
    assert_eq!(settings.api.timezone.name(), "UTC");
    let limits = &settings.worker.concurrency_limits;
    assert_eq!((limits.per_node, limits.per_disk), (0, 0));
    assert_eq!(settings.worker.maintenance.retention_policy.days, 90);
    assert!(
        !settings
            .worker
            .maintenance
            .retention_policy
            .keep_rules
            .is_on()
    );
    assert_eq!(
        settings.worker.maintenance.orphan_age,
        Duration::from_secs(86_400)
    );
    assert_eq!(settings.worker.lease, Duration::from_secs(30));
    assert!(settings.worker.reuse && settings.api.reuse);
    let reread_every = (settings.worker.reread_every, settings.api.reread_every);
    assert_eq!(reread_every, (14, 14));
    assert_eq!(settings.worker.read_limit_bytes_per_second, None);
    assert!(
        settings.worker.staging_dir.is_none() && settings.worker.directory_rules.roots.is_empty()
    );
    assert_eq!(settings.worker.swap, SwapMethod::Auto);
    let name = DiskName::parse("local").unwrap();
    let interval = Duration::from_secs(30 * 86_400);
    assert_eq!(
        settings.worker.verify_every,
        BTreeMap::from([(name.clone(), interval)])
    );
    assert_eq!(settings.storage.default, name);
    let root = Path::new(DATA).join("backups");
    assert_eq!(settings.storage.disks.len(), 1);
    let local = &settings.storage.disks[&name];
    assert_eq!(local.driver, DiskDriver::Local((&root).into()));
    assert!(local.encryption.is_none());
    assert_eq!(settings.log.format, LogFormat::Human);
}

#[test]
fn the_keys_that_are_read_are_those_of_the_default_file() {
    let listed: BTreeSet<String> = Layers::new().values.into_keys().collect();
    let (_, mut read) = read::settings(&[], [], Path::new(DATA)).unwrap();
    // The _file keys of secrets are not in the default file.
    for secret in layers::SECRETS
        .iter()
        .chain(&["storage.disks.local.age_identity"])
    {
        assert!(read.remove(&format!("{secret}_file")), "{secret}_file");
        assert!(listed.contains(*secret), "{secret}");
    }
    assert_eq!(listed, read);
}

#[test]
fn every_key_of_the_default_file_has_a_comment_above_it() {
    let text = include_str!("../../../../config/default.toml");
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ")) {
        assert!(
            pair[1].starts_with('#') || pair[0].starts_with("# "),
            "{}",
            pair[1]
        );
    }
}

#[test]
fn files_override_the_defaults_in_order_and_the_environment_overrides_files() {
    let files = [
        "worker.node = 'first'\nworker.concurrency = 3\n[limits]\nbackups_per_server = 1",
        "[worker]\nnode = 'second'\nlease_seconds = 5",
    ];
    let settings = load(&files, &[("HOLDFAST__WORKER__LEASE_SECONDS", " 60 ")]).unwrap();
    assert_eq!(settings.worker.node.as_str(), "second");
    assert_eq!(settings.worker.concurrency, 3);
    assert_eq!(settings.worker.lease, Duration::from_secs(60));
    assert_eq!(settings.api.backups_per_server, 1);
}

#[test]
fn a_list_in_a_variable_can_be_written_as_in_a_file() {
    let key = "HOLDFAST__WORKER__ROOTS";
    let written = [(key, r#" ["/srv/a, b", '/srv/c'] "#)];
    let roots = load(&[], &written).unwrap().worker.directory_rules.roots;
    assert_eq!(
        roots,
        load(&["worker.roots = ['/srv/a, b', '/srv/c']"], &[])
            .unwrap()
            .worker
            .directory_rules
            .roots
    );
    assert!(load(&[], &[(key, "[\"/srv/a\"")]).is_err());
}

#[test]
fn a_variable_is_parsed_as_the_type_of_its_key() {
    let settings = load(
        &[],
        &[
            ("HOLDFAST__HTTP__LISTEN", "[::1]:0"),
            (
                "HOLDFAST__HTTP__PUBLIC_URL",
                "https://b.example.com/holdfast/",
            ),
            ("HOLDFAST__HTTP__TRUSTED_PROXIES", "10.1.2.3/8, ::1,"),
            ("HOLDFAST__STORAGE__DISKS__MAIN__DRIVER", "local"),
            ("HOLDFAST__STORAGE__DISKS__MAIN__ROOT", "/srv/main"),
            ("HOLDFAST__STORAGE__DEFAULT", "main"),
            ("HOLDFAST__WORKER__ROOTS", "/srv/servers,relative"),
            ("HOLDFAST__WORKER__STAGING_DIR", "/srv/staging"),
            ("HOLDFAST__WORKER__READ_LIMIT_BYTES_PER_SECOND", "1000"),
            ("HOLDFAST__BACKUP__REUSE", "false"),
            ("HOLDFAST__BACKUP__REREAD_EVERY", "0"),
            ("HOLDFAST__LOG__FORMAT", "json"),
            ("HOLDFAST__LOG__FILTER", "info,holdfast_worker=debug"),
            ("HOLDFAST_DATA", "not a setting"),
            ("PATH", "not a setting"),
        ],
    )
    .unwrap();
    assert_eq!(settings.http.listen.to_string(), "[::1]:0");
    let public_url = settings.api.public_url.as_deref();
    assert_eq!(public_url, Some("https://b.example.com/holdfast"));
    let proxies: Vec<String> = settings
        .api
        .trusted_proxies
        .iter()
        .map(IpNet::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    let main = DiskDriver::Local("/srv/main".into());
    assert_eq!(disk(&settings, "main").driver, main);
    assert_eq!(settings.storage.disks.len(), 2);
    let here = std::env::current_dir().unwrap();
    assert_eq!(
        settings.worker.directory_rules.roots,
        [PathBuf::from("/srv/servers"), here.join("relative")]
    );
    assert_eq!(
        settings.worker.read_limit_bytes_per_second,
        NonZeroU64::new(1000)
    );
    assert!(!settings.worker.reuse && !settings.api.reuse);
    assert_eq!(settings.worker.reread_every, 0);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn a_secret_can_be_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = "k".repeat(32);
    fs_err::write(&path, format!("{key}\r\n")).unwrap();
    let path = path.to_str().unwrap();
    let by_file = ("HOLDFAST__AUTH__SIGNING_KEY_FILE", path);
    let settings = load(&[], &[by_file]).unwrap();
    assert_eq!(settings.auth.signing_key.unwrap().expose(), key);
    // The path can also be in a settings file.
    let settings = load(&[&format!("auth.signing_key_file = '{path}'")], &[]).unwrap();
    assert_eq!(settings.auth.signing_key.unwrap().expose(), key);

    let both = problems(&[], &[by_file, ("HOLDFAST__AUTH__SIGNING_KEY", &key)]);
    let expected = "auth.signing_key (HOLDFAST__AUTH__SIGNING_KEY): auth.signing_key_file is set \
        as well: remove one";
    assert_eq!(both, [expected]);

    let missing = problems(&[], &[("HOLDFAST__DATABASE__URL_FILE", "/nowhere/url")]);
    let expected = "database.url_file (HOLDFAST__DATABASE__URL_FILE): failed to open file \
        `/nowhere/url`: No such file or directory";
    assert!(missing[0].starts_with(expected), "{missing:?}");

    fs_err::write(path, "short\n").unwrap();
    let expected = "auth.signing_key_file (HOLDFAST__AUTH__SIGNING_KEY_FILE): must have at least \
        32 bytes, not 5";
    assert_eq!(problems(&[], &[by_file]), [expected]);
}

#[test]
fn a_disk_in_a_bucket_accepts_the_keys_of_its_example() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs_err::write(&path, "hunter2\n").unwrap();
    let variables = [
        ("HOLDFAST__STORAGE__DISKS__OFFSITE__DRIVER", "s3"),
        ("HOLDFAST__STORAGE__DISKS__OFFSITE__BUCKET", "backups"),
        (
            "HOLDFAST__STORAGE__DISKS__OFFSITE__ENDPOINT",
            "https://s3.example.com/",
        ),
        ("HOLDFAST__STORAGE__DISKS__OFFSITE__PREFIX", "/one/two"),
        ("HOLDFAST__STORAGE__DISKS__OFFSITE__ACCESS_KEY_ID", "AKID"),
        (
            "HOLDFAST__STORAGE__DISKS__OFFSITE__SECRET_ACCESS_KEY_FILE",
            path.to_str().unwrap(),
        ),
        ("HOLDFAST__STORAGE__DISKS__OFFSITE__SSE", "aws:kms"),
    ];
    let settings = load(&[], &variables).unwrap();
    let DiskDriver::S3(options) = &disk(&settings, "offsite").driver else {
        panic!("{settings:?}");
    };
    assert_eq!(options.region, "us-east-1");
    assert_eq!(options.endpoint.as_deref(), Some("https://s3.example.com"));
    assert_eq!(options.prefix, "one/two/");
    assert_eq!(options.keys.as_ref().unwrap().secret_access_key, "hunter2");
    assert!(options.is_path_style);
    assert_eq!(options.part_size_bytes, 8 << 20);
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_secret_is_not_in_debug_output_or_problems() {
    let secret = "postgres://me:hunter2@host/database";
    let key = "hunter2".repeat(8);
    let variables = [
        ("HOLDFAST__DATABASE__URL", secret),
        ("HOLDFAST__AUTH__SIGNING_KEY", &key),
    ];
    let settings = load(&[], &variables).unwrap();
    assert_eq!(settings.database.url.as_ref().unwrap().expose(), secret);
    let shown = format!("{settings:?} {settings:#?}");
    assert!(
        shown.contains("Secret(hidden)") && !shown.contains("hunter2"),
        "{shown}"
    );
    // Problems with a secret do not contain it either.
    for text in [
        "database.url = ['hunter2']",
        "database.url = hunter2",
        "database.url = 'x:hunter2'",
    ] {
        let found = problems(&[text], &[]).join("\n");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
