//! `check-config` says what it has read from the settings file of Wings, and never the token.

use crate::support::files;
use crate::support::process::{holdfast, run};

#[test]
fn check_config_says_what_the_settings_of_wings_hold() {
    let folder = files::scratch();
    let file = folder.path().join("config.yml");
    let file = file.to_str().unwrap();
    let mounts = folder.path().display();
    let text = format!(
        "uuid: 7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10\ntoken_id: the-id\ntoken: hunter2\nremote: \
         https://panel.example.com/\napi: {{port: 9000}}\nsystem: {{data: /nowhere/volumes}}\n\
         allowed_mounts: [{mounts}]\n"
    );
    fs_err::write(file, &text).unwrap();
    let root = folder.path().join("backups");
    let settings = [
        ("wings.config", file),
        ("storage.disks.local.root", root.to_str().unwrap()),
    ];
    let checked = run(holdfast(&settings).arg("check-config"));
    let expected = format!(
        "settings of Wings: {file}\n  panel: https://panel.example.com\n  node: \
         7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10\n  token: the-id (the secret is not shown)\n  \
         directories of servers: /nowhere/volumes\n  Wings answers at: http://127.0.0.1:9000\nthe \
         settings are valid\n"
    );
    assert_eq!((checked.code, checked.stdout), (Some(0), expected));
    let warning = "warning: the folder of disk local, ";
    assert!(checked.stderr.contains(warning), "{}", checked.stderr);
    assert_eq!(fs_err::read_to_string(file).unwrap(), text);

    let without_id = text.replace("token_id", "tokenid");
    fs_err::write(file, without_id).unwrap();
    let docker = [("wings.config", file), ("power.driver", "docker")];
    for (settings, expected) in [
        (&docker[..1], "`token_id` is missing"),
        (&docker[1..], ""),
        (&docker[..], "`token_id` is missing"),
    ] {
        let checked = run(holdfast(settings).arg("check-config"));
        assert_eq!(checked.code, Some(i32::from(!expected.is_empty())));
        assert!(checked.stderr.contains(expected), "{}", checked.stderr);
        assert!(!checked.stderr.contains("hunter2"), "{}", checked.stderr);
    }
    fs_err::write(file, &text).unwrap();
    let mut command = holdfast(&docker);
    command.arg("worker").arg("--data").arg(folder.path());
    let failure = run(&mut command).failure().to_owned();
    assert!(failure.contains("Set it to \"wings\""), "{failure}");
}
