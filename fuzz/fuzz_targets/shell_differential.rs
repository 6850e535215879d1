//! What is a program to `bash -n` is one to execward, and the other way round.
//!
//! The texts of one input, separated by NUL bytes, are read by shells that run side by side: starting one is what costs. A text
//! is only ever given to `bash -n`, which runs nothing. Texts that `tests/differential/README.md` lists are left out.
#![no_main]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use execward::shell::{Dialect, Limits, parse};
use libfuzzer_sys::fuzz_target;

/// Shells that run at once.
const MOST: usize = 8;

fn start(text: &str) -> Child {
    let mut shell = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "-n"])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash is there");
    // one that has found an error reads no further
    let _ = shell.stdin.take().expect("it is piped").write_all(text.as_bytes());
    shell
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(all) = std::str::from_utf8(bytes) else { return };
    // control characters end a line for nobody but are shown to somebody: the gate asks about them
    let plain =
        |text: &&str| text.len() <= 400 && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    let texts: Vec<&str> = all.split('\0').filter(plain).take(MOST).collect();
    let shells: Vec<Child> = texts.iter().map(|text| start(text)).collect();
    for (text, mut shell) in texts.iter().zip(shells) {
        let by_bash = shell.wait().expect("it ends").success();
        let whole =
            parse(text, Dialect::Bash, false, Limits::default()).is_ok_and(|script| script.is_whole());
        // what execward reads and bash does not could be read differently where it matters; what it refuses is refused
        assert!(by_bash || !whole, "accepted, but not by bash: {text:?}");
    }
});
