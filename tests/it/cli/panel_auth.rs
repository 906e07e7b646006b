//! `check-config` says which panel decides about callers.

use crate::support::process::{holdfast, run};

#[test]
fn check_config_says_which_panel_decides_and_warns_of_plain_text() {
    for (url, warned) in [
        ("https://panel.example.com/", false),
        ("http://panel.example.com", true),
    ] {
        let checked = run(holdfast(&[("auth.panel.url", url)]).arg("check-config"));
        let expected = format!(
            "credentials of the panel are accepted: {}\nthe settings are valid\n",
            url.trim_end_matches('/')
        );
        assert_eq!((checked.code, checked.stdout), (Some(0), expected));
        let warning = "warning: auth.panel.url starts with http://";
        assert_eq!(
            checked.stderr.contains(warning),
            warned,
            "{}",
            checked.stderr
        );
    }
}
