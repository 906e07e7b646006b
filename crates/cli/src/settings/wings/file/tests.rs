//! Tests of reading the settings file of Wings.

use super::*;

/// What a panel writes for a node.
const OF_A_PANEL: &str = "\
debug: false
app_name: Pterodactyl
uuid: 7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10
token_id: 0123456789012345
token: 0e1234567890hunter2
api:
  host: 0.0.0.0
  port: 8080
  ssl:
    enabled: true
    cert: /etc/letsencrypt/live/node.example.com/fullchain.pem
    key: /etc/letsencrypt/live/node.example.com/privkey.pem
  upload_limit: 100
system:
  data: /var/lib/pterodactyl/volumes
  sftp:
    bind_port: 2022
allowed_mounts: [/mnt/maps]
remote: 'https://panel.example.com/'
a_key_of_a_later_version: {x: [1, 2]}
";

fn parse(path: &str, text: &str) -> Result<WingsFile, Vec<String>> {
    WingsFile::parse(Path::new(path), text, |_| None)
}

/// The file of a panel with a line replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(OF_A_PANEL.contains(line), "{line}");
    OF_A_PANEL.replace(line, replacement)
}

#[test]
fn the_file_of_a_panel_is_read_and_numbers_stay_as_they_are_written() {
    let file = parse("/etc/pterodactyl/config.yml", OF_A_PANEL).expect("valid");
    let uuid = "7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10";
    assert_eq!(file.uuid.to_string(), uuid);
    assert_eq!(file.token_id, "0123456789012345");
    assert_eq!(file.token.expose(), "0e1234567890hunter2");
    assert_eq!(file.remote, "https://panel.example.com");
    assert_eq!(file.url(), "https://127.0.0.1:8080");
    assert_eq!(file.data, Path::new("/var/lib/pterodactyl/volumes"));
    let backups = Path::new("/var/lib/pterodactyl/backups");
    assert_eq!(file.backup_directory, backups);
    assert_eq!(file.allowed_mounts, [Path::new("/mnt/maps")]);
    assert!(!format!("{file:?}").contains("hunter2"));

    // The defaults of Wings and of Pelican's Wings.
    let least = "uuid: 7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10\ntoken_id: 1e5\ntoken: 007\n\
                 remote: http://panel\napi:\nsystem: {}\n";
    let file = parse("/etc/pelican/config.yml", least).expect("valid");
    let credentials = (file.token_id.as_str(), file.token.expose());
    assert_eq!(credentials, ("1e5", "007"));
    assert_eq!(file.url(), "http://127.0.0.1:8080");
    assert_eq!(file.data, Path::new("/var/lib/pelican/volumes"));
    assert_eq!(file.backup_directory, Path::new("/var/lib/pelican/backups"));
    let file = parse("/etc/pterodactyl/config.yml", least).expect("valid");
    assert_eq!(file.data, Path::new("/var/lib/pterodactyl/volumes"));
}

#[test]
fn the_address_of_wings_is_one_that_this_machine_reaches() {
    for (host, expected) in [
        ("0.0.0.0", "https://127.0.0.1:8080"),
        ("'::'", "https://[::1]:8080"),
        ("10.0.0.5", "https://10.0.0.5:8080"),
        ("'2001:db8::1'", "https://[2001:db8::1]:8080"),
        ("node.example.com", "https://node.example.com:8080"),
        ("", "https://127.0.0.1:8080"),
    ] {
        let text = with("  host: 0.0.0.0", &format!("  host: {host}"));
        let file = parse("/config.yml", &text).expect("valid");
        assert_eq!(file.url(), expected, "{host}");
    }
    let text = with("    enabled: true", "    enabled: no").replace("8080", "\"9443\"");
    let file = parse("/config.yml", &text).expect("valid");
    assert_eq!(file.url(), "http://127.0.0.1:9443");
}

#[test]
fn credentials_come_from_variables_and_files_as_in_wings() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join("token"), "secret\r\n").expect("written");
    let path = folder.path().display().to_string();
    let variable = |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some(path.clone()),
        "WINGS_TOKEN_ID" => Some("from-variable".to_owned()),
        _ => None,
    };
    for written in [
        format!("file://{path}/token"),
        "file://${CREDENTIALS_DIRECTORY}/token".to_owned(),
        "'file://$CREDENTIALS_DIRECTORY/token'".to_owned(),
    ] {
        let text = with("0e1234567890hunter2", &written);
        let file = WingsFile::parse(Path::new("/c.yml"), &text, variable).expect("valid");
        assert_eq!(file.token.expose(), "secret", "{written}");
        assert_eq!(file.token_id, "from-variable");
    }
}

#[test]
fn each_problem_names_the_file_and_the_key_and_never_the_token() {
    let nowhere = "file:///nowhere/hunter";
    for (line, replacement, expected) in [
        (
            "uuid: 7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10",
            "uuid: x",
            "/c.yml: `uuid` must be a UUID, not `x`: copy the configuration",
        ),
        (
            "token_id: 0123456789012345\n",
            "",
            "/c.yml: `token_id` is missing: copy the configuration from the page of the node in \
             the panel again, or set WINGS_TOKEN_ID for this service as for Wings",
        ),
        (
            "token: 0e1234567890hunter2",
            "token: ''",
            "/c.yml: `token` is missing",
        ),
        (
            "token: 0e1234567890hunter2",
            "token: hunter2 hunter2",
            "/c.yml: `token` must be printable ASCII",
        ),
        (
            "token: 0e1234567890hunter2",
            "token: [hunter2]",
            "/c.yml: `token` must be a single value",
        ),
        (
            "0e1234567890hunter2",
            nowhere,
            "/c.yml: `token` cannot be read: failed to open file `/nowhere/hunter`",
        ),
        (
            "0e1234567890hunter2",
            "file://${CREDENTIALS}/hunter2",
            "/c.yml: `token` uses the variable CREDENTIALS, which is not set for this service",
        ),
        (
            "remote: 'https://panel.example.com/'",
            "remote: ftp://panel",
            "/c.yml: `remote` must be the URL of the panel",
        ),
        (
            "remote: 'https://panel.example.com/'",
            "",
            "/c.yml: `remote` is missing",
        ),
        (
            "  port: 8080",
            "  port: 80800",
            "/c.yml: `api.port` must be a port, not `80800`",
        ),
        (
            "    enabled: true",
            "    enabled: maybe",
            "/c.yml: `api.ssl.enabled` must be true or false, not `maybe`",
        ),
        (
            "/var/lib/pterodactyl/volumes",
            "volumes",
            "/c.yml: `system.data` must be an absolute path, but is `volumes`",
        ),
        (
            "[/mnt/maps]",
            "/mnt/maps",
            "/c.yml: `allowed_mounts` must be a list of folders",
        ),
        (
            "system:",
            "system: :\n\t:",
            "/c.yml is not valid YAML: see line",
        ),
    ] {
        let problems = parse("/c.yml", &with(line, replacement)).expect_err("a problem");
        assert!(problems[0].starts_with(expected), "{problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
    for text in ["", "hunter2", "[hunter2]"] {
        let problems = parse("/c.yml", text).expect_err("a problem");
        let expected = "/c.yml has no settings: is it the settings file of Wings?";
        assert_eq!(problems, [expected]);
    }
    // Every problem is reported at once.
    let problems = parse("/c.yml", "debug: true").expect_err("problems");
    assert_eq!(problems.len(), 4, "{problems:?}");
}
