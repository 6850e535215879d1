//! The clients in other languages, each with its own tests, against a real daemon.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::daemon::restart::ALONE;
use crate::daemon::{Daemon, Setup, me, until};
use crate::support::{skip, tool};

/// One command needs a person's yes, which the tests give, and one is denied.
const POLICY: &str = "[approval]\ntimeout = \"60s\"\n[[rule]]\nid = \"asks\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
                      reason = \"it is the tests' example\"\n[[rule]]\nid = \"denies\"\nprogram = \"hostid\"\ndecision = \"deny\"\n\
                      reason = \"it is there for the tests\"\n";

/// Runs the tests of a directory of `clients/` with the standard library's runner.
fn python(python: impl AsRef<std::ffi::OsStr>, directory: &str) {
    let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(directory).join("tests");
    let output = Command::new(python)
        .args(["-B", "-m", "unittest", "discover", "-v", "-s"])
        .arg(&tests)
        .env("EXECWARD_TEST_DIR", daemon.path())
        .env_remove("PYTHONPATH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // What the tests say on standard error stands between their names and their results.
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(ran.is_some_and(|ran| ran >= 10) && !said.contains("skipped"), "{ran:?} tests ran:\n{said}");
}

#[test]
fn the_python_client_does_what_its_tests_say() {
    if !tool("python3") {
        return skip("python3", "there is none");
    }
    python("python3", "python");
}

#[test]
fn tools_of_hermes_run_everything_in_a_session() {
    // A Python that has the package `hermes-agent`: `python3 -m venv V && V/bin/pip install hermes-agent`.
    let Some(with_hermes) = std::env::var_os("EXECWARD_TEST_HERMES_PYTHON") else {
        return skip("hermes", "EXECWARD_TEST_HERMES_PYTHON names no Python with the package `hermes-agent`");
    };
    python(with_hermes, "hermes");
}

#[test]
fn python_goes_on_with_the_daemon_that_comes_after_the_one_that_was_killed() {
    if !tool("python3") {
        return skip("python3", "there is none");
    }
    for kind in ["blocking", "asyncio", "gone"] {
        let Some(mut daemon) = Daemon::start(Setup { config: ALONE, policy: POLICY }) else { return };
        let workspace = daemon.workspace(me(), kind);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/tests/restart.py");
        let child = Command::new("python3")
            .arg("-B")
            .arg(script)
            .args([kind.as_ref(), daemon.socket("agent").as_os_str(), workspace.as_ref()])
            .env_remove("PYTHONPATH")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("the command runs", || Path::new(&workspace).join("runs").exists());
        if kind == "gone" {
            daemon.kill();
        } else {
            daemon.crash();
            std::thread::sleep(std::time::Duration::from_millis(200));
            daemon.crash();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said == "fine\n",
            "{kind}: {said}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            daemon.log()
        );
    }
}
