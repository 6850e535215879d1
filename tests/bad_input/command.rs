//! Commands that are none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::nothing_ran;
use crate::support::{Ground, as_everyone};

#[test]
fn an_argument_that_is_not_utf_8() {
    as_everyone(|ground| {
        let output = ground.run(["touch", "ran"]).arg(OsStr::from_bytes(b"\xff\xfe")).output();
        assert_ne!(output.code, Some(0));
        nothing_ran(ground, output).complains(&["UTF-8"]);
    });
}

#[test]
fn shell_text_that_is_not_utf_8() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "-c"]).arg(OsStr::from_bytes(b"touch ran; echo \xff")).output();
        assert_ne!(output.code, Some(0));
        nothing_ran(ground, output).complains(&["UTF-8"]);
    });
}

#[test]
fn an_empty_argv() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--"]).output();
        assert!(matches!(output.code, Some(2 | 125)), "{:?}", output.code);
        output.complains(&[]);
        let output = ground.run([""]).output();
        assert!(matches!(output.code, Some(125..=127)), "{:?}", output.code);
        output.complains(&[]);
    });
}

/// The verdicts on a batch: one JSON object on each line, as the requests were.
fn batch(ground: &Ground, requests: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let output = ground.execward(["check", "--json", "--batch"]).stdin(lines).output();
    let text = output.stdout();
    assert!(!output.stderr().contains("panicked"), "{}", output.stderr());
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object on each line")).collect()
}

#[test]
fn a_nul_in_a_command() {
    as_everyone(|ground| {
        let verdicts = batch(ground, &[json!({"command": "echo ok"}), json!({"command": "echo a\u{0}b"})]);
        assert_eq!(verdicts.len(), 2, "{verdicts:?}");
        assert_eq!(verdicts[0]["decision"], "allow", "{verdicts:?}");
        assert_ne!(verdicts[1]["decision"], "allow", "{verdicts:?}");
    });
}

#[test]
fn a_command_over_the_size_limit() {
    as_everyone(|ground| {
        let verdicts = batch(ground, &[json!({"command": format!("echo {}", "a".repeat(8 << 20))})]);
        assert_eq!(verdicts.len(), 1);
        assert_ne!(verdicts[0]["decision"], "allow");
        let output = ground.run(["touch", "ran"]).output().expect(0);
        drop(output);
        std::fs::remove_file(ground.workspace().join("ran")).expect("the control ran");
        // As much as the kernel takes in all arguments together.
        let mut command = ground.run(["touch", "ran"]);
        command.args((0..14).map(|_| "a".repeat(100_000)));
        let output = command.output();
        assert_ne!(output.code, Some(0));
        nothing_ran(ground, output).complains(&[]);
    });
}

#[test]
fn text_that_does_not_parse_is_refused_with_its_position() {
    as_everyone(|ground| {
        let output = ground.shell("touch ran; echo $(").output().expect(126);
        nothing_ran(ground, output).complains(&[]);
        // With spaces: `((` would be arithmetic, which bash nests without a limit of ours.
        let deep = format!("touch ran; {}true{}", "( ".repeat(20_000), " )".repeat(20_000));
        let output = ground.shell(&deep).output().expect(126);
        nothing_ran(ground, output).complains(&[]);
    });
}

#[test]
fn options_that_make_no_sense() {
    as_everyone(|ground| {
        for options in [["--timeout", "-1s"], ["--timeout", "soon"], ["--timeout", "99999999999999999999s"]] {
            let mut command = ground.execward(["run"]);
            command.args(options);
            command.args(["--", "touch", "ran"]);
            let output = command.output();
            assert!(matches!(output.code, Some(2 | 125)), "{options:?}: {:?}", output.code);
            nothing_ran(ground, output).complains(&[]);
        }
    });
}
