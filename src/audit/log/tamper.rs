//! What is done to a log afterwards is found: by hand, at random, and by somebody who computes the hashes anew.

use std::fs;

use proptest::prelude::*;

use super::tests::{dir, edit, expect_problem, now, record, with_records};
use super::*;
use crate::audit::verify::{Against, Report, verify, verify_against};

#[test]
fn verify_finds_an_edit_a_cut_and_a_reorder() {
    let fresh = || {
        let (parent, dir) = dir();
        drop(with_records(&dir, 5));
        (parent, dir)
    };
    let (_parent, dir) = fresh();
    let report = edit(&dir, |mut lines| {
        lines[1] = lines[1].replace("echo 1", "echo 9");
        lines
    });
    expect_problem(&report, 3, "does not follow");

    let (_parent, dir) = fresh();
    let report = edit(&dir, |mut lines| {
        lines.remove(2);
        lines
    });
    expect_problem(&report, 3, "record 3 is missing");
    expect_problem(&report, 3, "does not follow");

    let (_parent, dir) = fresh();
    let report = edit(&dir, |mut lines| {
        lines.swap(1, 2);
        lines
    });
    assert!(report.problems.len() >= 2, "{report:?}");

    let (_parent, dir) = fresh();
    let report = edit(&dir, |mut lines| {
        lines.remove(0);
        lines
    });
    expect_problem(&report, 1, "record 1 is missing");

    let (_parent, dir) = fresh();
    let report = edit(&dir, |mut lines| {
        lines[3] = "not json".to_owned();
        lines
    });
    expect_problem(&report, 4, "no record");

    // The last line and a removed tail show against a head that was kept elsewhere.
    let (_parent, dir) = fresh();
    let head = verify(&dir).unwrap().head;
    let report = edit(&dir, |lines| lines[..4].to_vec());
    assert!(report.problems.is_empty() && report.head != head, "{report:?}");
}

/// Every file of the log as one, oldest first.
fn whole(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = files::full(dir).unwrap().into_iter().map(|(_, path)| path).collect();
    paths.push(dir.join(LOG_FILE));
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A checkpoint for the very last record, as somebody elsewhere might hold it.
fn head(log: &mut Log) -> Against {
    let (seq, hash) = (log.tail.seq, log.tail.hash);
    let checkpoint = log.signer().unwrap().checkpoint(seq, hash, "2026-11-23T12:00:00Z");
    Against { checkpoints: vec![checkpoint], ..Against::default() }
}

fn small() -> Options {
    Options { rotate_size: 2000, checkpoint_records: 5, ..Options::default() }
}

/// Lines of somebody who changes one record and then computes the chain anew, but has no key to sign with.
fn forged(lines: &[&str], from: usize, old: &str, new: &str) -> Vec<String> {
    let mut hash = Hash::START;
    let mut forged = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let mut line = (*line).to_owned();
        if index >= from {
            let prev = line.find("\"prev\":\"").unwrap() + 8;
            line.replace_range(prev..prev + 64, &hash.to_string());
            line = line.replace(old, new);
        }
        hash = Hash::of(line.as_bytes());
        forged.push(line);
    }
    forged
}

#[test]
fn a_removed_tail_and_a_rewritten_chain_show_against_a_checkpoint() {
    let (_parent, dir) = dir();
    let mut log = with_records(&dir, 5);
    let checkpoint = log.checkpoint(now()).unwrap();
    assert_eq!(checkpoint.seq, 5);
    let _later = log.append(&record("later"), now()).unwrap();
    let against = Against { checkpoints: vec![checkpoint.clone()], ..Against::default() };
    let report = verify_against(&dir, &against).unwrap();
    assert_eq!((report.problems, report.vouched, report.checkpoints), (vec![], Some(5), 2));

    let path = dir.join(LOG_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cut = |count: usize| {
        fs::write(&path, lines[..count].join("\n") + "\n").unwrap();
        verify_against(&dir, &against).unwrap()
    };
    for count in 1..5 {
        expect_problem(&cut(count), 0, "its tail was removed");
        // Without it, nothing is seen: that is what it is for.
        assert_eq!(verify(&dir).unwrap().problems, vec![], "{count}");
    }
    assert_eq!(cut(5).problems, vec![]);

    // Up to the record that the log itself signed, and past it.
    for count in [5, 7] {
        let rewritten = forged(&lines[..count], 2, "echo 2", "echo 3");
        fs::write(&path, rewritten.join("\n") + "\n").unwrap();
        expect_problem(&verify_against(&dir, &against).unwrap(), 0, "the chain was rewritten");
        let alone = verify(&dir).unwrap();
        assert_eq!(alone.problems.is_empty(), count == 5, "the log's own checkpoint: {alone:?}");
    }

    // A checkpoint of another log, and one that was changed, are worth nothing.
    fs::write(&path, &text).unwrap();
    let other = Signer::new(&[9; 32]).checkpoint(5, Hash::from_hex(&checkpoint.hash).unwrap(), "t");
    let report = verify_against(&dir, &Against { checkpoints: vec![other], ..Against::default() }).unwrap();
    expect_problem(&report, 0, "another key");
    let changed = Checkpoint { seq: 4, ..checkpoint };
    let report = verify_against(&dir, &Against { checkpoints: vec![changed], ..Against::default() }).unwrap();
    expect_problem(&report, 0, "signature");
}

#[test]
fn a_missing_beginning_is_a_problem_unless_it_is_expected() {
    let (_parent, dir) = dir();
    let mut log = Log::open_with(&dir, small()).unwrap();
    for index in 0..20 {
        let _recorded = log.append(&record(&index.to_string()), now()).unwrap();
    }
    let against = head(&mut log);
    let full = files::full(&dir).unwrap();
    assert!(full.len() >= 3, "{full:?}");
    fs::remove_file(&full[0].1).unwrap();
    assert!(!verify(&dir).unwrap().problems.is_empty());
    let partial = Against { partial: true, ..against };
    let report = verify_against(&dir, &partial).unwrap();
    assert_eq!((report.problems, report.from), (vec![], Some(full[0].0 + 1)));
    // But not one in the middle.
    fs::remove_file(&full[1].1).unwrap();
    fs::copy(&full[2].1, dir.join("x")).unwrap();
    fs::write(&full[0].1, fs::read(dir.join("x")).unwrap()).unwrap();
    assert!(!verify_against(&dir, &partial).unwrap().problems.is_empty());
}

/// What is done to a log. Places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Change {
    Flip { at: usize, bit: u8 },
    Cut { at: usize, length: usize },
    Insert { at: usize, bytes: Vec<u8> },
    Swap { one: usize, other: usize },
    Drop { line: usize },
    Repeat { line: usize, after: usize },
    Tail { lines: usize },
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Self::Flip { at, bit }),
            (any::<usize>(), 1..400usize).prop_map(|(at, length)| Self::Cut { at, length }),
            (any::<usize>(), prop::collection::vec(any::<u8>(), 1..40))
                .prop_map(|(at, bytes)| Self::Insert { at, bytes }),
            (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Self::Swap { one, other }),
            any::<usize>().prop_map(|line| Self::Drop { line }),
            (any::<usize>(), any::<usize>()).prop_map(|(line, after)| Self::Repeat { line, after }),
            (1..6usize).prop_map(|lines| Self::Tail { lines }),
        ]
    }

    fn apply(&self, text: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> =
            text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let (bytes, count) = (text.len(), lines.len());
        match self {
            Self::Flip { at, bit } => text[at % bytes] ^= 1 << bit,
            Self::Cut { at, length } => {
                let at = at % bytes;
                text.drain(at..(at + length).min(bytes));
            }
            Self::Insert { at, bytes: new } => {
                let at = at % (bytes + 1);
                text.splice(at..at, new.iter().copied());
            }
            Self::Swap { one, other } => lines.swap(one % count, other % count),
            Self::Drop { line } => drop(lines.remove(line % count)),
            Self::Repeat { line, after } => lines.insert(after % (count + 1), lines[line % count].clone()),
            Self::Tail { lines: cut } => lines.truncate(count.saturating_sub(*cut)),
        }
        if !matches!(self, Self::Flip { .. } | Self::Cut { .. } | Self::Insert { .. }) {
            *text = lines.concat();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to whichever file, it is found; and what nobody touched is found whole.
    #[test]
    fn any_change_is_found(changes in prop::collection::vec((any::<usize>(), Change::any()), 1..4)) {
        let (_parent, dir) = dir();
        let mut log = Log::open_with(&dir, small()).unwrap();
        for index in 0..12 {
            log.append_lazily(&[(&record(&format!("echo {index}")), now())]).unwrap();
        }
        let against = head(&mut log);
        let before = whole(&dir);
        prop_assert!(before.len() >= 3);
        // The positive control.
        let untouched = verify_against(&dir, &against).unwrap();
        prop_assert_eq!(untouched.problems, vec![]);
        let mut after = before.clone();
        for (file, change) in &changes {
            let file = file % after.len();
            if !after[file].1.is_empty() {
                change.apply(&mut after[file].1);
            }
        }
        prop_assume!(after != before);
        for (path, bytes) in &after {
            fs::write(path, bytes).unwrap();
        }
        let report: Report = verify_against(&dir, &against).unwrap();
        prop_assert!(!report.problems.is_empty(), "{:?} was not found", changes);
    }
}

#[test]
fn full_files_are_put_aside_and_the_chain_goes_on() {
    let (_parent, dir) = dir();
    let mut log = Log::open_with(&dir, small()).unwrap();
    let count = 30;
    for index in 0..count {
        let _recorded = log.append(&record(&index.to_string()), now()).unwrap();
    }
    let report = verify(&dir).unwrap();
    assert_eq!(report.problems, vec![]);
    assert!(report.files >= 4 && report.checkpoints >= 5, "{report:?}");
    for (path, text) in whole(&dir).into_iter().skip(1) {
        let first: chain::Line =
            serde_json::from_slice(text.split(|it| *it == b'\n').next().unwrap()).unwrap();
        assert_eq!(first.kind, "rotated", "{}", path.display());
        let before = fs::read(dir.join(first.body["file"].as_str().unwrap())).unwrap();
        let last = before.strip_suffix(b"\n").unwrap().rsplit(|it| *it == b'\n').next().unwrap();
        assert_eq!(first.body["hash"], Hash::of(last).to_string());
        assert_eq!(first.prev, Hash::of(last).to_string());
    }
    // Opened anew, it goes on where it was.
    let mut again = Log::open_with(&dir, small()).unwrap();
    let _recorded = again.append(&record("again"), now()).unwrap();
    // The first one follows.
    let _recorded = log.append(&record("and the first"), now()).unwrap();
    assert_eq!(verify(&dir).unwrap().problems, vec![]);
}

#[test]
fn a_file_that_is_old_is_put_aside() {
    let (_parent, dir) = dir();
    let options = Options { rotate_age: Some(Duration::from_secs(3600)), ..Options::default() };
    let mut log = Log::open_with(&dir, options).unwrap();
    let at = |minutes: i64| now() + jiff::SignedDuration::from_mins(minutes);
    for minutes in [0, 59, 61, 62, 130] {
        let _recorded = log.append(&record("x"), at(minutes)).unwrap();
    }
    // Another process looks for the age itself.
    drop(log);
    let mut log = Log::open_with(&dir, options).unwrap();
    let _recorded = log.append(&record("x"), at(131)).unwrap();
    let _recorded = log.append(&record("x"), at(200)).unwrap();
    let report = verify(&dir).unwrap();
    assert_eq!((report.files, report.problems), (4, vec![]));
}

#[test]
fn several_writers_put_files_aside_and_keep_one_chain() {
    let (_parent, dir) = dir();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = &dir;
            scope.spawn(move || {
                let mut log = Log::open_with(dir, small()).unwrap();
                for index in 0..40 {
                    let _recorded = log.append(&record(&format!("{writer} {index}")), now()).unwrap();
                }
            });
        }
    });
    let report = verify(&dir).unwrap();
    assert_eq!(report.problems, vec![]);
    assert_eq!(report.records, 160 + report.files - 1 + report.checkpoints);
    assert!(report.files > 10, "{report:?}");
}

#[test]
fn a_crash_between_two_files_loses_nothing() {
    let (_parent, dir) = dir();
    let mut alive = with_records(&dir, 3);
    // A writer died after the rename.
    fs::rename(dir.join(LOG_FILE), dir.join(files::name(3))).unwrap();
    let _recorded = alive.append(&record("on"), now()).unwrap();
    let report = verify(&dir).unwrap();
    assert_eq!((report.records, report.problems), (5, vec![]));
    // One died while it wrote the first line of the next.
    let path = dir.join(LOG_FILE);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..20]).unwrap();
    let mut log = Log::open(&dir).unwrap();
    assert_eq!(log.append(&record("x"), now()).unwrap().seq(), 5);
    let report = verify(&dir).unwrap();
    assert_eq!((report.records, report.problems), (5, vec![]));
}

#[test]
fn a_log_that_is_swapped_while_it_is_open_is_noticed() {
    let (_parent, dir) = dir();
    let mut log = with_records(&dir, 5);
    let (_other_parent, other) = self::dir();
    drop(with_records(&other, 2));
    fs::rename(other.join(LOG_FILE), dir.join(LOG_FILE)).unwrap();
    let error = log.append(&record("x"), now()).unwrap_err().to_string();
    assert!(error.contains("lacks records"), "{error}");

    let (_parent, dir) = self::dir();
    let mut log = with_records(&dir, 5);
    fs::rename(dir.join(LOG_FILE), dir.join("elsewhere")).unwrap();
    let error = log.append(&record("x"), now()).unwrap_err().to_string();
    assert!(error.contains("moved away"), "{error}");
    assert!(!dir.join(LOG_FILE).exists());
}

#[test]
fn what_is_appended_is_followed_over_files() {
    let (_parent, dir) = dir();
    let mut log = Log::open_with(&dir, small()).unwrap();
    let _recorded = log.append(&record("before"), now()).unwrap();
    let mut follow = crate::audit::read::Follow::end(&dir).unwrap();
    let mut seen = Vec::new();
    for index in 0..12 {
        let _recorded = log.append(&record(&index.to_string()), now()).unwrap();
        seen.extend(follow.appended().unwrap());
    }
    assert!(files::full(&dir).unwrap().len() > 1);
    let seen: Vec<chain::Line> = seen.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(seen.iter().map(|line| line.seq).eq(2..2 + seen.len() as u64));
    assert_eq!(seen.iter().filter(|line| line.kind == "decision").count(), 12);
}
