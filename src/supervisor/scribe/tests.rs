use super::*;
use crate::audit::{record, verify};
use crate::gate::{self, Command, Facts};
use crate::redact::{Redactor, Rules};
use crate::shell::Dialect;

fn decision(scribe: &Scribe, id: usize) -> Record {
    Record::decision(&plain(scribe, id), &Redactor::new(&Rules::default(), Vec::new()))
}

fn plain(scribe: &Scribe, id: usize) -> crate::audit::Decision {
    let command = Command::Argv(vec!["true".to_owned()]);
    let facts = Facts {
        cwd: "/w".into(),
        home: "/h".into(),
        user: "u".into(),
        uid: 1,
        workspaces: vec!["/w".into()],
        homes: Default::default(),
        environment: Default::default(),
        dialect: Dialect::Bash,
        backend: "jail".into(),
        profile: String::new(),
    };
    crate::audit::Decision {
        id: id.to_string(),
        requester: record::Requester { uid: 1, gid: 1, pid: 1, principal: None },
        digest: scribe.key().command(&command),
        command,
        facts,
        verdict: gate::Decision::Allow,
        findings: Vec::new(),
        outcome: record::Outcome::Run,
        approval: None,
        secrets: Vec::new(),
        policy: String::new(),
        error: None,
        session: None,
    }
}

#[tokio::test]
async fn many_at_once_are_one_chain_and_each_gets_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    let waiting: Vec<_> = (0..600)
        .map(|id| {
            let scribe = scribe.clone();
            let record = decision(&scribe, id);
            tokio::spawn(async move { (id, scribe.decision(record).await.expect("recorded")) })
        })
        .collect();
    let mut numbers = Vec::new();
    for waiting in waiting {
        let (id, durable) = waiting.await.expect("it does not panic");
        assert_eq!(durable.clears(), Some(id.to_string().as_str()));
        numbers.push(durable.seq());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=600));
    let report = verify::verify(&path).expect("it can be read");
    assert_eq!((report.records, report.problems.len()), (600, 0));
}

#[tokio::test]
async fn what_lets_nothing_run_is_written_in_its_turn() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    scribe.end(decision(&scribe, 1)).expect("queued");
    let durable = scribe.decision(decision(&scribe, 2)).await.expect("recorded");
    assert_eq!(durable.seq(), 2);
    scribe.end(decision(&scribe, 3)).expect("queued");
    scribe.sync().await.expect("synced");
    assert_eq!(verify::verify(&path).expect("it can be read").records, 3);
}

#[tokio::test]
async fn a_log_that_was_removed_lets_nothing_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    std::fs::remove_file(path.join(crate::audit::log::LOG_FILE)).expect("it is there");
    let error = scribe.decision(decision(&scribe, 1)).await.expect_err("nothing is recorded");
    assert!(error.to_string().contains("was removed"), "{error}");
}

#[tokio::test]
async fn an_end_waits_for_a_log_that_cannot_be_written_and_is_there_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let (log, away) = (path.join(crate::audit::log::LOG_FILE), directory.path().join("away"));
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    let _recorded = scribe.decision(decision(&scribe, 1)).await.expect("recorded");
    std::fs::rename(&log, &away).expect("it is there");
    scribe.end(decision(&scribe, 2)).expect("queued");
    let (done, wait) = oneshot::channel();
    scribe.then(move || assert!(done.send(()).is_ok()));
    // One that was held back is no reason to let anything run, nor is it lost with what is refused.
    assert!(scribe.decision(decision(&scribe, 3)).await.is_err());
    assert!(scribe.sync().await.is_err());
    std::fs::rename(&away, &log).expect("it is there");
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("soon")
        .expect("done when it is recorded");
    let ids: Vec<String> = crate::audit::read::Lines::open(&path)
        .expect("a log")
        .map(|line| line.expect("it reads").record().expect("a record"))
        .filter(|line| line.kind == "decision")
        .map(|line| line.body["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(verify::verify(&path).expect("it can be read").problems, vec![]);
}

fn denied(scribe: &Scribe, id: usize, text: &str) -> Record {
    let command = Command::Shell(text.to_owned());
    let mut record = crate::audit::Decision {
        outcome: record::Outcome::Denied,
        verdict: gate::Decision::Deny,
        ..plain(scribe, id)
    };
    record.digest = scribe.key().command(&command);
    record.command = command;
    Record::decision(&record, &Redactor::new(&Rules::default(), Vec::new()))
}

#[tokio::test]
async fn refusals_that_repeat_themselves_are_counted_and_each_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    let waiting: Vec<_> = (0..1000)
        .map(|id| {
            let scribe = scribe.clone();
            // One in ten says something of its own.
            let text = if id % 10 == 0 { format!("other {id}") } else { "rm -rf /".to_owned() };
            let record = denied(&scribe, id, &text);
            tokio::spawn(async move { scribe.denial(record).await.expect("recorded") })
        })
        .collect();
    for waiting in waiting {
        waiting.await.expect("it does not panic");
    }
    // Whoever was answered is on disk, without a sync.
    let mut counted = 0;
    let mut alone = std::collections::BTreeSet::new();
    for line in crate::audit::read::Lines::open(&path).expect("a log") {
        let line = line.expect("it reads").record().expect("a record");
        match line.kind.as_str() {
            "decision" => drop(alone.insert(line.body["id"].as_str().expect("an id").to_owned())),
            "repeated" => {
                let ids = line.body["ids"].as_array().expect("ids");
                assert_eq!(line.body["count"], ids.len());
                assert_eq!(line.body["requester"]["uid"], 1);
                counted += ids.len();
                for id in ids {
                    assert!(alone.insert(id.as_str().expect("an id").to_owned()), "{id} twice");
                }
            }
            kind => assert_eq!(kind, "checkpoint"),
        }
    }
    assert_eq!(alone.len(), 1000);
    // The first of a kind, and what one wait for the disk took along with them, are written in full.
    assert!(counted > 500, "{counted}");
    assert_eq!(verify::verify(&path).expect("it can be read").problems, vec![]);
}

#[tokio::test]
async fn what_was_recorded_is_signed_after_a_while_and_at_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let keeping = Keeping { checkpoint_every: Duration::from_millis(20), ..Keeping::default() };
    let scribe = Scribe::open(&path, keeping).expect("a log");
    let _recorded = scribe.decision(decision(&scribe, 1)).await.expect("recorded");
    let deadline = Instant::now() + Duration::from_secs(20);
    while verify::verify(&path).expect("it can be read").checkpoints == 0 {
        assert!(Instant::now() < deadline, "it was not signed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nothing new, nothing signed.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(verify::verify(&path).expect("it can be read").records, 2);

    let other = directory.path().join("other");
    let scribe = Scribe::open(&other, Keeping::default()).expect("a log");
    scribe.checkpoint().await.expect("nothing to sign is no error");
    let _recorded = scribe.decision(decision(&scribe, 1)).await.expect("recorded");
    scribe.checkpoint().await.expect("signed");
    let report = verify::verify(&other).expect("it can be read");
    assert_eq!((report.checkpoints, report.records, report.problems), (1, 2, vec![]));
}

#[tokio::test]
async fn a_log_that_others_hold_keeps_nobody_but_its_own_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
    let other = std::fs::File::open(path.join(crate::audit::LOG_FILE)).expect("the file");
    other.lock().expect("its lock");
    // On one thread: whoever waited for the lock here would keep it from being given back.
    let record = decision(&scribe, 1);
    let mut waiting = std::pin::pin!(scribe.decision(record));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("it was written past the lock"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    other.unlock().expect("it is ours");
    assert_eq!(waiting.await.expect("recorded").seq(), 1);
}
