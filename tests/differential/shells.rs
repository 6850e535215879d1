//! The real shells, as oracles: many questions to one process.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// What bash makes of programs that are harmless to run: what each prints, and whether it ended well.
///
/// The programs run in an empty environment, in `directory`, with a `PATH` that holds `directory/bin` alone.
pub fn outputs(programs: &[String], directory: &std::path::Path) -> Vec<(bool, Vec<u8>)> {
    const DRIVER: &str = "while IFS= read -r -d '' text; do ( eval \"$text\" ) 2>/dev/null </dev/null; printf '\\0%d\\0' $?; done";
    let mut shell = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "-c", DRIVER])
        .env_clear()
        .env("PATH", directory.join("bin"))
        .env("HOME", "/home/user")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(directory.join("empty"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut text = Vec::new();
    for program in programs {
        text.extend_from_slice(program.as_bytes());
        text.push(0);
    }
    let writer = std::thread::spawn(move || input.write_all(&text));
    let mut output = Vec::new();
    shell.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap().unwrap();
    assert!(shell.wait().unwrap().success());
    let parts: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
    parts.chunks_exact(2).map(|pair| (pair[1] == b"0", pair[0].to_vec())).collect()
}

/// A shell that is asked what it takes for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Bash,
    Dash,
}

/// Which texts a shell takes for programs. Nothing is run: every text is read by a shell of its own that only reads (`-n`).
pub fn checked(texts: &[String], reader: Reader) -> Vec<bool> {
    let (program, arguments): (_, &[&str]) = match reader {
        Reader::Bash => ("/bin/bash", &["--norc", "--noprofile", "-n"]),
        Reader::Dash => ("/bin/dash", &["-n"]),
    };
    let check = |text: &String| {
        let mut shell = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A shell that has found an error stops reading.
        let _ = shell.stdin.take().unwrap().write_all(text.as_bytes());
        shell.wait().unwrap().success()
    };
    let half = texts.len() / 2;
    let (first, second) = texts.split_at(half);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || second.iter().map(check).collect::<Vec<_>>());
        let mut all: Vec<bool> = first.iter().map(check).collect();
        all.extend(other.join().unwrap());
        all
    })
}
