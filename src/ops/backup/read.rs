//! Reading an archive that anybody may have made: all of it is verified, in a directory of its own, before anything changes.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::manifest::{Entry, FORMAT, Manifest};
use super::{BackupError, MAX_CONFIG, Places, Scratch, hashed, hex, io, scratch, seal};
use crate::state;

/// Most members.
const MAX_MEMBERS: usize = 10_000;

/// Largest manifest.
const MAX_MANIFEST: u64 = 8 << 20;

/// Largest archive, unpacked.
const MAX_BYTES: u64 = 64 << 30;

/// How much larger than it is packed a member may be: records and databases are about ten to one.
const MAX_RATIO: u64 = 200;

/// Members up to this size may be packed as tightly as they will: a table of nothing but zeroes is no bomb.
const SMALL: u64 = 4 << 20;

/// An archive up to this size, unpacked, may be packed as tightly as it will.
const SMALL_ARCHIVE: u64 = 64 << 20;

/// What is left free of the disk that an archive is unpacked on: the log needs room, or nothing runs.
const SPARE: u64 = 64 << 20;

/// An archive that was verified and unpacked.
#[derive(Debug)]
pub struct Staged {
    /// What it says.
    pub manifest: Manifest,
    /// Where its files are: `0`, `1`, ... in the order of `entries`.
    scratch: Scratch,
    /// Every file, secrets included.
    pub(super) entries: Vec<Entry>,
}

impl Staged {
    pub(super) fn file(&self, index: usize) -> PathBuf {
        self.scratch.join(&index.to_string())
    }
}

/// Verifies an archive and unpacks it beside the state. Without a passphrase its secrets stay where they are.
///
/// # Errors
/// When anything about it is not as its manifest says, or it says more than it may. Nothing is left then.
pub fn stage(places: &Places, path: &Path, passphrase: Option<&str>) -> Result<Staged, BackupError> {
    let wrong = |what: String| BackupError::Archive { path: path.to_owned(), what };
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(io("open", path))?;
    if !file.metadata().map_err(io("look at", path))?.is_file() {
        return Err(wrong("it is no file".to_owned()));
    }
    let packed = file.metadata().map_err(io("look at", path))?.len();
    let mut zip =
        ZipArchive::new(file).map_err(|error| wrong(format!("no archive, or a part of one: {error}")))?;
    let manifest = manifest(&mut zip).map_err(&wrong)?;
    let bytes = check_members(&manifest, &mut zip, places).map_err(&wrong)?;
    if bytes > SMALL_ARCHIVE && bytes / MAX_RATIO > packed {
        return Err(wrong(format!("it unpacks to more than {MAX_RATIO} times its size")));
    }
    let scratch = scratch(&places.state)?;
    let free = nix::sys::statvfs::statvfs(scratch.path())
        .map(|about| about.blocks_available().saturating_mul(about.fragment_size()));
    if free.is_ok_and(|free| bytes.saturating_add(SPARE) > free) {
        let room = "there is no room to unpack it beside the state";
        return Err(wrong(format!("{room}: it is {} MiB large", bytes >> 20)));
    }
    let mut staged = Staged { manifest, scratch, entries: Vec::new() };
    for entry in staged.manifest.entries.clone() {
        let to = staged.file(staged.entries.len());
        unpack(&mut zip, &entry, &to).map_err(&wrong)?;
        staged.entries.push(entry);
    }
    if let Some(index) = staged.entries.iter().position(|entry| entry.name == "state/state.db") {
        let schema =
            state::check(&staged.file(index)).map_err(|error| wrong(format!("its database: {error}")))?;
        if schema != staged.manifest.schema {
            return Err(wrong(format!(
                "its database is of version {schema}, and its manifest says otherwise"
            )));
        }
    }
    if let (Some(entry), Some(passphrase)) = (staged.manifest.secrets.clone(), passphrase) {
        let to = staged.scratch.join("sealed");
        unpack(&mut zip, &entry, &to).map_err(&wrong)?;
        let sealed = fs::read(&to).map_err(io("read", &to))?;
        unseal(&mut staged, places, passphrase, &sealed)?;
    }
    Ok(staged)
}

fn manifest(zip: &mut ZipArchive<File>) -> Result<Manifest, String> {
    if zip.len() > MAX_MEMBERS {
        return Err(format!("it has {} members", zip.len()));
    }
    let member = zip.by_name("manifest.json").map_err(|error| format!("its manifest: {error}"))?;
    let mut text = Vec::new();
    member.take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(|error| format!("its manifest: {error}"))?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err("its manifest is too large".to_owned());
    }
    // The version first: what a newer one has may be unknown here.
    let any: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| format!("its manifest: {error}"))?;
    match any["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => {
            return Err(format!(
                "it is of format {format}, and this execward knows {FORMAT}: take a newer execward"
            ));
        }
        Some(1..) => {}
        _ => return Err("its manifest names no format".to_owned()),
    }
    let manifest: Manifest = serde_json::from_value(any).map_err(|error| format!("its manifest: {error}"))?;
    if manifest.schema > state::VERSION {
        let (schema, known) = (manifest.schema, state::VERSION);
        return Err(format!(
            "its database is of version {schema}, and this execward knows {known}: take a newer execward"
        ));
    }
    Ok(manifest)
}

/// That members and manifest name the same, once each, and nothing that leads elsewhere. The bytes of all, unpacked.
fn check_members(manifest: &Manifest, zip: &mut ZipArchive<File>, places: &Places) -> Result<u64, String> {
    let mut named = BTreeSet::from(["manifest.json".to_owned()]);
    let mut bytes = 0_u64;
    for entry in manifest.entries.iter().chain(&manifest.secrets) {
        let fits = entry.name == "secrets.sealed" || places.target(&entry.name).is_some();
        if !fits || entry.mode > 0o777 {
            return Err(format!("`{}` has no place in an installation", entry.name.escape_debug()));
        }
        if !named.insert(entry.name.clone()) {
            return Err(format!("`{}` is in it twice", entry.name.escape_debug()));
        }
        bytes = bytes.saturating_add(entry.size);
    }
    for name in &named {
        let above = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
        if let Some(directory) = above.into_iter().find(|above| named.contains(*above)) {
            return Err(format!("`{}` is a file in it and a directory", directory.escape_debug()));
        }
    }
    if bytes > MAX_BYTES {
        return Err(format!("it is {bytes} bytes large, unpacked"));
    }
    if zip.has_overlapping_files().map_err(|error| error.to_string())? {
        return Err("its members overlap".to_owned());
    }
    for index in 0..zip.len() {
        let member = zip.by_index(index).map_err(|error| error.to_string())?;
        let name = String::from_utf8(member.name_raw().to_vec())
            .map_err(|_| "a name in it is no text".to_owned())?;
        let regular = member.unix_mode().is_none_or(|mode| matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG));
        if !regular || member.is_dir() || member.is_symlink() || member.encrypted() {
            return Err(format!("`{}` is no plain file", name.escape_debug()));
        }
        if !named.remove(&name) {
            return Err(format!("`{}` is not in its manifest, or twice in it", name.escape_debug()));
        }
    }
    match named.first() {
        Some(name) => Err(format!("`{}` is missing", name.escape_debug())),
        None => Ok(bytes),
    }
}

/// Unpacks a member, and holds it against what the manifest says.
fn unpack(zip: &mut ZipArchive<File>, entry: &Entry, to: &Path) -> Result<(), String> {
    let name = entry.name.escape_debug();
    let member = zip.by_name(&entry.name).map_err(|error| format!("`{name}`: {error}"))?;
    if entry.size > SMALL && entry.size / MAX_RATIO > member.compressed_size().max(1) {
        return Err(format!("`{name}` unpacks to more than {MAX_RATIO} times its size"));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| format!("`{name}`: {error}"))?;
    // Never more than it may be, whatever it says of itself.
    let (size, sha256) = hashed(&mut member.take(entry.size.saturating_add(1)), &mut file)
        .map_err(|error| format!("`{name}` is damaged, or cannot be unpacked: {error}"))?;
    if size != entry.size || sha256 != entry.sha256 {
        return Err(format!("`{name}` is not what its manifest says"));
    }
    file.sync_all().map_err(|error| format!("`{name}`: {error}"))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    name: String,
    mode: u32,
    uid: u32,
    gid: u32,
    content: String,
}

/// Unpacks the secrets.
fn unseal(staged: &mut Staged, places: &Places, passphrase: &str, sealed: &[u8]) -> Result<(), BackupError> {
    use base64::Engine as _;
    let plain = seal::open(passphrase, sealed).map_err(BackupError::Secrets)?;
    let all: Vec<Secret> =
        serde_json::from_slice(&plain).map_err(|error| BackupError::Secrets(error.to_string()))?;
    let mut names: BTreeSet<String> = staged.entries.iter().map(|entry| entry.name.clone()).collect();
    for Secret { name, mode, uid, gid, content } in all {
        let content = base64::engine::general_purpose::STANDARD.decode(content);
        let content = content.map_err(|error| BackupError::Secrets(error.to_string()))?;
        if places.target(&name).is_none() || !names.insert(name.clone()) || content.len() as u64 > MAX_CONFIG
        {
            return Err(BackupError::Secrets(format!(
                "`{}` has no place in an installation",
                name.escape_debug()
            )));
        }
        let to = staged.file(staged.entries.len());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)
            .map_err(io("create", &to))?;
        file.write_all(&content).and_then(|()| file.sync_all()).map_err(io("write", &to))?;
        let sha256 = hex(&Sha256::digest(&content));
        staged.entries.push(Entry { name, size: content.len() as u64, sha256, mode: mode & 0o700, uid, gid });
    }
    Ok(())
}
