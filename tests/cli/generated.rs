//! Completions and manual pages are made from the argument table, and say what it says.

use std::process::{Command, Output};

use crate::support::ground;

fn execward(args: &[&str]) -> Output {
    Command::new(ground::execward()).args(args).output().expect("it starts")
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = execward(&["shell-completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).expect("text");
        for word in ["approvals", "shell-completions", "no-daemon"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // What bash offers after the script was read is what the table has.
    let script = "source /dev/stdin; COMP_WORDS=(execward ses); COMP_CWORD=1; _execward execward ses execward; echo ${COMPREPLY[@]}";
    let completions = execward(&["shell-completions", "bash"]).stdout;
    let mut child = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("bash");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &completions).expect("it reads");
    let offered = child.wait_with_output().expect("it ends").stdout;
    assert_eq!(String::from_utf8_lossy(&offered), "session\n");
    assert_eq!(execward(&["shell-completions", "nosuch"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    assert!(execward(&["man", path]).status.success());
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
    assert!(page("execward.1").contains(".TH EXECWARD 1"));
    assert!(page("execward-run.1").contains("\\-\\-no\\-daemon"));
    assert!(page("execward-exec-start.1").contains("\\-\\-session"));
    assert!(page("execward-man.1").contains("execward man"), "{}", page("execward-man.1"));
    let first = execward(&["man"]);
    assert!(first.status.success() && String::from_utf8_lossy(&first.stdout).contains(".TH"));
    let missing = execward(&["man", "/nonexistent/directory"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent/directory/execward"));
}
