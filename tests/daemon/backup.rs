//! A backup of a daemon that is at work, imported where there is nothing, gives the same answers.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }]\n";

/// `execward ARGS... --config DIR/execward.toml --state DIR/state`, of whoever runs the daemon.
fn execward(args: &[&str], directory: &Path) -> std::process::Output {
    let mut command = owners(ground::execward());
    command
        .args(args)
        .arg("--config")
        .arg(directory.join("execward.toml"))
        .arg("--state")
        .arg(directory.join("state"));
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_backup_under_load_gives_the_same_answers_elsewhere() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let jobs = daemon.path().join("jobs");
        fs::create_dir(&jobs).unwrap();
        give(&jobs);
        let workspace = daemon.workspace(people::agent(), "w");
        // A standing grant.
        let mut client = daemon.client(people::agent());
        client.open(&workspace);
        client.call("exec/start", json!({"id": "g", "command": {"argv": ["uname", "-s"]}})).unwrap();
        let mut operator = daemon.operator();
        let waiting = operator.call("approval/list", json!({})).unwrap()["approvals"][0]["approval"].clone();
        let answer = if is_root() { "always" } else { "session" };
        let seen = operator.call("approval/preview", json!({"approval": waiting, "answer": answer})).unwrap()
            ["seen"]
            .clone();
        operator
            .call("approval/answer", json!({"approval": waiting, "answer": answer, "seen": seen}))
            .unwrap();
        client.exited("g");
        let grants = operator.call("grant/list", json!({"all": true})).unwrap();
        assert_eq!(grants["grants"].as_array().unwrap().len(), 1);
        // Load, while backups are taken.
        let (stop, file) = (AtomicBool::new(false), daemon.path().join("backup.zip"));
        let ran = std::thread::scope(|scope| {
            let (client, stop) = (&mut client, &stop);
            let load = scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    client.run(&format!("l{number}"), &["true"]);
                }
                number
            });
            for round in 0..5 {
                let _ = fs::remove_file(&file);
                let taken = execward(&["backup", "--output", file.to_str().unwrap()], daemon.path());
                assert!(taken.status.success(), "{round}: {}", text(&taken));
            }
            stop.store(true, Ordering::Relaxed);
            load.join().unwrap()
        });
        assert!(ran > 0);
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);
        daemon.verify_log();
        // Not over what the daemon has in its hands.
        let over = execward(&["import", file.to_str().unwrap(), "--yes"], daemon.path());
        assert!(
            over.status.code() == Some(125) || text(&over).contains("a daemon runs with"),
            "{}",
            text(&over)
        );
        // Elsewhere there is nothing.
        let elsewhere = directory();
        let dry = execward(&["import", file.to_str().unwrap(), "--dry-run"], elsewhere.path());
        assert!(dry.status.success() && text(&dry).contains("adds "), "{}", text(&dry));
        assert!(!elsewhere.path().join("execward.toml").exists());
        let imported = execward(&["import", file.to_str().unwrap(), "--yes"], elsewhere.path());
        assert_ne!(imported.status.code(), Some(2), "{}", text(&imported));
        let same = |name: &str| {
            fs::read(elsewhere.path().join(name)).unwrap() == fs::read(daemon.path().join(name)).unwrap()
        };
        assert!(same("execward.toml") && same("policy.toml"));
        let verified = owners(ground::execward())
            .args(["audit", "verify", "--state"])
            .arg(elsewhere.path().join("state"))
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", text(&verified));
        let mut other = Daemon::command(elsewhere.path()).spawn().unwrap();
        let socket = elsewhere.path().join("run/operator.sock");
        until("it serves", || UnixStream::connect(&socket).is_ok());
        let mut operator = Client::new(connect(&socket, me()).unwrap());
        operator.call("hello", json!({"protocol": 1})).unwrap();
        let of = |grants: &Value| grants["grants"][0]["grant"].clone();
        let again = operator.call("grant/list", json!({"all": true})).unwrap();
        assert_eq!((of(&again), again["grants"].as_array().unwrap().len()), (of(&grants), 1));
        // SAFETY: plain numbers; the child has not been waited for.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(other.id().cast_signed(), libc::SIGTERM);
        }
        other.wait().unwrap();
        // And back to nothing.
        let undone = execward(&["import", "--undo"], elsewhere.path());
        assert!(undone.status.success(), "{}", text(&undone));
        assert!(
            !elsewhere.path().join("execward.toml").exists()
                && !elsewhere.path().join("state/state.db").exists()
        );
    });
}

/// Directories in one that are called so.
fn called(directory: &Path, kind: &str) -> BTreeSet<PathBuf> {
    let all = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind)).collect()
}

/// Kills such a process at the moment in which it works in a directory of its own; what it leaves.
fn killed_at_work(command: impl Fn() -> Command, directory: &Path, kind: &str) -> PathBuf {
    for _ in 0..200 {
        let before = called(directory, kind);
        let mut child =
            command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut seen = None;
        while seen.is_none() && child.try_wait().unwrap().is_none() {
            seen = called(directory, kind).difference(&before).next().cloned();
        }
        let _ = child.kill();
        child.wait().unwrap();
        if let Some(left) = seen.filter(|path| path.exists()) {
            return left;
        }
    }
    panic!("it never leaves anything in {}", directory.display());
}

#[test]
fn what_a_killed_one_was_at_work_in_goes_with_the_next() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let (state, output) = (daemon.path().join("state"), daemon.path().join("never.zip"));
        let archive = daemon.path().join("whole.zip");
        let taking = |output: &Path| {
            let mut command = owners(ground::execward());
            command.args(["backup", "--output"]).arg(output);
            command.arg("--config").arg(daemon.path().join("execward.toml")).arg("--state").arg(&state);
            command
        };
        let left = killed_at_work(
            || {
                let _ = fs::remove_file(&output);
                let _ = fs::remove_file(output.with_extension("zip.new"));
                taking(&output)
            },
            &state,
            ".work-",
        );
        let taken = taking(&archive).output().unwrap();
        assert!(taken.status.success(), "{}", text(&taken));
        assert!(!left.exists() && called(&state, ".work-").is_empty());
        // The same of what works below /var/tmp.
        let tmp = Path::new("/var/tmp");
        let examining = || {
            let mut command = owners(ground::execward());
            command.arg("doctor").current_dir("/");
            command
        };
        let left = killed_at_work(examining, tmp, "execward-doctor-");
        until("the next one removes it", || {
            let _ = examining().output().unwrap();
            !left.exists()
        });
    });
}
