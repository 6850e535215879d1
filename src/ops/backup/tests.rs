use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use sha2::{Digest as _, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::state::Store;

const PASSPHRASE: &str = "correct horse battery";

struct Home {
    directory: tempfile::TempDir,
    places: Places,
}

fn home() -> Home {
    let directory = tempfile::tempdir().expect("a directory");
    let uid = nix::unistd::getuid().as_raw();
    let places =
        Places { config: directory.path().join("config"), state: directory.path().join("state"), uid };
    fs::create_dir(&places.config).expect("made");
    Home { directory, places }
}

fn furnished() -> Home {
    let home = home();
    let Places { config, state, .. } = &home.places;
    fs::create_dir_all(config.join("jobs")).expect("made");
    fs::create_dir_all(config.join("secrets")).expect("made");
    for (name, text, mode) in [
        ("execward.toml", "[limits]\nsessions = 3\n", 0o644),
        ("policy.toml", "[approval]\ntimeout = \"1m\"\n", 0o600),
        ("jobs/nightly.toml", "command = [\"true\"]\n", 0o644),
        ("secrets/hook", "https://secret.example.org/", 0o600),
    ] {
        fs::write(config.join(name), text).expect("written");
        fs::set_permissions(config.join(name), fs::Permissions::from_mode(mode)).expect("ours");
    }
    symlink("/etc/passwd", config.join("link.toml")).expect("a link");
    drop(Store::open(state).expect("a store"));
    fs::create_dir(state.join("audit")).expect("made");
    fs::set_permissions(state.join("audit"), fs::Permissions::from_mode(0o700)).expect("ours");
    fs::write(state.join("audit/audit.jsonl"), "{\"a\":1}\n{\"torn").expect("written");
    fs::set_permissions(state.join("audit/audit.jsonl"), fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(state.join("audit/key"), "k".repeat(32)).expect("written");
    home
}

fn taken(home: &Home, passphrase: Option<&str>) -> PathBuf {
    let path =
        home.directory.path().join(format!("{}.zip", hex(&Sha256::digest(passphrase.unwrap_or_default()))));
    take(&home.places, &path, passphrase, &mut |_, _| {}).expect("taken");
    path
}

/// Every file below the two directories, with its content and mode.
fn contents(places: &Places) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![places.config.clone(), places.state.clone()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let about = entry.metadata().expect("looked at");
            if about.is_dir() {
                pending.push(entry.path());
            } else if about.is_file() {
                found.insert(entry.path(), (fs::read(entry.path()).expect("read"), about.mode() & 0o7777));
            }
        }
    }
    found
}

#[test]
fn what_was_taken_comes_back_and_only_what_was_asked_for() {
    let home = furnished();
    let path = taken(&home, None);
    assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
    let bytes = fs::read(&path).expect("read");
    assert!(
        !bytes.windows(9).any(|part| part == b"audit/key") && !bytes.windows(4).any(|part| part == b"hook")
    );
    // Nothing is written over.
    assert!(take(&home.places, &path, None, &mut |_, _| {}).is_err());
    let other = self::home();
    let staged = stage(&other.places, &path, None).expect("it is whole");
    let imported = apply(&other.places, &staged).expect("in place");
    drop(staged);
    assert_eq!(imported.changes.len(), 5, "{imported:?}");
    let read = |path: &str| fs::read_to_string(other.directory.path().join(path)).expect(path);
    assert_eq!(read("config/jobs/nightly.toml"), "command = [\"true\"]\n");
    assert_eq!(read("state/audit/audit.jsonl"), "{\"a\":1}\n", "up to the last whole record");
    let mode = |path: &str| fs::metadata(other.directory.path().join(path)).expect(path).mode() & 0o777;
    assert_eq!(
        (mode("config/execward.toml"), mode("config/policy.toml"), mode("state/state.db")),
        (0o644, 0o600, 0o600)
    );
    assert!(!other.places.config.join("secrets").exists() && !other.places.config.join("link.toml").exists());
    Store::open(&other.places.state).expect("a store");
    assert!(
        changes(&other.places, &stage(&other.places, &path, None).expect("whole")).expect("looked").len()
            <= 1
    );
}

#[test]
fn secrets_come_with_their_passphrase_alone() {
    let home = furnished();
    let path = taken(&home, Some(PASSPHRASE));
    let bytes = fs::read(&path).expect("read");
    assert!(!bytes.windows(14).any(|part| part == b"secret.example"));
    let other = self::home();
    assert!(matches!(
        stage(&other.places, &path, Some("another one entirely")),
        Err(BackupError::Secrets(_))
    ));
    let without = stage(&other.places, &path, None).expect("whole");
    apply(&other.places, &without).expect("in place");
    assert!(!other.places.state.join("audit/key").exists());
    let with = stage(&other.places, &path, Some(PASSPHRASE)).expect("whole");
    apply(&other.places, &with).expect("in place");
    let key = other.places.state.join("audit/key");
    assert_eq!(fs::read(&key).expect("it is there").len(), 32);
    assert_eq!(fs::metadata(&key).expect("it is there").mode() & 0o077, 0);
    assert!(other.places.config.join("secrets/hook").exists());
}

#[test]
fn an_import_is_undone_to_the_byte() {
    let from = furnished();
    let path = taken(&from, None);
    let other = furnished();
    fs::write(other.places.config.join("execward.toml"), "[limits]\nsessions = 9\n").expect("written");
    fs::remove_file(other.places.config.join("policy.toml")).expect("removed");
    fs::write(other.places.config.join("own.toml"), "kept").expect("written");
    assert!(crate::state::is_at_rest(&other.places.state).expect("looked"));
    let before = contents(&other.places);
    apply(&other.places, &stage(&other.places, &path, None).expect("whole")).expect("in place");
    assert!(contents(&other.places) != before);
    assert!(!unfinished(&other.places.state));
    assert_eq!(fs::read_to_string(other.places.config.join("own.toml")).expect("kept"), "kept");
    let log = other.places.state.join("audit/audit.jsonl");
    fs::write(&log, "{\"a\":1}\n{\"since\":1}\n").expect("written");
    let undone = undo(&other.places).expect("undone");
    assert!(undone.restored >= 1 && undone.removed == 1, "{undone:?}");
    // What was recorded since is evidence, and kept.
    let since = undone.log_since.expect("the log of the meantime");
    assert!(fs::read_to_string(since.join("audit.jsonl")).expect("kept").contains("since"));
    fs::remove_dir_all(since).expect("ours");
    assert!(contents(&other.places) == before);
    assert!(matches!(undo(&other.places), Err(BackupError::NothingToUndo(_))));
}

#[test]
fn a_log_comes_whole_and_the_one_before_is_kept() {
    let from = furnished();
    let path = taken(&from, None);
    let other = furnished();
    let audit = other.places.state.join("audit");
    // A file of another chain, which in one directory with the archive's would be a broken log.
    fs::write(audit.join("audit-000000000009.jsonl"), "{\"other\":1}\n").expect("written");
    for _ in 0..2 {
        let imported =
            apply(&other.places, &stage(&other.places, &path, None).expect("whole")).expect("in place");
        let Some(kept) = imported.log_before else {
            assert!(imported.changes.iter().all(|change| change.path != audit), "the same log again");
            continue;
        };
        assert!(kept.join("audit-000000000009.jsonl").exists());
        assert!(!audit.join("audit-000000000009.jsonl").exists());
        assert_eq!(fs::metadata(&audit).expect("it is there").mode() & 0o777, 0o700);
        // Another log's key signs nothing here.
        assert!(!audit.join("key").exists() && kept.join("key").exists());
    }
}

#[test]
fn nothing_is_replaced_that_somebody_works_with_or_left_half_replaced() {
    let from = furnished();
    let path = taken(&from, None);
    let other = furnished();
    fs::write(other.places.config.join("execward.toml"), "[limits]\nsessions = 9\n").expect("written");
    let daemon = Store::open(&other.places.state).expect("a store");
    let before = contents(&other.places);
    let staged = stage(&other.places, &path, None).expect("whole");
    assert!(matches!(apply(&other.places, &staged), Err(BackupError::InUse(_))));
    drop(staged);
    assert!(contents(&other.places) == before);
    drop(daemon);
    let staged = stage(&other.places, &path, None).expect("whole");
    apply(&other.places, &staged).expect("in place");
    // As a crash would have left it.
    let journal = other.places.state.join("import-undo/journal.json");
    let text =
        fs::read_to_string(&journal).expect("read").replace("\"finished\": true", "\"finished\": false");
    fs::write(&journal, text).expect("written");
    assert!(unfinished(&other.places.state));
    assert!(matches!(apply(&other.places, &staged), Err(BackupError::Unfinished(_))));
    undo(&other.places).expect("undone");
    let text = fs::read_to_string(other.places.config.join("execward.toml")).expect("read");
    assert_eq!(text, "[limits]\nsessions = 9\n");
    // Where a change fails half-way, all of it is taken back: a directory stands where a file would be.
    fs::remove_file(other.places.config.join("jobs/nightly.toml")).expect("removed");
    fs::remove_dir(other.places.config.join("jobs")).expect("removed");
    fs::write(other.places.config.join("jobs"), "in the way").expect("written");
    let before = contents(&other.places);
    apply(&other.places, &staged).expect_err("it fails");
    let mut after = contents(&other.places);
    after.retain(|path, _| before.contains_key(path));
    assert!(after == before);
    assert!(!other.places.state.join("import-undo").exists());
}

/// An archive with these members, and a manifest that tells the truth about them unless it is told otherwise.
fn forged(
    members: &[(&str, &[u8], u32)],
    change: impl Fn(&mut serde_json::Value),
) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("forged.zip");
    let mut zip = ZipWriter::new(File::create(&path).expect("made"));
    let mut entries = Vec::new();
    for (name, content, mode) in members {
        let options = SimpleFileOptions::default().unix_permissions(mode & 0o777);
        if mode & libc::S_IFMT == libc::S_IFLNK {
            zip.add_symlink(*name, std::str::from_utf8(content).expect("text"), options).expect("added");
        } else {
            zip.start_file(*name, options).expect("begun");
            zip.write_all(content).expect("written");
        }
        entries.push(serde_json::json!({
            "name": name, "size": content.len(), "sha256": hex(&Sha256::digest(content)), "mode": mode & 0o777,
            "uid": 0, "gid": 0,
        }));
    }
    let mut manifest = serde_json::json!({
        "format": FORMAT, "execward": "0", "created": "", "host": "", "uid": 0, "schema": 0, "log_key": null, "entries": entries,
        "secrets": null,
    });
    change(&mut manifest);
    zip.start_file("manifest.json", SimpleFileOptions::default()).expect("begun");
    zip.write_all(manifest.to_string().as_bytes()).expect("written");
    zip.finish().expect("finished");
    (directory, path)
}

/// Says why an archive is refused, and that nothing was changed by it.
fn refused(path: &Path) -> String {
    let home = furnished();
    let before = contents(&home.places);
    let error = stage(&home.places, path, None).map(drop).expect_err("it is refused");
    assert!(contents(&home.places) == before, "{error}");
    assert!(!home.directory.path().join("evil").exists());
    error.to_string()
}

#[test]
fn what_leads_elsewhere_is_refused() {
    let same = |_: &mut serde_json::Value| {};
    let control = forged(&[("config/a.toml", b"x", 0o644)], same);
    assert!(stage(&home().places, &control.1, None).is_ok(), "the control is refused");
    for name in [
        "../evil",
        "config/../../evil",
        "config/../evil",
        "/etc/evil",
        "config//evil",
        "config/./evil",
        "config/.hidden",
        "state/evil",
        "state/audit/../evil",
        "elsewhere/evil",
        "config/a\\..\\evil",
        "config/",
        "state/audit/a/b.jsonl",
    ] {
        let forged = forged(&[(name, b"x", 0o644)], same);
        let error = refused(&forged.1);
        assert!(
            error.contains("no place") || error.contains("plain file") || error.contains("manifest"),
            "{name}: {error}"
        );
    }
    let link = forged(&[("config/a.toml", b"/etc/passwd", libc::S_IFLNK | 0o777)], same);
    assert!(refused(&link.1).contains("no plain file"));
    let set_id = forged(&[("config/a.toml", b"x", 0o644)], |it| it["entries"][0]["mode"] = 0o4755.into());
    assert!(refused(&set_id.1).contains("no place"));
}

#[test]
fn a_name_that_is_a_file_and_a_directory_is_refused() {
    for names in [["config/foo", "config/foo/bar.toml"], ["config/foo/bar.toml", "config/foo"]] {
        let members = names.map(|name| (name, b"x".as_slice(), 0o644));
        let error = refused(&forged(&members, |_| {}).1);
        assert!(error.contains("a file in it and a directory"), "{error}");
    }
}

#[test]
fn many_small_members_are_no_way_around_the_ratio() {
    let zeroes = vec![0_u8; 4 << 20];
    let names: Vec<String> = (0..20).map(|number| format!("config/{number}.toml")).collect();
    let members: Vec<(&str, &[u8], u32)> =
        names.iter().map(|name| (name.as_str(), zeroes.as_slice(), 0o644)).collect();
    let error = refused(&forged(&members, |_| {}).1);
    assert!(error.contains("times its size"), "{error}");
}

#[test]
fn an_import_that_fails_leaves_the_one_before_it_to_be_undone() {
    let (from, other) = (furnished(), furnished());
    fs::write(other.places.config.join("execward.toml"), "[limits]\nsessions = 9\n").expect("written");
    let staged = stage(&other.places, &taken(&from, None), None).expect("whole");
    apply(&other.places, &staged).expect("in place");
    // One that cannot be put in place: a directory stands where a file would be.
    fs::write(from.places.config.join("later.toml"), "x").expect("written");
    let path = from.directory.path().join("later.zip");
    take(&from.places, &path, None, &mut |_, _| {}).expect("taken");
    let staged = stage(&other.places, &path, None).expect("whole");
    fs::create_dir(other.places.config.join("later.toml.import-new")).expect("made");
    apply(&other.places, &staged).expect_err("it fails");
    assert!(!unfinished(&other.places.state));
    undo(&other.places).expect("the one before is undone");
    let text = fs::read_to_string(other.places.config.join("execward.toml")).expect("read");
    assert_eq!(text, "[limits]\nsessions = 9\n");
}

#[test]
fn what_a_backup_leaves_out_is_said_and_a_broken_one_leaves_nothing() {
    let home = furnished();
    let path = home.directory.path().join("said.zip");
    let taken = take(&home.places, &path, None, &mut |_, _| {}).expect("taken");
    assert!(taken.left_out.contains(&home.places.config.join("link.toml")), "{:?}", taken.left_out);
    let broken = home.directory.path().join("broken.zip");
    fs::set_permissions(home.places.state.join("state.db"), fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(home.places.state.join("state.db"), "no database at all, and longer than its header is")
        .expect("written");
    take(&home.places, &broken, None, &mut |_, _| {}).expect_err("there is no copy of that");
    let left = fs::read_dir(home.directory.path()).expect("listed").flatten();
    let left: Vec<_> =
        left.map(|it| it.file_name()).filter(|it| it.to_string_lossy().contains("broken")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_not_as_it_says_is_refused() {
    let one: &[(&str, &[u8], u32)] = &[("config/a.toml", b"content", 0o644)];
    type Lie = fn(&mut serde_json::Value);
    let cases: &[(&str, Lie)] = &[
        ("not what its manifest says", |it| it["entries"][0]["sha256"] = "0".repeat(64).into()),
        ("not what its manifest says", |it| it["entries"][0]["size"] = 3.into()),
        ("not what its manifest says", |it| it["entries"][0]["size"] = 8.into()),
        ("times its size", |it| it["entries"][0]["size"] = 1_000_000_000.into()),
        ("unpacked", |it| it["entries"][0]["size"] = u64::MAX.into()),
        ("not in its manifest", |it| it["entries"] = serde_json::json!([])),
        ("format 2", |it| it["format"] = 2.into()),
        ("format 99", |it| *it = serde_json::json!({"format": 99, "all": "new"})),
        ("no format", |it| it["format"] = 0.into()),
        ("of version 99", |it| it["schema"] = 99.into()),
        ("unknown field", |it| it["more"] = 1.into()),
        ("twice", |it| {
            let entry = it["entries"][0].clone();
            it["entries"].as_array_mut().expect("a list").push(entry);
        }),
        ("missing", |it| {
            let mut entry = it["entries"][0].clone();
            entry["name"] = "config/b.toml".into();
            it["entries"].as_array_mut().expect("a list").push(entry);
        }),
    ];
    for (expected, change) in cases {
        let error = refused(&forged(one, change).1);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let no_database = forged(&[("state/state.db", b"no database at all, but long enough", 0o600)], |_| {});
    assert!(refused(&no_database.1).contains("its database"));
    // A bomb: far larger than it is packed.
    let bomb = vec![0; 64 << 20];
    let bomb = forged(&[("config/a.toml", &bomb, 0o644)], |_| {});
    assert!(refused(&bomb.1).contains("times its size"));
}

#[test]
fn a_part_of_an_archive_and_one_with_a_bit_changed_are_refused() {
    let home = furnished();
    let whole = fs::read(taken(&home, None)).expect("read");
    let path = home.directory.path().join("damaged.zip");
    for part in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, whole.get(..part).expect("a part")).expect("written");
        refused(&path);
    }
    let mut unnoticed = Vec::new();
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).expect("written");
        let other = self::home();
        if let Ok(staged) = stage(&other.places, &path, None) {
            // A time or a flag of the zip that nothing depends on: then all content is what it was.
            let truth: Vec<_> = staged.entries.iter().map(|entry| entry.sha256.clone()).collect();
            unnoticed.push((at, truth));
        }
    }
    let from = furnished();
    let control = stage(&self::home().places, &taken(&from, None), None).expect("whole").entries.len();
    assert!(unnoticed.iter().all(|(_, entries)| entries.len() == control), "{unnoticed:?}");
}

/// Parts of names, those that lead elsewhere among them.
fn part() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    prop_oneof![
        Just("config".to_owned()),
        Just("state".to_owned()),
        Just("audit".to_owned()),
        Just("state.db".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("evil".to_owned()),
        Just("jobs".to_owned()),
        "[a-z./\\\\\\PC]{0,6}",
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Whatever an archive calls its members, nothing is written beside the two directories.
    #[test]
    fn no_name_leads_out(names in proptest::collection::vec(proptest::collection::vec(part(), 1..5), 1..4)) {
        let names: std::collections::BTreeSet<String> = names.iter().map(|parts| parts.join("/")).collect();
        let members: Vec<(&str, &[u8], u32)> =
            names.iter().map(|name| (name.as_str(), &b"x"[..], 0o644)).collect();
        let archive = forged(&members, |_| {});
        let home = home();
        fs::write(home.directory.path().join("canary"), "sings").expect("written");
        if let Ok(staged) = stage(&home.places, &archive.1, None)
            && apply(&home.places, &staged).is_ok()
        {
            for name in &names {
                let path = home.places.target(name).expect("it was let in");
                assert!(path.starts_with(&home.places.config) || path.starts_with(&home.places.state));
                assert!(!path.components().any(|part| part == std::path::Component::ParentDir));
            }
        }
        let mut beside: Vec<_> =
            fs::read_dir(home.directory.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
        beside.retain(|name| name != "config" && name != "state");
        assert_eq!(beside, ["canary"]);
    }

    /// Whatever is changed in an archive, it is refused, or its files are what they were; and reading it never fails otherwise.
    #[test]
    fn a_changed_archive_is_refused_or_the_same(
        changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..6),
        cut in proptest::option::of(proptest::prelude::any::<proptest::sample::Index>()),
    ) {
        use std::sync::OnceLock;
        static WHOLE: OnceLock<(Vec<u8>, Vec<String>)> = OnceLock::new();
        let (whole, truth) = WHOLE.get_or_init(|| {
            let home = furnished();
            let path = taken(&home, None);
            let staged = stage(&home.places, &path, None).expect("whole");
            (fs::read(&path).expect("read"), staged.entries.iter().map(|entry| entry.sha256.clone()).collect())
        });
        let mut bytes = whole.clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(whole.len()));
        }
        let home = home();
        let path = home.directory.path().join("changed.zip");
        fs::write(&path, &bytes).expect("written");
        match stage(&home.places, &path, None) {
            Err(_) => assert!(contents(&home.places).is_empty()),
            Ok(staged) => {
                let found: Vec<_> = staged.entries.iter().map(|entry| entry.sha256.clone()).collect();
                assert_eq!(&found, truth);
            }
        }
    }
}
