//! The log against crashes, full disks, other writers and tampering; and what `verify` finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::audit::record::tests::decision;
use crate::audit::record::{Decision, Outcome};
use crate::audit::verify::{Report, verify};
use crate::gate::Command;
use crate::redact::{Redactor, Rules};

pub(super) fn dir() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state/audit");
    (parent, dir)
}

pub(super) fn record(text: &str) -> Record {
    Record::decision(
        &decision(Command::Shell(text.to_owned())),
        &Redactor::new(&Rules::default(), Vec::new()),
    )
}

pub(super) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(super) fn with_records(dir: &Path, count: usize) -> Log {
    let mut log = Log::open(dir).unwrap();
    for index in 0..count {
        let _recorded = log.append(&record(&format!("echo {index}")), now()).unwrap();
    }
    log
}

pub(super) fn edit(dir: &Path, change: impl FnOnce(Vec<String>) -> Vec<String>) -> Report {
    let path = dir.join(LOG_FILE);
    let lines = fs::read_to_string(&path).unwrap().lines().map(ToOwned::to_owned).collect();
    fs::write(&path, change(lines).join("\n") + "\n").unwrap();
    verify(dir).unwrap()
}

#[track_caller]
pub(super) fn expect_problem(report: &Report, line: u64, what: &str) {
    let found = report.problems.iter().any(|problem| problem.line == line && problem.what.contains(what));
    assert!(found, "no `{what}` in line {line}: {:?}", report.problems);
}

#[test]
fn records_are_numbered_chained_and_private() {
    let (_parent, dir) = dir();
    let mut log = Log::open(&dir).unwrap();
    let first = log.append(&record("a"), now()).unwrap();
    let second = log.append(&record("b"), now()).unwrap();
    assert_eq!((first.seq(), second.seq()), (1, 2));

    let text = fs::read_to_string(dir.join(LOG_FILE)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(Hash::of(lines[0].as_bytes()), first.hash());
    assert!(lines[1].contains(&format!("\"prev\":\"{}\"", first.hash())));
    for (name, mode) in [("", 0o700), (LOG_FILE, 0o600), (KEY_FILE, 0o600)] {
        assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777, mode, "{name}");
    }
    let report = verify(&dir).unwrap();
    assert_eq!((report.records, report.problems.len()), (2, 0));
    assert_eq!(report.first.as_deref(), Some("2026-11-23T12:00:00Z"));
    assert_eq!(report.head, Some(second.hash().to_string()));
}

#[test]
fn only_the_record_of_a_decision_to_run_clears_its_request() {
    let (_parent, dir) = dir();
    let mut log = Log::open(&dir).unwrap();
    let redactor = Redactor::new(&Rules::default(), Vec::new());
    for outcome in [Outcome::Run, Outcome::Denied, Outcome::Refused, Outcome::Unanswered, Outcome::Failed] {
        let decision = Decision { outcome, ..decision(Command::Shell("x".into())) };
        let durable = log.append(&Record::decision(&decision, &redactor), now()).unwrap();
        assert_eq!(durable.clears(), (outcome == Outcome::Run).then_some("r1"));
    }
}

#[test]
fn the_key_stays_and_differs_between_logs() {
    let (_parent, dir) = dir();
    let digest = Log::open(&dir).unwrap().key().digest(b"x");
    assert_eq!(Log::open(&dir).unwrap().key().digest(b"x"), digest);
    let (_parent, other) = self::dir();
    assert_ne!(Log::open(&other).unwrap().key().digest(b"x"), digest);
}

#[test]
fn several_writers_keep_one_chain() {
    let (_parent, dir) = dir();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = &dir;
            scope.spawn(move || {
                let mut log = Log::open(dir).unwrap();
                for index in 0..25 {
                    let _recorded = log.append(&record(&format!("{writer} {index}")), now()).unwrap();
                }
            });
        }
    });
    let report = verify(&dir).unwrap();
    assert_eq!((report.records, report.problems), (100, vec![]));
}

#[test]
fn a_torn_line_is_kept_and_the_chain_goes_on() {
    for torn in ["{\"seq\":3,\"ti", "\0\0\0\0", "x"] {
        let (_parent, dir) = dir();
        drop(with_records(&dir, 2));
        let path = dir.join(LOG_FILE);
        let mut text = fs::read(&path).unwrap();
        text.extend(torn.as_bytes());
        fs::write(&path, text).unwrap();
        expect_problem(&verify(&dir).unwrap(), 3, "torn");

        let mut log = Log::open(&dir).unwrap();
        assert_eq!(log.append(&record("after"), now()).unwrap().seq(), 4);
        assert_eq!(log.append(&record("later"), now()).unwrap().seq(), 5);
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        assert!(text.contains(torn) && text.contains("\"kind\":\"repaired\""));
        let report = verify(&dir).unwrap();
        assert_eq!((report.records, report.problems), (5, vec![]));
    }
}

#[test]
fn a_line_torn_anywhere_is_repaired() {
    let (_parent, dir) = dir();
    drop(with_records(&dir, 2));
    let path = dir.join(LOG_FILE);
    let whole = fs::read(&path).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in (second + 1..whole.len()).step_by(37).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let mut log = Log::open(&dir).unwrap();
        let _recorded = log.append(&record("x"), now()).unwrap();
        assert_eq!(verify(&dir).unwrap().problems, vec![], "torn after {length}");
    }
}

#[test]
fn a_full_disk_is_an_error_with_path_and_reason() {
    let (_parent, dir) = dir();
    let mut log = with_records(&dir, 1);
    log.file = Arc::new(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    let mut batch = Batch { tail: log.tail, bytes: Vec::new() };
    batch.push(&record("x"), now());
    let error = log.write(batch).unwrap_err().to_string();
    assert!(error.contains(LOG_FILE) && error.contains("No space left on device"), "{error}");
    assert_eq!(verify(&dir).unwrap().records, 1);
}

#[test]
fn a_removed_log_is_noticed() {
    let (_parent, dir) = dir();
    let mut log = with_records(&dir, 1);
    fs::remove_file(dir.join(LOG_FILE)).unwrap();
    assert!(log.append(&record("x"), now()).unwrap_err().to_string().contains("was removed"));
}

#[test]
fn what_others_could_have_put_there_is_refused() {
    let refuse = |prepare: &dyn Fn(&Path), what: &str| {
        let (_parent, dir) = dir();
        drop(with_records(&dir, 1));
        prepare(&dir);
        let error = Log::open(&dir).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    refuse(&|dir| chmod(dir.to_owned(), 0o755), "open to other users");
    refuse(&|dir| chmod(dir.join(LOG_FILE), 0o640), "open to other users");
    refuse(&|dir| chmod(dir.join(KEY_FILE), 0o604), "open to other users");
    refuse(&|dir| fs::hard_link(dir.join(LOG_FILE), dir.join("x")).unwrap(), "hard link");
    refuse(
        &|dir| {
            fs::rename(dir.join(LOG_FILE), dir.join("x")).unwrap();
            std::os::unix::fs::symlink("x", dir.join(LOG_FILE)).unwrap();
        },
        "symbolic link",
    );
    refuse(
        &|dir| {
            fs::remove_file(dir.join(LOG_FILE)).unwrap();
            nix::unistd::mkfifo(&dir.join(LOG_FILE), Mode::from_bits_truncate(0o600)).unwrap();
        },
        "not a regular file",
    );
    refuse(&|dir| fs::write(dir.join(LOG_FILE), "no record\n").unwrap(), "no record");
    if geteuid().is_root() {
        refuse(
            &|dir| std::os::unix::fs::chown(dir.join(LOG_FILE), Some(65534), None).unwrap(),
            "another user",
        );
    }
}

#[test]
fn an_unwritable_directory_is_an_error_with_its_path() {
    let error = Log::open(Path::new("/proc/execward-audit")).unwrap_err().to_string();
    assert!(error.contains("/proc/execward-audit"), "{error}");
}

#[test]
fn another_writer_that_keeps_the_lock_is_waited_for() {
    let (_parent, dir) = dir();
    let mut log = with_records(&dir, 1);
    let other = File::open(dir.join(LOG_FILE)).unwrap();
    other.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            other.unlock().unwrap();
        });
        let start = Instant::now();
        let _recorded = log.append(&record("x"), now()).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(40));
    });
}

#[test]
fn verify_reads_an_empty_log_and_no_log() {
    let (_parent, dir) = dir();
    drop(Log::open(&dir).unwrap());
    assert_eq!(verify(&dir).unwrap(), Report::default());
    assert!(verify(&dir.join("none")).is_err());
}
