use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};

fn key(number: u8) -> (SigningKey, String) {
    let key = SigningKey::from_bytes(&[number; 32]);
    let mut bytes = b"Ed".to_vec();
    bytes.extend([number; 8]);
    bytes.extend(key.verifying_key().as_bytes());
    (key, format!("untrusted comment: of a test\n{}\n", STANDARD.encode(bytes)))
}

fn signed(key: &SigningKey, number: u8, bytes: &[u8]) -> String {
    let mut signature = b"Ed".to_vec();
    signature.extend([number; 8]);
    signature.extend(key.sign(bytes).to_bytes());
    format!("untrusted comment: verify with it\n{}\n", STANDARD.encode(signature))
}

#[test]
fn a_signature_holds_for_its_bytes_and_a_trusted_key_alone() {
    let ((one, one_text), (other, other_text)) = (key(1), key(2));
    let trusted = signify::keys(&format!("{one_text}{other_text}")).unwrap();
    assert_eq!(trusted.len(), 2);
    let good = signed(&one, 1, b"execward");
    assert_eq!(signify::verify(b"execward", &good, &trusted).unwrap(), "0101010101010101");
    assert!(signify::verify(b"execwarD", &good, &trusted).unwrap_err().contains("does not fit"));
    // The number of one key on the signature of another.
    let lied = signed(&other, 1, b"execward");
    assert!(signify::verify(b"execward", &lied, &trusted).unwrap_err().contains("does not fit"));
    let of_other = signed(&other, 2, b"execward");
    let only_one = signify::keys(&one_text).unwrap();
    assert!(signify::verify(b"execward", &of_other, &only_one).unwrap_err().contains("not trusted"));
    for wrong in ["", "untrusted comment: x\n", "RWQ", "!!!", &one_text, &good[..good.len() - 8]] {
        assert!(signify::verify(b"execward", wrong, &trusted).is_err(), "{wrong}");
    }
    for wrong in [good.as_str(), "not base64", "RWQ="] {
        assert!(signify::keys(wrong).unwrap_err().starts_with("line "), "{wrong}");
    }
}

#[test]
fn every_cut_of_a_program_is_refused_and_the_whole_is_not() {
    let own = fs::read("/proc/self/exe").unwrap();
    assert_eq!(elf::check(&own), Ok(()));
    let mut cut = own.len() - 1;
    while cut > 0 {
        assert!(elf::check(&own[..cut]).is_err(), "{cut} of {} bytes", own.len());
        cut /= 2;
    }
    assert!(elf::check(b"").is_err());
    // Bytes behind it are no part of it.
    let mut longer = own.clone();
    longer.extend(b"behind");
    assert_eq!(elf::check(&longer), Ok(()));
    let mut other = own;
    other[18] ^= 0xff;
    assert!(elf::check(&other).unwrap_err().contains("another machine"));
}

#[test]
fn offsets_without_measure_are_refused() {
    let mut own = fs::read("/proc/self/exe").unwrap();
    own.truncate(4096);
    for (at, length) in [(32, 8), (40, 8), (54, 2), (56, 2), (58, 2), (60, 2)] {
        let mut odd = own.clone();
        odd[at..at + length].fill(0xff);
        assert!(elf::check(&odd).is_err(), "{at}");
    }
}

/// An installation whose binaries are texts: what is put where shows in them.
fn installation() -> (tempfile::TempDir, Installation) {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let binary = place.path().join("bin/execward");
    fs::create_dir_all(binary.parent().unwrap()).unwrap();
    fs::write(&binary, "old").unwrap();
    let installation = Installation {
        binary,
        state: state.clone(),
        config: None,
        config_directory: place.path().join("config"),
        policy: None,
        socket: Some(place.path().join("none.sock")),
        uid: nix::unistd::getuid().as_raw(),
    };
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
        .create(installation.beside())
        .unwrap();
    note::make_place(&state).unwrap();
    (place, installation)
}

fn note_of(installation: &Installation, phase: Phase) -> Note {
    Note {
        id: "1".to_owned(),
        phase,
        why: String::new(),
        until_ms: None,
        from: "1.0.0".to_owned(),
        to: "2.0.0".to_owned(),
        sha256: String::new(),
        by: String::new(),
        backup: None,
        installation: installation.clone(),
        confirm_within_ms: 60_000,
        keeps_sessions: true,
        schema: 3,
        migrated: false,
        failing: Vec::new(),
        last: None,
        daemon: None,
    }
}

/// What is in place, and beside it.
fn there(installation: &Installation) -> (String, Vec<String>) {
    let beside = fs::read_dir(installation.beside()).into_iter().flatten().flatten();
    let mut beside: Vec<String> =
        beside.map(|entry| entry.file_name().into_string().unwrap_or_default()).collect();
    beside.sort();
    (fs::read_to_string(&installation.binary).unwrap(), beside)
}

#[test]
fn wherever_it_is_broken_off_the_old_one_comes_back() {
    // How far it had come: whether the old one has its second name, and whether the new one is in place.
    for swapped in [false, true] {
        for phase in [Phase::Swapping, Phase::Returning, Phase::Trial] {
            let (_place, installation) = installation();
            fs::hard_link(&installation.binary, installation.previous()).unwrap();
            fs::write(installation.staged(), "new").unwrap();
            if swapped {
                fs::rename(installation.staged(), &installation.binary).unwrap();
            }
            let mut note = note_of(&installation, phase);
            // The time is over.
            note.until_ms = Some(1);
            note.write().unwrap();
            watch(&installation.state, false).unwrap();
            let after = standing(&installation.state).unwrap().unwrap();
            assert_eq!(after.phase, Phase::Returned, "{phase:?}");
            assert_eq!(there(&installation), ("old".to_owned(), vec![]), "{phase:?}, {swapped}");
            assert!(!after.why.is_empty() || phase == Phase::Returning);
            // And once more changes nothing.
            watch(&installation.state, false).unwrap();
            assert_eq!(there(&installation).0, "old");
        }
    }
}

#[test]
fn one_that_is_confirmed_stays_and_what_was_there_stays_beside_it() {
    let (_place, installation) = installation();
    fs::hard_link(&installation.binary, installation.previous()).unwrap();
    fs::write(installation.staged(), "new").unwrap();
    fs::rename(installation.staged(), &installation.binary).unwrap();
    let mut note = note_of(&installation, Phase::Trial);
    note.until_ms = Some(i64::MAX / 2_000_000);
    note.write().unwrap();
    // An answer about another upgrade is none.
    let other = Note { id: "0".to_owned(), ..note.clone() };
    other.give_answer(note::Answer::GoBack).unwrap();
    assert_eq!(note.answer(), None);
    note.give_answer(note::Answer::Confirm).unwrap();
    watch(&installation.state, false).unwrap();
    assert_eq!(standing(&installation.state).unwrap().unwrap().phase, Phase::Done);
    assert_eq!(there(&installation), ("new".to_owned(), vec!["previous".to_owned()]));
    assert!(confirm(&installation.state).is_err());
}

#[test]
fn one_that_was_broken_off_before_anything_was_changed_leaves_what_stood_before() {
    let (_place, installation) = installation();
    fs::write(installation.staged(), "new").unwrap();
    fs::write(installation.previous(), "older").unwrap();
    let before = note_of(&installation, Phase::Done);
    let mut note = note_of(&installation, Phase::Preparing);
    (note.id, note.last) = ("2".to_owned(), Some(Box::new(before)));
    note.write().unwrap();
    let (found, child) = repair(&installation.state).unwrap().unwrap();
    assert!(found.phase == Phase::Preparing && child.is_none());
    let after = standing(&installation.state).unwrap().unwrap();
    assert_eq!((after.id.as_str(), after.phase), ("1", Phase::Done));
    assert_eq!(there(&installation), ("old".to_owned(), vec!["previous".to_owned()]));
    // While somebody carries one out, nobody repairs it.
    note.come_to(Phase::Swapping).unwrap();
    let lock = note::lock(&installation.state).unwrap().unwrap();
    assert!(repair(&installation.state).unwrap().is_none());
    assert!(resume(&installation.state).unwrap().is_none());
    drop(lock);
}

#[test]
fn what_is_put_in_place_is_what_was_verified() {
    let (place, installation) = installation();
    let own = place.path().join("execward");
    fs::copy("/proc/self/exe", &own).unwrap();
    let digest = bring::digest(&own).unwrap();
    let wrong = digest.replace(|c: char| c.is_ascii_digit(), "0");
    let refused = bring::bring(&installation, &own, &Proof::Digest(wrong)).unwrap_err();
    assert!(matches!(refused, UpgradeError::Unverified { .. }), "{refused}");
    let brought = bring::bring(&installation, &own, &Proof::Digest(digest.to_uppercase())).unwrap();
    assert_eq!(brought.sha256, digest);
    assert_eq!(bring::digest(&installation.staged()).unwrap(), digest);
    // Lists: of it, of another, and with two that differ.
    let list = place.path().join("SHA256SUMS");
    for (text, holds) in [
        (format!("{digest}  execward\n"), true),
        (format!("{digest} *dist/execward\n{}  other\n", "0".repeat(64)), true),
        (format!("{digest}  other\n"), false),
        (format!("{digest}  execward\n{}  execward\n", "0".repeat(64)), false),
        (String::new(), false),
    ] {
        fs::write(&list, &text).unwrap();
        assert_eq!(bring::bring(&installation, &own, &Proof::Digests(list.clone())).is_ok(), holds, "{text}");
    }
    // What changes after it was brought is not put in place.
    let mut note = note_of(&installation, Phase::Swapping);
    note.sha256 = digest;
    note.write().unwrap();
    fs::hard_link(&installation.binary, installation.previous()).unwrap();
    fs::write(installation.staged(), "another").unwrap();
    watch(&installation.state, true).unwrap();
    let after = standing(&installation.state).unwrap().unwrap();
    assert!(after.phase == Phase::Returned && after.why.contains("not what was verified"), "{}", after.why);
    assert_eq!(there(&installation).0, "old");
}
