//! `execward config`: what is configured, and whether a daemon could use it.

use std::fs;
use std::path::Path;

use crate::support::{Ground, Output, as_everyone};

fn config(ground: &Ground, what: &str, file: &Path, more: &[&str]) -> Output {
    let mut command = ground.execward(["config", what, "--config", &file.display().to_string()]);
    command.args(["--state", &ground.state().display().to_string()]).args(more);
    command.output()
}

#[test]
fn a_mistake_is_shown_with_line_and_hint_and_hides_no_other() {
    as_everyone(|ground| {
        let put = |name: &str, text: &str| ground.put(&ground.root().join(name), text.as_bytes(), 0o644);
        let fine = put("execward.toml", "version = 1\n[limits]\nsessions = 3\n");
        let policy = put("policy.toml", "[approval]\ntimeout = \"1m\"\n").display().to_string();
        let checked = config(ground, "check", &fine, &["--policy", &policy]).expect(0).stdout();
        assert_eq!(checked.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{checked}");
        let wrong = put("wrong.toml", "[limits]\nsesions = 3\n");
        let bad_policy = put("bad.toml", "[[rule]]\nid = \"x\"\ndecison = \"ask\"\n").display().to_string();
        let output = config(ground, "check", &wrong, &["--policy", &bad_policy]);
        let checked = output.stdout();
        assert_eq!(output.code, Some(1), "{checked}");
        assert!(
            checked.contains("wrong.toml:2:1") && checked.contains("did you mean `sessions`?"),
            "{checked}"
        );
        assert!(
            checked.contains("bad.toml:3:1") && checked.contains("did you mean `decision`?"),
            "{checked}"
        );
        let output = config(ground, "check", &put("new.toml", "version = 9\n[novelty]\n"), &[]);
        assert!(
            output.code == Some(1) && output.stdout().contains("take a newer execward"),
            "{}",
            output.stdout()
        );
        let output = config(ground, "migrate", &put("new.toml", "version = 9\n"), &[]);
        assert!(output.code == Some(1), "{}", output.stdout());
        assert!(config(ground, "migrate", &fine, &[]).expect(0).stdout().contains("nothing to do"));
    });
}

#[test]
fn what_is_shown_and_shared_holds_no_secret() {
    as_everyone(|ground| {
        let directory = ground.root().join("etc");
        fs::create_dir_all(directory.join("jobs")).unwrap();
        fs::create_dir_all(directory.join("secrets")).unwrap();
        let text = "# a comment-secret\n[notify]\nwebhook = \"https://hooks.example.com/T/path-secret\"\n[limits]\nsessions = 3\n";
        let file = ground.put(&directory.join("execward.toml"), text.as_bytes(), 0o600);
        let job = "command = [\"true\"]\nworkspace = \"/srv\"\n[schedule]\nevery = \"1h\"\n\
            [[deliver]]\nwebhook = \"https://hooks.example.com/job-secret\"\n";
        ground.put(&directory.join("jobs/nightly.toml"), job.as_bytes(), 0o600);
        ground.put(&directory.join("secrets/hook"), b"file-secret", 0o600);
        ground.give_tree(&directory);
        let shown = config(ground, "show", &file, &[]).expect(0).stdout();
        assert!(shown.contains("sessions = 3") && shown.contains("commands = 64"), "{shown}");
        assert!(shown.contains("hooks.example.com") && !shown.contains("-secret"), "{shown}");
        let shared = config(ground, "export", &file, &[]).expect(0).stdout();
        assert!(
            shared.contains("# ---- jobs/nightly.toml") && shared.contains("hooks.example.com"),
            "{shared}"
        );
        assert!(!shared.contains("-secret"), "{shared}");
    });
}
