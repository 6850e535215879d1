#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "a test that cannot go on says where"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::gate::{Command, Decision, Facts, Finding, Judgement};
use crate::shell::{Dialect, Span};
use crate::wire::runner::{Aftermath, Cause, End, Ended, FileId, Receipt, ToRunner};

use super::verdict::Judged;

const CWD: FileId = FileId { dev: 1, ino: 2 };
const WORKSPACE: FileId = FileId { dev: 1, ino: 1 };

fn request(command: Command) -> Request {
    Request {
        id: RequestId::from_random([7; 16]),
        principal: Principal { uid: 1000, gid: 1000, name: "ann".into() },
        command,
        facts: Facts {
            cwd: "/w/p".into(),
            home: "/home/ann".into(),
            user: "ann".into(),
            uid: 1000,
            workspaces: vec!["/w".into()],
            homes: BTreeMap::new(),
            environment: BTreeMap::from([("PATH".into(), "/usr/bin".into())]),
            dialect: Dialect::Bash,
            backend: "jail".into(),
            profile: String::new(),
        },
        place: Place { cwd: CWD, workspace: WORKSPACE },
        terms: Terms {
            profile: crate::policy::Profile::default(),
            timeout: None,
            grace: Duration::from_secs(2),
        },
        context: Vec::new(),
        interpreter: "/bin/bash".into(),
    }
}

fn shell(text: &str) -> Request {
    request(Command::Shell(text.into()))
}

fn person() -> Principal {
    Principal { uid: 0, gid: 0, name: "root".into() }
}

fn once() -> Agreed {
    Agreed::Once { approver: person() }
}

fn finding(decision: Decision) -> Finding {
    Finding {
        rule: "test.rule".into(),
        decision,
        span: Span::default(),
        argv: vec![],
        effect: "does something".into(),
        reason: "a test".into(),
        hint: String::new(),
        run_under: String::new(),
    }
}

fn judged(request: Request, decision: Decision) -> Verdict {
    let judgement = Judgement::from_findings(vec![finding(decision)]);
    Verdict::new(Judged { request, judgement, policy: Digest::of(b"policy"), apart: Narrower::default() })
}

fn pending(request: Request) -> Pending {
    match judged(request, Decision::Ask) {
        Verdict::Ask(pending) => *pending,
        other => panic!("not an ask: {other:?}"),
    }
}

fn cleared(request: Request) -> Cleared {
    match judged(request, Decision::Allow) {
        Verdict::Allow(cleared) => *cleared,
        other => panic!("not an allow: {other:?}"),
    }
}

fn seen() -> Seen {
    Seen {
        place: Place { cwd: CWD, workspace: WORKSPACE },
        environment: vec![("PATH".into(), "/usr/bin".into())],
    }
}

fn malformed(command: Command) -> Malformed {
    request(command).parse().expect_err("it is malformed").1
}

#[test]
fn what_is_no_command_is_refused() {
    assert_eq!(malformed(Command::Argv(vec![])), Malformed::Empty);
    assert_eq!(malformed(Command::Argv(vec![String::new(), "a".into()])), Malformed::EmptyProgram);
    assert_eq!(malformed(Command::Shell(" \n\t".into())), Malformed::Empty);
    assert_eq!(
        malformed(Command::Argv(vec!["echo".into(), "a\0b".into()])),
        Malformed::Nul { argument: 1, at: 1 }
    );
    assert_eq!(malformed(Command::Shell("echo a\0 b".into())), Malformed::Nul { argument: 0, at: 6 });
}

#[test]
fn the_size_limit_is_exact() {
    assert!(shell(&"a".repeat(MAX_COMMAND)).parse().is_ok());
    assert_eq!(
        malformed(Command::Shell("a".repeat(MAX_COMMAND + 1))),
        Malformed::TooLong { size: MAX_COMMAND + 1 }
    );
    let words = vec!["a".to_owned(); MAX_COMMAND / 2];
    assert!(request(Command::Argv(words.clone())).parse().is_ok());
    let one_more = words.into_iter().chain([String::new()]).collect();
    assert_eq!(malformed(Command::Argv(one_more)), Malformed::TooLong { size: MAX_COMMAND + 1 });
}

#[test]
fn each_decision_leads_to_its_own_type() {
    assert!(matches!(judged(shell("x"), Decision::Allow), Verdict::Allow(_)));
    assert!(matches!(judged(shell("x"), Decision::Ask), Verdict::Ask(_)));
    assert!(matches!(judged(shell("x"), Decision::Deny), Verdict::Deny(_)));
    assert!(matches!(judged(shell("x"), Decision::Hardline), Verdict::Deny(_)));
}

#[test]
fn a_grant_clears_what_it_was_given_for() {
    let pending = pending(shell("make"));
    let grant = pending.grant(once());
    let cleared = pending.accept(grant).expect("the grant fits");
    assert_eq!(cleared.agreed(), &Agreed::Once { approver: person() });
}

/// Each change alone voids a grant that was given for `make`.
#[test]
fn a_grant_cannot_move() {
    let changes: Vec<(&str, fn(&mut Request))> = vec![
        ("id", |r| r.id = RequestId::from_random([8; 16])),
        ("uid", |r| r.principal.uid = 1001),
        ("gid", |r| r.principal.gid = 1001),
        ("principal", |r| r.principal.name = "bob".into()),
        ("text", |r| r.command = Command::Shell("make ".into())),
        ("kind", |r| r.command = Command::Argv(vec!["make".into()])),
        ("interpreter", |r| r.interpreter = "/tmp/bash".into()),
        ("cwd path", |r| r.facts.cwd = "/w/q".into()),
        ("home", |r| r.facts.home = "/home/bob".into()),
        ("user", |r| r.facts.user = "bob".into()),
        ("facts uid", |r| r.facts.uid = 0),
        ("workspaces", |r| r.facts.workspaces.push("/".into())),
        ("homes", |r| drop(r.facts.homes.insert("bob".into(), "/home/bob".into()))),
        ("environment", |r| drop(r.facts.environment.insert("A".into(), "b".into()))),
        ("dialect", |r| r.facts.dialect = Dialect::Posix),
        ("backend", |r| r.facts.backend = "none".into()),
        ("cwd inode", |r| r.place.cwd.ino = 3),
        ("cwd device", |r| r.place.cwd.dev = 3),
        ("workspace inode", |r| r.place.workspace.ino = 3),
        ("network", |r| r.terms.profile.network = crate::policy::Network::Host),
        ("timeout", |r| r.terms.timeout = Some(Duration::from_secs(1))),
        ("grace", |r| r.terms.grace = Duration::from_secs(3)),
    ];
    for (what, change) in changes {
        let grant = pending(shell("make")).grant(once());
        let mut other = shell("make");
        change(&mut other);
        let denial = pending(other).accept(grant).expect_err(what);
        assert_eq!(denial.reason(), &DenialReason::Grant(GrantMismatch), "{what}");
    }
}

#[test]
fn a_grant_holds_under_one_policy() {
    let grant = pending(shell("make")).grant(once());
    let judgement = Judgement::from_findings(vec![finding(Decision::Ask)]);
    let verdict = Verdict::new(Judged {
        request: shell("make"),
        judgement,
        policy: Digest::of(b"other"),
        apart: Narrower::default(),
    });
    let Verdict::Ask(pending) = verdict else { panic!("not an ask") };
    assert!(pending.accept(grant).is_err());
}

/// Fields that run into each other must not bind alike.
#[test]
fn words_and_fields_do_not_run_together() {
    let bind = |argv: &[&str]| {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let request = request(Command::Argv(argv));
        binding::bind(&request, &request.terms, Digest::of(b"p"))
    };
    assert_ne!(bind(&["a", "b"]), bind(&["ab"]));
    assert_ne!(bind(&["a", "b"]), bind(&["a b"]));
    assert_ne!(bind(&["a", ""]), bind(&["a"]));
}

#[test]
fn what_changed_after_the_verdict_does_not_run() {
    let other = FileId { dev: 9, ino: 9 };
    let cases = [
        (Changed::Cwd, Seen { place: Place { cwd: other, workspace: WORKSPACE }, ..seen() }),
        (Changed::Workspace, Seen { place: Place { cwd: CWD, workspace: other }, ..seen() }),
        (Changed::Environment, Seen { environment: vec![("PATH".into(), "/tmp".into())], ..seen() }),
        (Changed::Environment, Seen { environment: vec![], ..seen() }),
        (
            Changed::Environment,
            Seen { environment: [seen().environment, seen().environment].concat(), ..seen() },
        ),
    ];
    for (changed, seen) in cases {
        let denial = cleared(shell("make")).prepare(seen).expect_err("it changed");
        assert_eq!(denial.reason(), &DenialReason::Changed(changed));
    }
}

#[test]
fn a_ticket_is_for_one_request() {
    let prepared = cleared(shell("make")).prepare(seen()).expect("nothing changed");
    let ticket = Ticket::from(crate::audit::chain::Durable::for_tests("another request"));
    assert!(prepared.start(ticket, 1).is_err());
}

fn spawned(request: Request) -> Vec<String> {
    let ticket = Ticket::from(crate::audit::chain::Durable::for_tests(request.id.as_str()));
    let prepared = cleared(request).prepare(seen()).expect("nothing changed");
    let spawn = prepared.spawn(1);
    let (_, go) = prepared.start(ticket, 1).expect("the ticket fits");
    assert_eq!(ToRunner::from(go), ToRunner::Run { id: 1 });
    assert_eq!(spawn.cwd_id, CWD);
    assert_eq!(spawn.env, seen().environment);
    spawn.argv
}

#[test]
fn shell_text_runs_in_the_shell_it_was_judged_for() {
    assert_eq!(spawned(shell("-x")), ["/bin/bash", "--norc", "--noprofile", "-c", "--", "-x"]);
    let mut posix = shell("ls");
    posix.facts.dialect = Dialect::Posix;
    posix.interpreter = "/bin/sh".into();
    assert_eq!(spawned(posix), ["/bin/sh", "-c", "--", "ls"]);
    assert_eq!(spawned(request(Command::Argv(vec!["ls".into(), "-a b".into()]))), ["ls", "-a b"]);
}

fn outcome_of(end: End) -> Outcome {
    let ticket = Ticket::from(crate::audit::chain::Durable::for_tests(shell("x").id.as_str()));
    let prepared = cleared(shell("x")).prepare(seen()).expect("nothing changed");
    let (running, _) = prepared.start(ticket, 1).expect("the ticket fits");
    let ended = Ended {
        id: 1,
        end,
        wall_us: 1,
        cpu_us: 2,
        max_rss_kib: 3,
        aftermath: Aftermath::default(),
        reached: Vec::new(),
        shell: None,
    };
    running.finish(ended).report(Receipt::default()).outcome
}

#[test]
fn each_end_has_its_outcome() {
    assert_eq!(outcome_of(End::Code { code: 124 }), Outcome::Exited { code: 124 });
    assert_eq!(outcome_of(End::Signal { signal: 9 }), Outcome::Signaled { signal: 9 });
    assert_eq!(outcome_of(End::Killed { cause: Cause::Time }), Outcome::TimedOut);
    assert_eq!(outcome_of(End::Killed { cause: Cause::Cancelled }), Outcome::Cancelled { signal: 15 });
    assert!(matches!(outcome_of(End::Killed { cause: Cause::Orphaned }), Outcome::Failed { .. }));
    assert_eq!(
        outcome_of(End::NotExecuted { errno: 2, program: "x".into() }),
        Outcome::NotFound { program: "x".into() }
    );
    assert_eq!(
        outcome_of(End::NotExecuted { errno: 13, program: "x".into() }),
        Outcome::NotExecutable { program: "x".into(), errno: 13 }
    );
}

#[test]
fn a_report_says_its_outcome_beside_the_rest() {
    let denial = pending(shell("make")).refuse(DenialReason::Nobody("there is no terminal".into()));
    let json = serde_json::to_value(denial.report()).expect("it is JSON");
    assert_eq!(json["outcome"], "refused");
    assert_eq!(json["refused_by"], "nobody");
    assert_eq!(json["decision"], "ask");
    assert_eq!(json["findings"][0]["rule"], "test.rule");
    assert!(json.get("agreed").is_none());
}
