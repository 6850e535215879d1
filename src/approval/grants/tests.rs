use std::time::Duration;

use super::*;
use crate::shell::Dialect;

fn situation(text: &str) -> Situation {
    Situation {
        uid: 7,
        session: SessionId::from_random([1; 16]),
        command: Command::Shell(text.to_owned()),
        facts: Facts {
            cwd: "/w".into(),
            home: "/home/ann".into(),
            user: "ann".into(),
            uid: 7,
            workspaces: vec!["/w".into()],
            homes: Default::default(),
            environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            dialect: Dialect::Bash,
            backend: "jail".into(),
            profile: String::new(),
        },
        inode: 42,
        profile: "p".into(),
        rules: vec![BoundRule { id: "ask.rm".into(), digest: "d".into() }],
        scripts: Vec::new(),
        plain: true,
    }
}

fn grants(directory: &std::path::Path) -> Grants {
    Grants::load(Arc::new(Store::open(directory).expect("a store").0)).expect("read")
}

fn give(
    grants: &Grants,
    id: u8,
    situation: &Situation,
    scope: Scope,
    width: Width,
    lasts: Duration,
) -> GrantId {
    let id = GrantId::from_random([id; 16]);
    let root = Principal { uid: 0, gid: 0, name: "root".into() };
    let bound = situation.bound(width).expect("a bound");
    let now = Timestamp::now();
    grants.give(&id, situation, scope, &bound, &root, (now, now + lasts)).expect("given");
    id
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn everything_that_a_grant_is_bound_to_must_be_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let grants = grants(directory.path());
    let own = situation("rm -r a/b");
    give(&grants, 1, &own, Scope::Always, Width::Paths, HOUR);
    assert!(grants.cover(&own).is_some());
    assert!(grants.cover(&situation("rm -r c d/e")).is_some());
    type Change = fn(&mut Situation);
    let changes: [(&str, Change); 12] = [
        ("user", |it| it.uid = 8),
        ("directory", |it| it.facts.cwd = "/w/x".into()),
        ("workspace", |it| it.facts.workspaces = vec!["/v".into()]),
        ("inode", |it| it.inode = 43),
        ("backend", |it| it.facts.backend = "docker".into()),
        ("profile", |it| it.profile = "wider".into()),
        ("rule", |it| it.rules[0].digest = "edited".into()),
        ("another rule", |it| it.rules.push(BoundRule { id: "ask.secret".into(), digest: "d".into() })),
        ("no rule", |it| it.rules.clear()),
        ("variables", |it| it.plain = false),
        ("flag", |it| it.command = Command::Shell("rm -rf a/b".into())),
        ("script", |it| it.scripts.push(Script { path: "/w/x".into(), sha256: "s".into(), size: 1 })),
    ];
    for (what, change) in changes {
        let mut other = own.clone();
        change(&mut other);
        assert!(grants.cover(&other).is_none(), "{what}");
    }
    let mut other = own;
    other.session = SessionId::from_random([2; 16]);
    assert!(grants.cover(&other).is_some(), "always is for every session of the user");
}

#[test]
fn a_grant_of_a_session_serves_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let grants = grants(directory.path());
    let own = situation("rm -r a/b");
    give(&grants, 1, &own, Scope::Session, Width::Exact, HOUR);
    assert!(grants.cover(&own).is_some());
    let other = Situation { session: SessionId::from_random([2; 16]), ..own };
    assert!(grants.cover(&other).is_none());
}

#[test]
fn what_is_taken_back_or_over_does_not_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = situation("rm -r a/b");
    let all = grants(directory.path());
    let id = give(&all, 1, &own, Scope::Always, Width::Exact, HOUR);
    give(&all, 2, &situation("rm c"), Scope::Always, Width::Exact, Duration::ZERO);
    assert!(all.cover(&situation("rm c")).is_none(), "expired");
    let again = grants(directory.path());
    assert!(again.cover(&own).is_some(), "it outlives the supervisor");
    assert!(matches!(again.revoke("00", "ann"), Err(GrantError::Unknown)));
    again.revoke(id.as_str(), "ann").expect("taken back");
    assert!(again.cover(&own).is_none(), "at once");
    assert!(matches!(again.revoke(id.as_str(), "ann"), Err(GrantError::Unknown)), "once");
    let last = grants(directory.path());
    assert!(last.cover(&own).is_none(), "for good");
    assert_eq!(last.list(false), []);
    assert_eq!(
        last.show(&id).and_then(|grant| grant.revoked).map(|revoked| revoked.by).as_deref(),
        Some("ann")
    );
}

#[test]
fn uses_are_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = situation("rm -r a/b");
    let all = grants(directory.path());
    let id = give(&all, 1, &own, Scope::Always, Width::Exact, HOUR);
    for _ in 0..3 {
        let Some(Agreed::Standing { grant, .. }) = all.cover(&own) else { panic!("it covers") };
        all.count(&grant).expect("counted");
    }
    let uses = |grants: &Grants| grants.show(&id).map(|grant| grant.uses);
    assert_eq!((uses(&all), uses(&grants(directory.path()))), (Some(3), Some(3)));
}
