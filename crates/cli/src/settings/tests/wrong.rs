//! Tests of invalid settings and their messages.

use holdfast_worker::power::Power;

use super::*;

#[test]
fn each_problem_with_a_variable_is_one_line() {
    let table = [
        (
            "WORKER__CONCURRENCY",
            "0",
            "must be between 1 and 64, not 0",
        ),
        (
            "WORKER__CONCURRENCY",
            "-1",
            "must be between 1 and 64, not -1",
        ),
        (
            "WORKER__CONCURRENCY",
            "two",
            "must be a whole number, not `two`",
        ),
        (
            "WORKER__CONCURENCY",
            "2",
            "is not a setting: did you mean HOLDFAST__WORKER__CONCURRENCY?",
        ),
        (
            "WORKER__SWAP",
            "rename",
            "must be auto, exchange or children, not `rename`",
        ),
        (
            "DATABASE__URL_FIEL",
            "x",
            "is not a setting: did you mean HOLDFAST__DATABASE__URL_FILE?",
        ),
        ("COFFEE__STRENGTH", "9", "is not a setting"),
        ("HTTP", "x", "is a section, not a setting"),
        (
            "HTTP__LISTEN",
            "8080",
            "must be an address and a port such as 127.0.0.1:8080, not `8080`",
        ),
        (
            "HTTP__PUBLIC_URL",
            "ftp://x",
            "must start with http:// or https://, not `ftp://x`",
        ),
        (
            "HTTP__PUBLIC_URL",
            "x",
            "must be a URL such as https://backups.example.com, not `x`",
        ),
        (
            "DOWNLOADS__PUBLIC_URL",
            "http://x/?a",
            "must not contain ? or #, not `http://x/?a`",
        ),
        (
            "DOWNLOADS__PUBLIC_URL",
            "http://me:pw@x",
            "must not contain a user or password",
        ),
        (
            "HTTP__ALLOWED_HOSTS",
            "backups.example.com,http://b",
            "must be host names or addresses without a port, such as backups.example.com, \
             *.example.com or 192.0.2.1, not `http://b`",
        ),
        (
            "HTTP__ALLOWED_HOSTS",
            "b.example.com:443",
            "must be host names or addresses without a port, such as backups.example.com, \
             *.example.com or 192.0.2.1, not `b.example.com:443`",
        ),
        (
            "HTTP__TRUSTED_PROXIES",
            "10.0.0.1,ten",
            "must be addresses or networks such as 10.0.0.0/8, not `ten`",
        ),
        (
            "HTTP__MAX_BODY_BYTES",
            "5",
            "must be between 1024 and 1073741824, not 5",
        ),
        (
            "BACKUP__REUSE",
            "maybe",
            "must be true or false, not `maybe`",
        ),
        (
            "BACKUP__REREAD_EVERY",
            "10001",
            "must be between 0 and 10000, not 10001",
        ),
        (
            "SCHEDULES__TIMEZONE",
            "Berlin",
            "must be a name of the IANA time zone database such as Europe/Berlin, not `Berlin`",
        ),
        (
            "RETENTION__DAYS",
            "-1",
            "must be between 0 and 36525, not -1",
        ),
        (
            "MAINTENANCE__INTERVAL_SECONDS",
            "0",
            "must be between 1 and 604800, not 0",
        ),
        (
            "DATABASE__MAX_CONNECTIONS",
            "1",
            "must be between 4 and 1000, not 1",
        ),
        (
            "DATABASE__URL",
            "mysql://root:hunter2@x/y",
            "must be a URL such as postgres://user:password@host/database",
        ),
        (
            "AUTH__SIGNING_KEY",
            "hunter2",
            "must have at least 32 bytes, not 7",
        ),
        (
            "DOWNLOADS__TTL_SECONDS",
            "86401",
            "must be between 1 and 86400, not 86401",
        ),
        (
            "STORAGE__DEFAULT",
            "main",
            "must be the name of a disk (local), not `main`",
        ),
        (
            "STORAGE__DISKS__LOCAL__DRIVER",
            "ftp",
            "must be one of local, s3, gcs, not `ftp`",
        ),
        (
            "STORAGE__DISKS__LOCAL__GROUP",
            "no-such-group",
            "there is no group `no-such-group` on this machine",
        ),
        (
            "STORAGE__DISKS__MAIN__ROTO",
            "/x",
            "is not a setting: did you mean HOLDFAST__STORAGE__DISKS__MAIN__ROOT?",
        ),
        (
            "WORKER__NODE",
            "a b",
            "must be 1 to 64 characters (A-Z, a-z, 0-9, ., _ and -), and not start with `.`, \
             not `a b`",
        ),
        (
            "WORKER__COMPRESSION_LEVEL",
            "10",
            "must be between 0 and 9, not 10",
        ),
        (
            "WORKER__LEASE_SECONDS",
            "4",
            "must be between 5 and 600, not 4",
        ),
        (
            "WORKER__STAGING_DIR",
            "/data/backups/staging",
            "must not be in /data/backups, the folder of disk local",
        ),
        ("LOG__FORMAT", "xml", "must be human or json, not `xml`"),
        ("LOG__FILTER", "", "must be set, for example to info"),
    ];
    for (name, value, expected) in table {
        let name = format!("HOLDFAST__{name}");
        let key = name["HOLDFAST__".len()..].to_lowercase().replace("__", ".");
        let found = problems(&[], &[(&name, value)]);
        assert_eq!(
            found,
            [format!("{key} ({name}): {expected}")],
            "{name}={value}"
        );
    }
    let found = problems(&[], &[("HOLDFAST__LOG__FILTER", "holdfast=loud")]);
    assert!(
        found[0].contains("`holdfast=loud` is not a log filter: "),
        "{found:?}"
    );
}

#[test]
fn each_problem_in_a_file_names_the_file() {
    let table = [
        (
            "worker.concurrency = '2'",
            "worker.concurrency (HOLDFAST__WORKER__CONCURRENCY) in 0.toml: must be a whole \
             number, not a string",
        ),
        (
            "[htpt]\nlisten = 'x'",
            "htpt.listen (HOLDFAST__HTPT__LISTEN) in 0.toml: is not a setting: did you mean \
             http.listen?",
        ),
        (
            "http = 3",
            "http (HOLDFAST__HTTP) in 0.toml: is a section, not a setting",
        ),
        (
            "worker.roots = [1]",
            "worker.roots (HOLDFAST__WORKER__ROOTS) in 0.toml: must be a list of strings",
        ),
        (
            "worker.node = ''",
            "worker.node (HOLDFAST__WORKER__NODE) in 0.toml: must be 1 to 64 characters (A-Z, \
             a-z, 0-9, ., _ and -), and not start with `.`, not ``",
        ),
        (
            "\nauth.signing_key = 'hunter2",
            "0.toml, line 2: invalid literal string, expected `'`",
        ),
        (
            "storage.disks.'Main!'.root = '/x'",
            "storage.disks.Main!.root (HOLDFAST__STORAGE__DISKS__MAIN!__ROOT) in 0.toml: the name \
             of a disk must be 1 to 32 characters (a-z, 0-9, _ and -)",
        ),
        (
            "storage.disks.main.driver = 'local'",
            "storage.disks.main.root (HOLDFAST__STORAGE__DISKS__MAIN__ROOT): must be set to the \
             disk's folder",
        ),
        (
            "storage.disks.main.root = '/x'",
            "storage.disks.main.driver (HOLDFAST__STORAGE__DISKS__MAIN__DRIVER): must be set to \
             one of local, s3, gcs",
        ),
        (
            "[storage.disks.main]\ndriver = 'local'\nroot = '/data/backups'",
            "storage.disks.main.root (HOLDFAST__STORAGE__DISKS__MAIN__ROOT) in 0.toml: is already \
             the folder of disk local",
        ),
        (
            "[storage.disks.far]\ndriver = 'ftp'\nbucket = 'x'",
            "storage.disks.far.driver (HOLDFAST__STORAGE__DISKS__FAR__DRIVER) in 0.toml: must be \
             one of local, s3, gcs, not `ftp`",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'x'",
            "storage.disks.far.bucket (HOLDFAST__STORAGE__DISKS__FAR__BUCKET) in 0.toml: must be \
             3 to 255 characters (A-Z, a-z, 0-9, ., _ and -), not `x`",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\nbukcet = 'xyz'",
            "storage.disks.far.bukcet (HOLDFAST__STORAGE__DISKS__FAR__BUKCET) in 0.toml: is not a \
             setting: did you mean storage.disks.far.bucket?",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\nroot = '/x'",
            "storage.disks.far.root (HOLDFAST__STORAGE__DISKS__FAR__ROOT) in 0.toml: is not a \
             setting of a disk with driver s3",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\ngroup = 'root'",
            "storage.disks.far.group (HOLDFAST__STORAGE__DISKS__FAR__GROUP) in 0.toml: is not a \
             setting of a disk with driver s3",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\nsecret_access_key = 'hunter2'",
            "storage.disks.far.access_key_id (HOLDFAST__STORAGE__DISKS__FAR__ACCESS_KEY_ID): must \
             be set, because storage.disks.far.secret_access_key is set",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\nsse = 'AES256'\nsse_kms_key_id = \
             'x'",
            "storage.disks.far.sse_kms_key_id (HOLDFAST__STORAGE__DISKS__FAR__SSE_KMS_KEY_ID) in \
             0.toml: requires storage.disks.far.sse to be aws:kms",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\npart_size_bytes = 1",
            "storage.disks.far.part_size_bytes (HOLDFAST__STORAGE__DISKS__FAR__PART_SIZE_BYTES) \
             in 0.toml: must be between 5242880 and 5368709120, not 1",
        ),
        (
            "[storage.disks.far]\ndriver = 's3'\nbucket = 'xyz'\n[storage.disks.near]\ndriver = \
             's3'\nbucket = 'xyz'\nprefix = '/'",
            "storage.disks.near.bucket (HOLDFAST__STORAGE__DISKS__NEAR__BUCKET) in 0.toml: is \
             already the bucket and prefix of disk far",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(&[text], &[]), [expected], "{text}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(
        &[
            "worker.concurrency = 0\nworker.nod = 'x'\nhttp.listen = 'here'",
            "log.format = 'xml'",
        ],
        &[
            ("HOLDFAST__WORKER__LEASE_SECONDS", "soon"),
            ("HOLDFAST__AUTH__SIGNING_KEY", "short"),
        ],
    );
    let keys: BTreeSet<&str> = found
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let expected = [
        "auth.signing_key",
        "http.listen",
        "log.format",
        "worker.concurrency",
        "worker.lease_seconds",
        "worker.nod",
    ];
    assert_eq!(keys, BTreeSet::from(expected), "{found:?}");
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = [PathBuf::from("/nowhere/holdfast.toml")];
    let problems = Settings::load(&missing, [], Path::new(DATA))
        .unwrap_err()
        .to_string();
    let expected = "failed to open file `/nowhere/holdfast.toml`: No such file or directory";
    assert!(problems.starts_with(expected), "{problems}");
}

#[test]
fn power_needs_a_known_driver_and_commands_with_absolute_paths() {
    for (text, expected) in [
        (
            "power.driver = 'systemd'",
            vec!["power.driver (", "must be none, command, docker or wings"],
        ),
        (
            "power.driver = 'command'\npower.stop_command = ['stop-server', '{server}']",
            vec![
                "power.stop_command (",
                "must start with the absolute path of a program, not `stop-server`",
                "power.running_command (",
                "must be set with power.driver",
            ],
        ),
        (
            "power.stop_timeout_seconds = 0",
            vec!["power.stop_timeout_seconds (", "must be between 1 and 3600"],
        ),
    ] {
        let found = problems(&[text], &[]).join("\n");
        for part in expected {
            assert!(found.contains(part), "{text}: {found}");
        }
    }
    let settings = load(
        &["power.driver = 'docker'\npower.docker_label = 'server'"],
        &[],
    );
    let Power::Docker(docker) = settings.unwrap().worker.power else {
        panic!("another driver");
    };
    assert_eq!(docker.socket, Path::new("/var/run/docker.sock"));
    assert_eq!(docker.label.as_deref(), Some("server"));
    assert_eq!(docker.grace, Duration::from_secs(60));
}
