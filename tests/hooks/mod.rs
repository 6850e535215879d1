//! The hooks as clients call them: a transcript for each client, passes that run once, and the shell.

use std::fs;

use serde_json::Value;

use crate::support::ground::execward;
use crate::support::{Ground, as_everyone};

/// What a client sends and what it must be told. `PASS` stands for the command line of a pass, `REASON` for words.
const TRANSCRIPTS: [(&str, &str); 5] = [
    ("claude", include_str!("claude.jsonl")),
    ("codex", include_str!("codex.jsonl")),
    ("gemini", include_str!("gemini.jsonl")),
    ("hermes", include_str!("hermes.jsonl")),
    ("cursor", include_str!("cursor.jsonl")),
];

/// Compares, and finds the pass.
fn same(expected: &Value, actual: &Value, pass: &mut Option<String>) -> bool {
    let program = execward().to_str().unwrap();
    match (expected, actual) {
        (Value::String(word), Value::String(text)) if word == "REASON" => !text.is_empty(),
        (Value::String(word), Value::String(text)) if word == "PROGRAM" => text == program,
        (Value::String(word), Value::String(text)) if word == "ID" => {
            *pass = Some(text.clone());
            text.len() == 32
        }
        (Value::String(word), Value::String(text)) if word == "PASS" => {
            *pass = text.strip_prefix(&format!("{program} pass ")).map(str::to_owned);
            pass.as_ref().is_some_and(|pass| pass.len() == 32)
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(name, value)| actual.get(name).is_some_and(|actual| same(value, actual, pass)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len() && expected.iter().zip(actual).all(|(a, b)| same(a, b, pass))
        }
        _ => expected == actual,
    }
}

fn replay(ground: &Ground, client: &str, text: &str) {
    let workspace = ground.workspace();
    for line in text.replace("WORKSPACE", workspace.to_str().unwrap()).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let title = format!("{client}: {}", row["title"]);
        let output = ground.execward(["hook", client]).stdin(row["send"].to_string()).output();
        let (stdout, stderr) = (output.stdout(), output.stderr());
        let output = output.expect(i32::try_from(row["code"].as_i64().unwrap()).unwrap());
        drop(output);
        let said: Value =
            if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() };
        let mut pass = None;
        assert!(same(&row["stdout"], &said, &mut pass), "{title}: {stdout}");
        assert!(stderr.contains(row["stderr"].as_str().unwrap_or_default()), "{title}: {stderr}");
        let Some(expected) = row.get("pass") else { continue };
        // As the client runs it, once and not again.
        let run = || ground.execward(["pass", pass.as_deref().unwrap()]).output();
        let code = i32::try_from(expected["code"].as_i64().unwrap()).unwrap();
        assert_eq!(run().expect(code).stdout(), expected["stdout"].as_str().unwrap(), "{title}");
        run().expect(125).complains(&["it was used"]);
    }
}

#[test]
fn each_client_is_told_what_it_understands() {
    as_everyone(|ground| {
        for (client, text) in TRANSCRIPTS {
            replay(ground, client, text);
        }
    });
}

#[test]
fn a_pass_is_judged_when_it_runs() {
    as_everyone(|ground| {
        let hook = |command: &str| {
            let message = serde_json::json!({"cwd": ground.workspace(), "tool_name": "Bash",
                "tool_input": {"command": command}});
            let said =
                ground.execward(["hook", "claude"]).stdin(message.to_string()).output().expect(0).json();
            let line = said["hookSpecificOutput"]["updatedInput"]["command"].as_str().unwrap().to_owned();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let pass = hook("touch made");
        // What is forbidden meanwhile does not run because it was not forbidden then.
        let policy = ground.workspace().join(".execward");
        fs::create_dir(&policy).unwrap();
        let text = "[[rule]]\nid = \"t\"\nprogram = \"touch\"\ndecision = \"deny\"\nreason = \"r\"\n";
        fs::write(policy.join("policy.toml"), text).unwrap();
        ground.give_tree(&policy);
        ground.execward(["pass", &pass]).output().expect(126);
        assert!(!ground.workspace().join("made").exists());
        ground.execward(["pass", "../../etc/passwd"]).output().expect(125).complains(&["is not a pass"]);
    });
}

#[test]
fn a_shell_runs_what_a_shell_is_given() {
    as_everyone(|ground| {
        let shell = |line: &[&str]| ground.execward(["shell"].iter().chain(line));
        assert_eq!(
            shell(&["-c", "echo $0 \"$@\"; exit 3", "name", "a b", "c"]).output().expect(3).stdout(),
            "name a b c\n"
        );
        assert_eq!(shell(&["-lc", "echo one | cat"]).output().expect(0).stdout(), "one\n");
        assert_eq!(shell(&["-ec", "false; echo no"]).output().expect(1).stdout(), "");
        assert_eq!(shell(&[]).stdin("read x <<< two\necho $x\n").output().expect(0).stdout(), "two\n");
        ground.write("s.sh", "echo script $1\n");
        assert_eq!(shell(&["s.sh", "arg"]).output().expect(0).stdout(), "script arg\n");
        shell(&["-c", "rm -rf /"]).output().expect(126).complains(&["refused"]);
        shell(&["-c", "eval \"$1\"", "sh", "rm -rf /"]).output().expect(126);
        shell(&["-i"]).output().expect(125).complains(&["not interactive"]);
        // By its name alone, as SHELL and /etc/passwd have it.
        let link = ground.root().join("execward-shell");
        std::os::unix::fs::symlink(execward(), &link).unwrap();
        assert_eq!(
            ground.bare([link.to_str().unwrap(), "-c", "echo by name"]).output().expect(0).stdout(),
            "by name\n"
        );
    });
}
