use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn grant(id: &str) -> GrantRow {
    GrantRow {
        id: id.to_owned(),
        session: None,
        uid: 7,
        bound: "{}".to_owned(),
        approver: (0, "root".to_owned()),
        created: 1000,
        expires: 2000,
        revoked: None,
        uses: 0,
        last_used: None,
    }
}

fn open(directory: &Path) -> (Store, Option<SetAside>) {
    Store::open(&directory.join("state")).expect("a store")
}

#[test]
fn what_was_changed_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, aside) = open(directory.path());
    assert_eq!(aside, None);
    store.add_grant(&grant("a")).expect("kept");
    store.add_grant(&GrantRow { session: Some("s".into()), ..grant("b") }).expect("kept");
    assert!(store.revoke_grant("a", 1500, "root").expect("revoked"));
    assert!(!store.revoke_grant("a", 1600, "ann").expect("asked"), "once");
    store.use_grant("b", 1700).expect("counted");
    drop(store);
    let grants = open(directory.path()).0.grants().expect("read");
    assert_eq!(grants[0].revoked, Some((1500, "root".to_owned())));
    assert_eq!(
        (grants[1].session.as_deref(), grants[1].uses, grants[1].last_used),
        (Some("s"), 1, Some(1700))
    );
    let mode = |path: &str| fs::metadata(directory.path().join(path)).expect("it is there").mode() & 0o777;
    assert_eq!((mode("state"), mode("state/state.db")), (0o700, 0o600));
}

#[test]
fn a_question_is_answered_once_for_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let answer = AnswerRow { approval: "q", request: "r", answer: "once", approver: 0, at: 5 };
    let (store, _) = open(directory.path());
    assert!(store.answer_once(&answer).expect("kept"));
    drop(store);
    let (store, _) = open(directory.path());
    assert!(!store.answer_once(&AnswerRow { request: "other", ..answer.clone() }).expect("asked"));
    assert!(store.answer_once(&AnswerRow { approval: "p", ..answer }).expect("kept"));
}

#[test]
fn places_for_codes_are_few_and_one_who_fills_them_fills_only_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = open(directory.path());
    let code = |id: &str, uid, bucket| PairingRow {
        id: id.to_owned(),
        uid,
        bucket,
        salt: vec![1],
        hash: vec![2],
        created: 10,
        expires: 20,
    };
    for (index, kept) in [true, true, true, false].into_iter().enumerate() {
        let made = code(&index.to_string(), 100 + u32::try_from(index).expect("small"), 1);
        assert_eq!(store.add_pairing(&made, 3, 4).expect("asked"), kept);
    }
    assert!(store.add_pairing(&code("b", 9, 9), 3, 4).expect("asked"), "another's place");
    assert!(!store.add_pairing(&code("c", 8, 8), 3, 4).expect("asked"), "the house is full");
    let ben = PrincipalRow { uid: 9, name: "ben".into(), approver: (0, "root".into()), at: 15 };
    assert!(!store.pair("0", &ben).expect("asked"), "another's code");
    assert!(!store.pair("b", &PrincipalRow { at: 20, ..ben.clone() }).expect("asked"), "too late");
    assert!(store.pair("b", &ben).expect("paired"));
    assert!(!store.pair("b", &ben).expect("asked"), "used up");
    assert_eq!(store.principals().expect("read"), [ben]);
    assert!(store.unpair(9).expect("out") && !store.unpair(9).expect("asked"));
}

#[test]
fn a_damaged_database_is_put_aside_and_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = open(directory.path());
    for index in 0..200 {
        store.add_grant(&grant(&format!("grant {index}"))).expect("kept");
    }
    drop(store);
    let path = directory.path().join("state/state.db");
    let whole = fs::read(&path).expect("it is there");
    let mut torn = whole.clone();
    torn[4096..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5a);
    let mut headless = whole.clone();
    headless[..64].fill(0);
    for damaged in [torn, headless, b"something else entirely, longer than a header is".to_vec()] {
        fs::write(&path, &damaged).expect("written");
        let (store, aside) = open(directory.path());
        let aside = aside.expect("it is said");
        assert_eq!(fs::read(&aside.to).expect("it is kept"), damaged);
        assert_eq!(store.grants().expect("read"), [], "nothing is guessed");
        drop(store);
    }
    fs::write(&path, &whole).expect("written");
    assert_eq!(open(directory.path()).1, None, "a sound one is used");
}

#[test]
fn what_others_could_have_written_or_a_newer_one_has_is_not_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    drop(open(directory.path()));
    fs::set_permissions(state.join(FILE), fs::Permissions::from_mode(0o666)).expect("ours");
    assert!(matches!(Store::open(&state), Err(StateError::Exposed { .. })));
    fs::set_permissions(state.join(FILE), fs::Permissions::from_mode(0o600)).expect("ours");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("ours");
    assert!(matches!(Store::open(&state), Err(StateError::Exposed { .. })));
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("ours");
    let (store, _) = Store::open(&state).expect("a store");
    store.change(|all| all.pragma_update(None, "user_version", 99)).expect("changed");
    drop(store);
    assert!(matches!(Store::open(&state), Err(StateError::Newer { found: 99, .. })));
    fs::remove_file(state.join(FILE)).expect("it is there");
    std::os::unix::fs::symlink("/nonexistent", state.join(FILE)).expect("a link");
    assert!(matches!(Store::open(&state), Err(StateError::Io { .. })), "no link is followed");
}

#[test]
fn before_its_form_changes_a_copy_is_kept_with_which_an_older_one_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    drop(Store::open(&state).expect("a store"));
    let old = MIGRATIONS.len() - 1;
    fs::remove_file(state.join(FILE)).expect("it is there");
    private_file(&state.join(FILE)).expect("made");
    let connection = Connection::open(state.join(FILE)).expect("opened");
    MIGRATIONS[..old].iter().for_each(|step| connection.execute_batch(step).expect("a step"));
    connection.pragma_update(None, "user_version", i64::try_from(old).expect("small")).expect("said");
    drop(connection);
    let count = || fs::read_dir(&state).expect("listed").count();
    // And the mark that there has been one.
    assert_eq!((count(), give_back(&state, old).expect("nothing to do")), (2, None));
    let (store, _) = Store::open(&state).expect("a store");
    store.add_grant(&grant("made since")).expect("kept");
    let kept = state.join(format!("state.db.version-{old}"));
    assert_eq!(check(&kept).expect("sound"), old);
    assert_eq!(fs::metadata(&kept).expect("there").mode() & 0o777, 0o600);
    assert!(is_newer(&state, old) && !is_newer(&state, MIGRATIONS.len()));
    drop(store);
    let aside = give_back(&state, old).expect("given back").expect("something was there");
    assert_eq!(check(&state.join(FILE)).expect("sound"), old);
    assert_eq!(check(&aside).expect("sound"), MIGRATIONS.len());
    assert!(!state.join("state.db-wal").exists());
    // And the way forward is open again.
    let (store, _) = Store::open(&state).expect("a store");
    assert_eq!(store.grants().expect("read"), []);
    drop(store);
    fs::remove_file(&kept).expect("it is there");
    assert!(give_back(&state, old).is_err(), "there is no copy");
    assert_eq!(check(&state.join(FILE)).expect("sound"), MIGRATIONS.len());
}
