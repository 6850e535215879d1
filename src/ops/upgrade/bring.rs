//! Bringing a new binary in: a file is opened once, copied to where nobody else can write, and the copy is what is verified,
//! tried and put in place. Whoever changes the file in between changes nothing.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Installation, UpgradeError, elf, failed, remove, signify, sync};
use crate::supervisor::well_kept;

/// Largest binary, and largest file of digests, keys or a signature.
const MOST: u64 = 1 << 30;
const MOST_TEXT: u64 = 1 << 20;

/// What a new binary is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Its SHA-256, in hexadecimal.
    Digest(String),
    /// A file as sha256sum(1) writes it, with a line for it.
    Digests(PathBuf),
    /// A signature as signify(1) makes it, by one of the keys of a file.
    Signature {
        /// Of the signature; `FILE.sig` where none is named.
        signature: Option<PathBuf>,
        /// Of the keys.
        keys: PathBuf,
    },
}

/// A copy that was verified.
#[derive(Debug)]
pub(super) struct Brought {
    /// In hexadecimal.
    pub(super) sha256: String,
    /// What vouches for it.
    pub(super) by: String,
}

/// Copies a file to [`Installation::staged`], and verifies the copy.
pub(super) fn bring(
    installation: &Installation,
    file: &Path,
    proof: &Proof,
) -> Result<Brought, UpgradeError> {
    let beside = installation.beside();
    match DirBuilder::new().mode(0o700).create(&beside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make", &beside)(error));
        }
        _ => {}
    }
    let about = fs::symlink_metadata(&beside).map_err(failed("look at", &beside))?;
    if !about.is_dir() || about.uid() != installation.uid || about.mode() & 0o077 != 0 {
        return Err(unfit(
            &beside,
            "it is there, and is no directory for its owner alone: look what it is, and remove it",
        ));
    }
    let mut from = open(file)?;
    let new = installation.staged();
    remove(&new)?;
    let mut copy = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("make", &new))?;
    let copied = io::copy(&mut (&mut from).take(MOST + 1), &mut copy).map_err(failed("copy", file))?;
    if copied > MOST {
        return Err(unfit(file, "it is larger than any execward"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(copied).unwrap_or(0));
    copy.rewind().and_then(|()| copy.read_to_end(&mut bytes)).map_err(failed("read", &new))?;
    elf::check(&bytes).map_err(|what| unfit(file, what))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let by = hold(file, &bytes, &sha256, proof, installation.uid)?;
    copy.set_permissions(Permissions::from_mode(0o755)).map_err(failed("change", &new))?;
    copy.sync_all().map_err(failed("write", &new))?;
    drop(copy);
    sync(&beside)?;
    Ok(Brought { sha256, by })
}

/// What vouches for these bytes.
fn hold(file: &Path, bytes: &[u8], sha256: &str, proof: &Proof, uid: u32) -> Result<String, UpgradeError> {
    let not = |what: String| UpgradeError::Unverified { path: file.to_owned(), what };
    match proof {
        Proof::Digest(expected) => {
            if !expected.eq_ignore_ascii_case(sha256) {
                return Err(not(format!("its SHA-256 is {sha256}, which is not the one that was given")));
            }
            Ok("the SHA-256 that was given".to_owned())
        }
        Proof::Digests(list) => {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let text = text(list)?;
            let mut of_it = text.lines().filter_map(|line| {
                let (digest, rest) = line.split_once(' ')?;
                let named = rest.trim_start_matches([' ', '*']);
                (Path::new(named).file_name()?.to_str()? == name).then_some(digest)
            });
            let expected =
                of_it.next().ok_or_else(|| not(format!("{} has no line for it", list.display())))?;
            if !expected.eq_ignore_ascii_case(sha256)
                || of_it.any(|other| !other.eq_ignore_ascii_case(sha256))
            {
                return Err(not(format!("its SHA-256 is {sha256}, and {} says another", list.display())));
            }
            Ok(list.display().to_string())
        }
        Proof::Signature { signature, keys } => {
            let beside = || {
                let mut name = file.as_os_str().to_owned();
                name.push(".sig");
                PathBuf::from(name)
            };
            let signature = signature.clone().unwrap_or_else(beside);
            if !keys.exists() {
                return Err(not(format!("no key is trusted: there is no {}", keys.display())));
            }
            let real = well_kept(keys, uid).map_err(not)?;
            let trusted =
                signify::keys(&text(&real)?).map_err(|what| not(format!("{}: {what}", keys.display())))?;
            if !signature.exists() {
                return Err(not(format!("there is no signature of it: {}", signature.display())));
            }
            let signer =
                signify::verify(bytes, &text(&signature)?, &trusted).map_err(|what| not(what.to_owned()))?;
            Ok(format!("key {signer} of {}", keys.display()))
        }
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn digest(path: &Path) -> Result<String, UpgradeError> {
    let mut file = open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(hex(&hash.finalize())),
            read => hash.update(buffer.get(..read.map_err(failed("read", path))?).unwrap_or_default()),
        }
    }
}

fn text(path: &Path) -> Result<String, UpgradeError> {
    let mut text = String::new();
    open(path)?.take(MOST_TEXT).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}

/// Opens a regular file, and waits for nobody.
fn open(path: &Path) -> Result<File, UpgradeError> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed("open", path))?;
    if !file.metadata().map_err(failed("look at", path))?.is_file() {
        return Err(unfit(path, "it is no regular file"));
    }
    Ok(file)
}

pub(super) fn unfit(path: &Path, what: impl Into<String>) -> UpgradeError {
    UpgradeError::Unfit { path: path.to_owned(), what: what.into() }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
