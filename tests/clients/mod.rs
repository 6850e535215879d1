//! The clients in other languages, each with its own tests, against a real daemon.

use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, Setup};
use crate::support::{skip, tool};

/// One command needs a person's yes, which the tests give.
const POLICY: &str = "[approval]\ntimeout = \"60s\"\n[[rule]]\nid = \"asks\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
                      reason = \"it is the tests' example\"\n";

/// Runs the tests of a directory of `clients/` with the standard library's runner.
fn python(directory: &str) {
    if !tool("python3") {
        return skip("python3", "there is none");
    }
    let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(directory).join("tests");
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "-v", "-s"])
        .arg(&tests)
        .env("EXECWARD_TEST_DIR", daemon.path())
        .env_remove("PYTHONPATH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = said.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(ran >= 10 && !said.contains("skipped"), "{ran} tests ran:\n{said}");
}

#[test]
fn the_python_client_does_what_its_tests_say() {
    python("python");
}
