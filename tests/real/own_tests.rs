//! execward's own unit tests, compiled and run inside its own jail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Ground, as_everyone, skip};

/// What is not source: built, or another package.
const LEFT_OUT: &[&str] = &["target", ".git", "fuzz"];

/// Tests of what the runner and the daemon do with calls that no command has: they reach files as another user, and the
/// filter refuses setfsuid(2) and openat2(2).
const NOT_INSIDE: &[&str] = &[
    "sys::nested::tests",
    "runner::later::tests",
    "runner::container::tests",
    "runner::far::tests",
    "supervisor::session::passed",
    "supervisor::session::seen::tests",
    "prepare::context::tests",
    "supervisor::vault::tests",
];

#[test]
fn own_unit_tests_pass_inside() {
    as_everyone(|ground| {
        let Some(cargo) = visible_cargo(ground) else {
            return skip("toolchain", &format!("cargo is not visible to {}", ground.account().name));
        };
        let source = ground.workspace().join("source");
        copy_source(&source);
        copy_built(&source.join("target"));
        ground.give_tree(&source);

        let skipped: String = NOT_INSIDE.iter().map(|name| format!(" --skip {name}")).collect();
        let test = format!("cd source && {cargo} test --lib --offline -- {skipped} 2>&1");
        let jailed = ground.shell(&test).patience(Duration::from_secs(600)).output();
        assert_eq!(jailed.code, Some(0), "{}\n{}", jailed.stdout(), jailed.stderr());
        // Nothing is compiled twice: the bare run finds what was built inside.
        let bare = ground.bare_shell(&test).patience(Duration::from_secs(600)).output().expect(0);
        let (inside, outside) = (results(&jailed.stdout()), results(&bare.stdout()));
        assert!(inside.len() > 20, "few tests ran: {inside:?}");
        assert_eq!(inside, outside);
    });
}

/// The `test name ... ok` lines.
fn results(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with("test ") && line.contains(" ... "))
        .map(str::to_owned)
        .collect()
}

/// The cargo that the requester can run bare: the tests' own, unless it is in a home that is closed to them.
fn visible_cargo(ground: &Ground) -> Option<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // `cargo test` sets CARGO to the program behind rustup's proxy; the proxy finds its own way, too.
    [cargo, "cargo".to_owned()]
        .into_iter()
        .find(|cargo| ground.bare_shell(&format!("{cargo} --version")).output().code == Some(0))
}

fn copy_source(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the source can be listed").flatten() {
        if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            copy(&entry.path(), to);
        }
    }
}

/// Copies what was built of the dependencies, so that only execward itself is compiled again.
fn copy_built(to: &Path) {
    // target/TRIPLE/debug/execward
    let profile = Path::new(env!("CARGO_BIN_EXE_execward")).parent().expect("a directory");
    let triple = profile.parent().expect("a directory");
    let target = triple.parent().expect("a directory");
    let name = |path: &Path| PathBuf::from(path.file_name().expect("a name"));
    let host = target.join(name(profile));
    for (from, below) in [(profile, name(triple).join(name(profile))), (&*host, name(profile))] {
        for part in ["deps", "build", ".fingerprint"] {
            if from.join(part).is_dir() {
                let directory = to.join(&below);
                fs::create_dir_all(&directory).expect("a directory");
                copy(&from.join(part), &directory);
            }
        }
        for entry in fs::read_dir(to.join(&below).join("deps")).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let file = file.to_string_lossy();
            if ["execward-", "main-", "probe-", "launch-"].iter().any(|own| file.starts_with(own)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// With times: cargo compares them.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--reflink=auto").arg(from).arg(to).status();
    assert!(status.expect("cp starts").success(), "copy {}", from.display());
}
