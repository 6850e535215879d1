//! Secrets are masked in everything that leaves, and it is said that they were.

use std::fs;
use std::path::Path;

use crate::support::as_everyone;

/// A token of a known shape that nobody was ever given.
fn token() -> String {
    format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU")
}

#[test]
fn a_token_is_masked_and_counted() {
    as_everyone(|ground| {
        let token = token();
        ground.write("leak", format!("before\ntoken {token} end\nafter\n"));
        let output = ground.run(["cat", "leak"]).output().expect(0);
        assert!(
            !output.stdout().contains(&token) && output.stdout().starts_with("before\n"),
            "{}",
            output.stdout()
        );
        assert!(output.stdout().ends_with("after\n"));
        assert!(output.stderr().contains("masked"), "nothing said on stderr: {}", output.stderr());

        let json = ground.execward(["run", "--json", "--", "cat", "leak"]).output().expect(0).json();
        assert_eq!(json["masked"], 1, "{json}");
        assert!(!json.to_string().contains(&token));
    });
}

#[test]
fn a_token_on_standard_error_is_masked() {
    as_everyone(|ground| {
        ground.write("leak", token());
        let output = ground.shell("cat leak >&2").output().expect(0);
        assert!(!output.stderr().contains(&token()), "{}", output.stderr());
    });
}

#[test]
fn a_token_in_a_command_is_not_stored() {
    as_everyone(|ground| {
        let token = token();
        ground.shell(&format!("echo {token} | wc -c")).output().expect(0);
        let mut pending = vec![ground.state()];
        let mut files = 0;
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).expect("the state can be listed").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                files += 1;
                assert!(!holds(&path, &token), "{} holds the token", path.display());
            }
        }
        assert!(files > 0 || !crate::support::is_root(), "no record was written");
    });
}

fn holds(path: &Path, token: &str) -> bool {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(token)
}

#[test]
fn nothing_switches_redaction_off() {
    as_everyone(|ground| {
        ground.write("leak", token());
        for name in ["EXECWARD_REDACT", "EXECWARD_NO_REDACT", "NO_REDACT", "EXECWARD_REDACTION"] {
            let output =
                ground.run(["cat", "leak"]).env(name, "0").env("RUST_LOG", "trace").output().expect(0);
            assert!(!output.stdout().contains(&token()), "{name}");
            assert!(!output.stderr().contains(&token()), "{name}: {}", output.stderr());
        }
    });
}
