//! The protocol, against a real daemon on real sockets: every golden transcript, and the examples of the README as they
//! stand there.

mod machine;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use execward::client::replay::{self, Outcome, TRANSCRIPTS, Target};
use proptest::collection::vec;
use proptest::prelude::*;

/// A daemon of this test's own, ended with it.
struct Daemon {
    process: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("execward-protocol-").tempdir_in("/var/tmp").unwrap();
        for name in ["run", "state", "workspace"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let process = Command::new(env!("CARGO_BIN_EXE_execward"))
            .args(["serve", "--socket-dir"])
            .arg(directory.path().join("run"))
            .arg("--state")
            .arg(directory.path().join("state"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { process, directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !daemon.socket("operator").exists() {
            assert!(Instant::now() < deadline, "the daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join("run").join(format!("{name}.sock"))
    }

    fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        // It stops gracefully, and ends its runners with it.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

#[test]
fn golden_transcripts_come_out_as_they_stand() {
    let daemon = Daemon::start();
    let target = Target {
        agent: daemon.socket("agent"),
        operator: Some(daemon.socket("operator")),
        workspace: daemon.workspace().to_str().unwrap().to_owned(),
    };
    let mut problems = Vec::new();
    let mut rows = 0;
    for (name, text) in TRANSCRIPTS {
        for row in replay::read(text).unwrap() {
            rows += 1;
            match row.replay(&target) {
                Outcome::Ok => {}
                Outcome::Skipped(why) => problems.push(format!("{name}: {}: skipped: {why}", row.title)),
                Outcome::Failed(problem) => problems.push(format!("{name}: {}: {problem}", row.title)),
            }
        }
    }
    assert!(rows > 100, "{rows}");
    assert!(problems.is_empty(), "{} of {rows} rows:\n{}", problems.len(), problems.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever several peers say in whatever order and pieces, the table permits what the oracle does, and nothing else.
    #[test]
    fn every_message_has_its_time(script in vec(any::<u8>(), 0..600), piece in 1usize..40) {
        let whole = machine::run(&script, usize::MAX);
        prop_assert_eq!(whole.transcript, machine::run(&script, piece).transcript);
    }
}

/// Scripts go where they should: there is an answer of every kind among those of the fuzzer's seeds and of some more.
#[test]
fn scripts_reach_every_kind_of_answer() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/wire_dialog");
    let seeds = std::fs::read_dir(seeds).unwrap().map(|seed| std::fs::read(seed.unwrap().path()).unwrap());
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let more: Vec<Vec<u8>> = (0..300).map(|_| (0..2000).map(|_| byte()).collect()).collect();
    let mut seen = std::collections::BTreeSet::new();
    for bytes in seeds.chain(more) {
        let (&piece, script) = bytes.split_first().unwrap();
        seen.extend(machine::run(script, usize::from(piece)).transcript);
    }
    let seen = Vec::from_iter(seen).join("\n");
    let codes = [
        "Unreadable",
        "NotARequest",
        "Hello",
        "UnknownMethod",
        "BadParameters",
        "UnknownSession",
        "UnknownExec",
        "NotRunning",
        "NotReadable",
        "StdinClosed",
        "IdInUse",
        "Limit",
        "Stopping",
        "Version",
        "Descriptors",
    ];
    let refused = codes.map(|code| format!("({code})]"));
    let fine = [
        "Hello(1) [Ok]",
        "Open [Ok]",
        "About(0, Unnamed, 0) [Ok]",
        "About(3, Unnamed, 0) [Ok]",
        "Kill(Known(0)) [Ok]",
    ];
    let all = refused.iter().map(String::as_str).chain(fine);
    let missing: Vec<&str> = all.filter(|answer| !seen.contains(answer)).collect();
    assert!(missing.is_empty(), "no script has {missing:?}");
}

/// The first example of the README in a language.
fn example(language: &str) -> String {
    let document = include_str!("../../README.md");
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs an example with an interpreter; `None` where this machine does not have it.
fn run(program: &str, arguments: &[&str], text: &str, daemon: &Daemon) -> Option<Output> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()));
    if !found {
        eprintln!("skipped: this machine has no {program}");
        return None;
    }
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(daemon.workspace())
        .env("EXECWARD_SOCKET", daemon.socket("agent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[test]
fn the_python_example_runs_as_it_stands() {
    let text = example("python");
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 15, "{text}");
    let daemon = Daemon::start();
    let Some(output) = run("python3", &["-"], &text, &daemon) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from 42\n");
    assert!(output.status.success());
}

#[test]
fn the_socat_example_runs_as_it_stands() {
    let socat = ["/usr/bin/socat", "/bin/socat", "/usr/local/bin/socat"];
    if !socat.iter().any(|path| Path::new(path).exists()) {
        eprintln!("skipped: this machine has no socat");
        return;
    }
    let daemon = Daemon::start();
    let Some(output) = run("sh", &["-s"], &example("sh"), &daemon) else { return };
    let replies = String::from_utf8_lossy(&output.stdout);
    assert!(replies.lines().any(|line| line.contains(r#""text":"hello\n""#)), "{replies}");
}

/// A client that passes its descriptors, or relays where the daemon takes none: the command line's own.
#[test]
fn a_run_by_the_daemon_has_its_stdio_and_its_exit_code() {
    let daemon = Daemon::start();
    let mut child = Command::new(env!("CARGO_BIN_EXE_execward"))
        .args(["run", "-v", "--socket"])
        .arg(daemon.socket("agent"))
        .args(["-c", "cat; echo done >&2; exit 7"])
        .current_dir(daemon.workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    // Beside reading what comes back: neither side can take all of it at once.
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(output.stdout == bytes, "{} bytes came back of {}", output.stdout.len(), bytes.len());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("done\n") && stderr.contains("served by the daemon on"), "{stderr}");
}
