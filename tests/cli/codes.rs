//! Exit codes and messages.

use std::fs::File;

use crate::support::as_everyone;

#[test]
fn help_teaches_and_is_no_error() {
    as_everyone(|ground| {
        for (args, part) in [
            (vec!["--help"], "execward run -- cargo test"),
            (vec!["run", "--help"], "124  the time limit ended it"),
            (vec!["check", "--help"], "--batch"),
            (vec!["--version"], "execward "),
        ] {
            let output = ground.execward(&args).output().expect(0);
            assert!(output.stdout().contains(part), "{args:?}: {}", output.stdout());
            assert_eq!(output.stderr(), "");
        }
    });
}

#[test]
fn a_wrong_call_is_125_for_run_and_2_for_the_rest() {
    as_everyone(|ground| {
        ground.execward(["run", "ls", "-la"]).output().expect(125).complains(&["hint:", "after `--`"]);
        ground.execward(["run"]).output().expect(125).complains(&["no command"]);
        ground.execward(["run", "--env", "A=b", "--", "true"]).output().expect(125).complains(&["--env"]);
        ground.execward(["run", "--timeout", "0s", "--", "true"]).output().expect(125).complains(&[]);
        ground.execward(["check"]).output().expect(2).complains(&["no command"]);
        ground.execward(["frobnicate"]).output().expect(2).complains(&["frobnicate"]);
        ground
            .execward(["check", "--policy", "/no/such", "--", "true"])
            .output()
            .expect(2)
            .complains(&["/no/such"]);
    });
}

#[test]
fn the_time_limit_is_124_and_leaves_nothing() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--timeout", "300ms", "--", "sleep", "60"]).output().expect(124);
        assert!(output.took.as_secs() < 20, "{:?}", output.took);
        output.complains(&["time limit"]);
    });
}

#[test]
fn check_says_allow_by_0_and_anything_else_by_1() {
    as_everyone(|ground| {
        let output = ground.execward(["check", "--", "true"]).output().expect(0);
        assert_eq!(output.stdout(), "allow\n");
        let output = ground.execward(["check", "--", "rm", "-rf", "/"]).output().expect(1);
        let text = output.stdout();
        assert!(text.starts_with("hardline\n  | rm -rf /\n    ^^^^^^^^ 1"), "{text}");
    });
}

#[test]
fn colour_is_for_terminals() {
    as_everyone(|ground| {
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "xterm-256color")] {
            let output = ground.run(["no-such-program"]).env(name, value).output().expect(127);
            assert!(!output.stderr().contains('\x1b'), "{}", output.stderr());
        }
    });
}

#[test]
fn what_a_command_is_called_cannot_write_to_the_terminal() {
    as_everyone(|ground| {
        let output = ground.run(["\x1b]52;c;ZXZpbA==\x07\u{202e}"]).output();
        assert_ne!(output.code, Some(0));
        let text = output.stderr();
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text}");
        assert!(text.contains("\\u{1b}"), "{text}");
    });
}

#[test]
fn a_lost_output_is_a_failure_even_at_the_very_end() {
    as_everyone(|ground| {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        ground.run(["echo", "hi"]).stdout_to(full).output().expect(125).complains(&["o space left"]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = ground.run(["yes"]).stdout_to(writer).output().expect(141);
        assert_eq!(output.stderr(), "");
    });
}

#[test]
fn policies_are_tested_and_shown() {
    as_everyone(|ground| {
        let shown = ground.execward(["policy", "show"]).output().expect(0).stdout();
        assert!(shown.contains("[limits]"), "{shown}");
        ground.execward(["policy", "test"]).output().expect(0);
        let text = "[[rule]]\nid = \"x\"\nprogram = \"touch\"\ndecision = \"ask\"\nreason = \"r\"\nexamples = [\n  \
                    { argv = [\"touch\", \"x\"], expect = \"allow\" },\n]\n";
        let path = ground.put(&ground.root().join("wrong.toml"), text.as_bytes(), 0o644);
        ground.execward(["policy", "test"]).arg(path).output().expect(1).complains(&["wrong.toml", "^"]);
    });
}

#[test]
fn redact_is_a_filter() {
    as_everyone(|ground| {
        let token = format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU");
        let input = format!("a\0\u{ff} {token}\nb");
        let output = ground.execward(["redact"]).stdin(input).output().expect(0);
        assert!(!output.stdout().contains(&token) && output.stdout().ends_with("\nb"), "{}", output.stdout());
        assert!(output.stderr().contains("masked: 1"), "{}", output.stderr());
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(ground.execward(["redact"]).stdin(bytes.clone()).output().expect(0).stdout, bytes);
    });
}

#[test]
fn redact_test_says_where_and_shows_nothing() {
    as_everyone(|ground| {
        let token = format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU");
        let text = format!("first\n  key {token}\n");
        let path = ground.put(&ground.root().join("notes.txt"), text.as_bytes(), 0o644);
        let output = ground.execward(["redact", "test"]).arg(&path).output().expect(1);
        assert!(output.stdout().contains("notes.txt:2:7: github-token, 40 bytes"), "{}", output.stdout());
        assert!(!output.stdout().contains(&token[..8]), "{}", output.stdout());
        let json = ground.execward(["redact", "test", "--json"]).arg(&path).output().expect(1).stdout();
        let place: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert_eq!((&place["line"], &place["length"]), (&2.into(), &40.into()));
        ground.execward(["redact", "test", "/no/such/file"]).output().expect(2);
    });
}

#[test]
fn a_policy_adds_to_what_is_masked() {
    as_everyone(|ground| {
        let rule = "[[redact]]\nid = \"acme-key\"\nliterals = [\"acme-\"]\nsecret = \"acme-[a-z0-9]{12}\"\n\
                    masks = [\"x acme-{l12}\"]\nleaves = [\"acme-x\"]\n";
        let policy = ground.put(&ground.root().join("acme.toml"), rule.as_bytes(), 0o644);
        let input = "key acme-k7qm2zxv9btf and AKIAK7QM2ZXV9BTF4RNW\n";
        let masked = ground.execward(["redact", "--policy"]).arg(&policy).stdin(input).output().expect(0);
        assert!(
            masked.stdout().starts_with("key [redacted:acme-key ***] and [redacted:aws"),
            "{}",
            masked.stdout()
        );
        let run = ground.execward(["run", "--policy"]).arg(&policy).arg("--").arg("echo").arg(input);
        assert!(!run.output().expect(0).stdout().contains("zxv9btf"));
        // One that does not do what its examples say, and one that takes the name of another.
        for wrong in [rule.replace("{12}", "{13}"), rule.replace("acme-key", "github-token")] {
            let policy = ground.put(&ground.root().join("wrong.toml"), wrong.as_bytes(), 0o644);
            let output = ground.execward(["redact", "--policy"]).arg(&policy).stdin(input).output().expect(2);
            assert!(
                output.stdout().is_empty() && output.stderr().contains("redaction rule"),
                "{}",
                output.stderr()
            );
        }
    });
}
