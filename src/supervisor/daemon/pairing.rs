//! Pairing: how somebody whom the configuration does not name gets in.
//!
//! Whoever connects to agent.sock unknown is refused, and is given a code with the refusal. It hands the code to an
//! operator by a way of its own, and the operator confirms it: that ties the person whom the operator knows to the user id
//! that the kernel knows. The store has a salted hash of the code and nothing else.
//!
//! Strangers have few places, slowly, and those who own many user ids (subordinate ids, subuid(5)) have no more of them.
//! Whoever guesses codes as an operator is slowed and nobody else: a right code is taken all the same, so that nobody can
//! have the rightful operator locked out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::state::{PairingRow, PrincipalRow, StateError, Store};

/// Letters of a code: none that looks like another.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Letters in a code: 40 bits.
const LENGTH: usize = 8;

/// How long a code counts.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Codes of one user that may wait.
const PENDING: u32 = 3;

/// Codes of everybody that may wait.
const IN_ALL: u32 = 256;

/// A user gets a code no more often than this.
const EVERY: Duration = Duration::from_secs(60);

/// Wrong tries of one operator, after which each further one waits.
const TRIES: u32 = 5;

/// How long it waits, and after which time wrong tries are forgotten.
const WAIT: Duration = Duration::from_secs(60);
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Where subordinate ids are.
const SUBUID: &str = "/etc/subuid";

/// Codes that wait, and those who try them.
#[derive(Debug)]
pub(super) struct Pairing {
    store: Arc<Store>,
    lately: Mutex<HashMap<u32, Instant>>,
    tries: Mutex<HashMap<u32, Tries>>,
    wait: Duration,
}

#[derive(Debug, Default)]
struct Tries {
    wrong: u32,
    last: Option<Instant>,
    busy: bool,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCode {
    #[error("a code was given a moment ago: try again in {} s", .0.as_secs().max(1))]
    TooSoon(Duration),
    #[error("as many codes wait as may: an operator confirms one, or they run out within the hour")]
    TooMany,
    #[error("no code could be made: {0}")]
    Failed(String),
}

/// Why a code lets nobody in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPaired {
    #[error("no such code waits: it is wrong, was used, or has run out")]
    Wrong,
    #[error("another try of this operator is under way")]
    Busy,
    #[error(transparent)]
    State(#[from] StateError),
}

impl Pairing {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, lately: Mutex::default(), tries: Mutex::default(), wait: WAIT }
    }

    /// A code for a stranger. Waits for the disk.
    pub(super) fn offer(&self, uid: u32) -> Result<String, NoCode> {
        // By its own number first: who keeps connecting costs no look at files.
        self.not_too_soon(uid)?;
        let bucket = owner_of(uid);
        if bucket != uid {
            self.not_too_soon(bucket)?;
        }
        let (mut random, mut salt, mut id) = ([0_u8; LENGTH], [0_u8; 16], [0_u8; 16]);
        for bytes in [&mut random[..], &mut salt[..], &mut id[..]] {
            getrandom::fill(bytes).map_err(|error| NoCode::Failed(error.to_string()))?;
        }
        // 32 letters: five bits of each byte, and each letter as likely as any other.
        let code: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let now = Timestamp::now();
        let row = PairingRow {
            id: format!("{:032x}", u128::from_be_bytes(id)),
            uid,
            bucket,
            hash: hash(&salt, &code).to_vec(),
            salt: salt.to_vec(),
            created: now.as_millisecond(),
            expires: (now + LIFETIME).as_millisecond(),
        };
        match self.store.add_pairing(&row, PENDING, IN_ALL) {
            Ok(true) => Ok(code),
            Ok(false) => Err(NoCode::TooMany),
            Err(error) => Err(NoCode::Failed(error.to_string())),
        }
    }

    fn not_too_soon(&self, id: u32) -> Result<(), NoCode> {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.retain(|_, at| at.elapsed() < EVERY);
        if let Some(at) = lately.get(&id) {
            return Err(NoCode::TooSoon(EVERY.saturating_sub(at.elapsed())));
        }
        lately.insert(id, Instant::now());
        Ok(())
    }

    /// Those who wait.
    pub(super) fn pending(&self) -> Result<Vec<PairingRow>, StateError> {
        self.store.pairings(Timestamp::now().as_millisecond())
    }

    /// How long a try of this operator waits before it is looked at. Each that was begun is to be ended with
    /// [`Self::tried`].
    pub(super) fn begin(&self, operator: u32) -> Result<Duration, NotPaired> {
        let mut all = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.entry(operator).or_default();
        if tries.last.is_some_and(|last| last.elapsed() >= FORGOTTEN) {
            *tries = Tries::default();
        }
        if tries.busy {
            return Err(NotPaired::Busy);
        }
        // One at a time: waiting at many connections at once would be no waiting.
        tries.busy = true;
        Ok(if tries.wrong >= TRIES { self.wait } else { Duration::ZERO })
    }

    /// Counts a try.
    pub(super) fn tried(&self, operator: u32, right: bool) {
        let mut all = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.entry(operator).or_default();
        tries.busy = false;
        if right {
            tries.wrong = 0;
        } else {
            tries.wrong = tries.wrong.saturating_add(1);
            tries.last = Some(Instant::now());
        }
    }

    /// Whose code this is, and which; every code that waits is compared, each in the same time. Waits for the disk.
    pub(super) fn find(&self, code: &str) -> Result<PairingRow, NotPaired> {
        let code = normal(code);
        let pending = self.pending()?;
        let mut found = None;
        for row in pending {
            if same(&hash(&row.salt, &code), &row.hash) {
                found = Some(row);
            }
        }
        found.ok_or(NotPaired::Wrong)
    }

    /// Lets the owner of a code in. Waits for the disk.
    pub(super) fn pair(
        &self,
        row: &PairingRow,
        name: String,
        approver: (u32, String),
    ) -> Result<PrincipalRow, NotPaired> {
        let at = Timestamp::now().as_millisecond();
        let principal = PrincipalRow { uid: row.uid, name, approver, at };
        if self.store.pair(&row.id, &principal)? { Ok(principal) } else { Err(NotPaired::Wrong) }
    }
}

/// A code as it is read to somebody: in two halves.
pub(super) fn shown(code: &str) -> String {
    let (one, other) = code.split_at(LENGTH / 2);
    format!("{one}-{other}")
}

/// What was typed, without what does not count.
fn normal(code: &str) -> String {
    code.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect()
}

fn hash(salt: &[u8], code: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"execward pairing 1\0");
    hasher.update(salt);
    hasher.update(code.as_bytes());
    hasher.finalize().into()
}

/// Compares in a time that says nothing of where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Who shares the places of a user id: whoever may use it as a subordinate one has no more of them for it.
fn owner_of(uid: u32) -> u32 {
    let text = std::fs::read_to_string(SUBUID).unwrap_or_default();
    let users = crate::supervisor::passwd::Users::read().unwrap_or_default();
    range_of(&text, uid, |name| users.by_name(name).map(|user| user.uid)).unwrap_or(uid)
}

/// Reads subuid(5): the owner of the range that an id is in.
fn range_of(text: &str, uid: u32, by_name: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let within = uid.checked_sub(start).is_some_and(|at| at < count);
        within.then(|| owner.parse().ok().or_else(|| by_name(owner)).unwrap_or(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairing() -> (tempfile::TempDir, Pairing) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(directory.path()).expect("a store").0);
        let pairing = Pairing { wait: Duration::from_secs(60), ..Pairing::new(store) };
        (directory, pairing)
    }

    fn again(pairing: &Pairing) {
        pairing.lately.lock().expect("not poisoned").clear();
    }

    #[test]
    fn a_code_lets_its_owner_in_and_is_nowhere() {
        let (directory, pairing) = pairing();
        let code = pairing.offer(61_009).expect("a code");
        assert!(code.len() == 8 && code.bytes().all(|letter| ALPHABET.contains(&letter)), "{code}");
        for entry in std::fs::read_dir(directory.path()).expect("the state").flatten() {
            let bytes = std::fs::read(entry.path()).expect("it reads");
            assert!(!bytes.windows(code.len()).any(|at| at == code.as_bytes()), "{:?}", entry.path());
        }
        let typed = shown(&code).to_lowercase();
        let row = pairing.find(&typed).expect("it is found");
        assert_eq!(row.uid, 61_009);
        for wrong in ["", "AAAAAAAA", &code[1..], &format!("{code}A")] {
            assert!(matches!(pairing.find(wrong), Err(NotPaired::Wrong)), "{wrong}");
        }
        pairing.pair(&row, "eve".into(), (0, "root".into())).expect("paired");
        assert!(matches!(pairing.find(&code), Err(NotPaired::Wrong)), "once");
    }

    #[test]
    fn a_stranger_gets_few_codes_and_slowly() {
        let (_directory, pairing) = pairing();
        pairing.offer(61_009).expect("a code");
        assert!(matches!(pairing.offer(61_009), Err(NoCode::TooSoon(_))));
        for _ in 0..2 {
            again(&pairing);
            pairing.offer(61_009).expect("a code");
        }
        again(&pairing);
        assert!(matches!(pairing.offer(61_009), Err(NoCode::TooMany)));
        pairing.offer(61_010).expect("another has places of its own");
    }

    #[test]
    fn who_guesses_waits_and_nobody_else() {
        let (_directory, pairing) = pairing();
        for _ in 0..5 {
            assert_eq!(pairing.begin(5).expect("a try"), Duration::ZERO);
            assert!(matches!(pairing.begin(5), Err(NotPaired::Busy)), "one at a time");
            pairing.tried(5, false);
        }
        assert_eq!(pairing.begin(5).expect("a try"), Duration::from_secs(60));
        assert_eq!(pairing.begin(6).expect("a try"), Duration::ZERO, "another operator");
        // A right code is taken after the wait, and ends it.
        pairing.tried(5, true);
        assert_eq!(pairing.begin(5).expect("a try"), Duration::ZERO);
    }

    #[test]
    fn subordinate_ids_are_their_owners() {
        let by_name = |name: &str| (name == "ann").then_some(1000);
        let text = "ann:100000:65536\n1001:165536:10\ngone:200000:5\nbroken\n";
        assert_eq!(range_of(text, 100_000, by_name), Some(1000));
        assert_eq!(range_of(text, 165_535, by_name), Some(1000));
        assert_eq!(range_of(text, 165_545, by_name), Some(1001));
        assert_eq!(range_of(text, 200_004, by_name), Some(200_000));
        assert_eq!(range_of(text, 200_005, by_name), None);
        assert_eq!(range_of(text, 1000, by_name), None);
    }
}
