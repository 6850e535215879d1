//! Taking a backup, while everything goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use zeroize::Zeroizing;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::manifest::{Entry, FORMAT, Manifest};
use super::{BackupError, MAX_CONFIG, Places, hashed, io, scratch, seal};
use crate::audit;
use crate::state;

/// The directory beside the configuration whose files are secrets, whatever they are called.
const SECRETS: &str = "secrets";

/// Deepest directory of configuration.
const DEPTH: usize = 6;

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it is.
    pub path: PathBuf,
    /// How many files are in it.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether the secrets are in it.
    pub secrets: bool,
    /// What lies beside the configuration and is not in it.
    pub left_out: Vec<PathBuf>,
}

/// Takes one. `progress` is told of each file.
///
/// # Errors
/// See [`BackupError`]; nothing is left at `output` then, which must not be there.
pub fn take(
    places: &Places,
    output: &Path,
    passphrase: Option<&str>,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Taken, BackupError> {
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Without a name until it is whole: one that is killed leaves nothing (open(2), O_TMPFILE).
    let nameless =
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    let (file, new) = match nameless {
        Ok(file) => {
            let new = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            (file, new)
        }
        // Not every file system has such files.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let mut name = output.as_os_str().to_owned();
            name.push(".new");
            let new = PathBuf::from(name);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&new)
                .map_err(io("create", &new))?;
            (file, new)
        }
        Err(error) => return Err(io("create a file in", directory)(error)),
    };
    let taken = write(places, &file, passphrase, progress).and_then(|mut taken| {
        // Never over something that is there.
        linkat(AT_FDCWD, &new, AT_FDCWD, output, AtFlags::AT_SYMLINK_FOLLOW)
            .map_err(|errno| io("create", output)(errno.into()))?;
        output.clone_into(&mut taken.path);
        Ok(taken)
    });
    if !new.starts_with("/proc") {
        let _ = fs::remove_file(&new);
    }
    taken
}

fn write(
    places: &Places,
    file: &File,
    passphrase: Option<&str>,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Taken, BackupError> {
    let scratch = scratch(&places.state)?;
    let mut archive = Archive { zip: ZipWriter::new(file), entries: Vec::new() };
    let (mut secret_files, mut left_out) = (Vec::new(), walk(&places.config, DEPTH)?.left_out);
    left_out.retain(|path| !path.starts_with(&places.state));
    for (name, path) in
        below(&places.config)?.into_iter().filter(|(_, path)| !path.starts_with(&places.state))
    {
        match is_plain(&name) {
            true => archive.add_file(&format!("config/{name}"), &path, progress)?,
            false if passphrase.is_some() => secret_files.push((format!("config/{name}"), path)),
            false => left_out.push(path),
        }
    }
    let schema = match state::copy(&places.state, &scratch.join("state.db"))? {
        Some(schema) => {
            let about = fs::metadata(places.state.join("state.db")).map_err(io("look at", &places.state))?;
            let mut copy = File::open(scratch.join("state.db")).map_err(io("open", scratch.path()))?;
            archive.add("state/state.db", &mut copy, (0o600, about.uid(), about.gid()), progress)?;
            schema
        }
        None => 0,
    };
    let log = places.state.join("audit");
    let mut log_key = None;
    if log.join(audit::LOG_FILE).exists() {
        log_key = audit::public_key(&log)?.map(|key| key.to_string());
        let (full, active, _) = audit::files(&log)?;
        for path in full {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            archive.add_file(&format!("state/audit/{name}"), &path, progress)?;
        }
        let about = active.metadata().map_err(io("look at", &log))?;
        let whole = whole_records(&active, &log)?;
        let mut records = (&active).take(whole);
        archive.add("state/audit/audit.jsonl", &mut records, (0o600, about.uid(), about.gid()), progress)?;
        for path in files(&log, 1)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.ends_with(".jsonl") && !name.ends_with(".new") && !name.starts_with('.') {
                secret_files.push((format!("state/audit/{name}"), path));
            }
        }
    }
    for name in ["keys.toml", "secrets.toml"] {
        let path = places.state.join(name);
        if path.is_file() {
            secret_files.push((format!("state/{name}"), path));
        }
    }
    let secrets = match passphrase {
        Some(passphrase) => Some(archive.add_secrets(passphrase, &secret_files, progress)?),
        None => None,
    };
    let manifest = Manifest {
        format: FORMAT,
        execward: env!("CARGO_PKG_VERSION").to_owned(),
        created: Timestamp::now().to_string(),
        host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        uid: places.uid,
        schema,
        log_key,
        entries: archive.entries,
        secrets,
    };
    let (files, bytes) = (manifest.entries.len(), manifest.entries.iter().map(|entry| entry.size).sum());
    let mut zip = archive.zip;
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    zip.start_file("manifest.json", options(0o600))
        .and_then(|()| Ok(zip.write_all(&text)?))
        .map_err(|error| broken("manifest.json", error))?;
    let file = zip.finish().map_err(|error| broken("the archive", error))?;
    file.sync_all().map_err(io("write", Path::new("the archive")))?;
    Ok(Taken { path: PathBuf::new(), files, bytes, secrets: manifest.secrets.is_some(), left_out })
}

struct Archive<'a> {
    zip: ZipWriter<&'a File>,
    entries: Vec<Entry>,
}

impl Archive<'_> {
    fn add_file(
        &mut self,
        name: &str,
        path: &Path,
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<(), BackupError> {
        let (mut file, about) = open(path)?;
        self.add(name, &mut file, (about.mode() & 0o777, about.uid(), about.gid()), progress)
    }

    fn add(
        &mut self,
        name: &str,
        from: &mut dyn Read,
        (mode, uid, gid): (u32, u32, u32),
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<(), BackupError> {
        self.zip.start_file(name, options(mode)).map_err(|error| broken(name, error))?;
        let (size, sha256) = hashed(from, &mut self.zip).map_err(io("copy", Path::new(name)))?;
        progress(name, size);
        self.entries.push(Entry { name: name.to_owned(), size, sha256, mode, uid, gid });
        Ok(())
    }

    /// Adds one member with all secrets, sealed: JSON of entries, each with its content.
    fn add_secrets(
        &mut self,
        passphrase: &str,
        files: &[(String, PathBuf)],
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<Entry, BackupError> {
        use base64::Engine as _;
        let mut all = Vec::new();
        for (name, path) in files {
            let (file, about) = open(path)?;
            let mut content = Zeroizing::new(Vec::new());
            (&file).take(MAX_CONFIG).read_to_end(&mut content).map_err(io("read", path))?;
            all.push(serde_json::json!({
                "name": name, "mode": about.mode() & 0o777, "uid": about.uid(), "gid": about.gid(),
                "content": base64::engine::general_purpose::STANDARD.encode(content.as_slice()),
            }));
        }
        let plain = Zeroizing::new(serde_json::to_vec(&all).unwrap_or_default());
        let sealed = seal::seal(passphrase, &plain).map_err(BackupError::Secrets)?;
        self.add("secrets.sealed", &mut sealed.as_slice(), (0o600, 0, 0), progress)?;
        self.entries.pop().ok_or_else(|| BackupError::Secrets("they were not written".to_owned()))
    }
}

/// Opens a regular file, through no link.
fn open(path: &Path) -> Result<(File, fs::Metadata), BackupError> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(io("open", path))?;
    let about = file.metadata().map_err(io("look at", path))?;
    if !about.is_file() {
        return Err(io("read", path)(io::Error::other("it is no file")));
    }
    Ok((file, about))
}

/// Files of configuration, by their names below its directory. One whose name has no place in an archive is none.
pub(in crate::ops) fn below(config: &Path) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let named = |path: PathBuf| {
        let name = path.strip_prefix(config).ok()?.to_str()?.to_owned();
        (!name.contains(['\\', '\n'])).then_some((name, path))
    };
    Ok(files(config, DEPTH)?.into_iter().filter_map(named).collect())
}

/// Whether a file of configuration is one that says what is to be done, and no secret.
pub(in crate::ops) fn is_plain(name: &str) -> bool {
    let secret = matches!(name, "keys.toml" | "secrets.toml") || name.split('/').next() == Some(SECRETS);
    name.ends_with(".toml") && !secret
}

/// What is below a directory.
#[derive(Default)]
struct Walked {
    /// Regular files, sorted.
    files: Vec<PathBuf>,
    /// Links, which are not followed, and directories that are too deep.
    left_out: Vec<PathBuf>,
}

/// Regular files below a directory, sorted.
fn files(directory: &Path, depth: usize) -> Result<Vec<PathBuf>, BackupError> {
    Ok(walk(directory, depth)?.files)
}

fn walk(directory: &Path, depth: usize) -> Result<Walked, BackupError> {
    let mut walked = Walked::default();
    let mut pending = vec![(directory.to_owned(), 1)];
    while let Some((directory, deep)) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(io("list", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(io("list", &directory))?;
            let kind = entry.file_type().map_err(io("look at", &entry.path()))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() && deep < depth {
                pending.push((entry.path(), deep + 1));
            } else if kind.is_file() {
                walked.files.push(entry.path());
            } else if kind.is_dir() || kind.is_symlink() {
                walked.left_out.push(entry.path());
            }
        }
    }
    walked.files.sort();
    walked.left_out.sort();
    Ok(walked)
}

/// Bytes of a log up to its last whole record.
fn whole_records(file: &File, path: &Path) -> Result<u64, BackupError> {
    let mut file = file;
    let mut size = file.metadata().map_err(io("look at", path))?.len();
    let mut buffer = vec![0; 64 << 10];
    while size > 0 {
        let from = size.saturating_sub(buffer.len() as u64);
        file.seek(io::SeekFrom::Start(from)).map_err(io("read", path))?;
        let length = usize::try_from(size - from).unwrap_or(0);
        let part = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact(part).map_err(io("read", path))?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            size = from + at as u64 + 1;
            break;
        }
        size = from;
    }
    file.seek(io::SeekFrom::Start(0)).map_err(io("read", path))?;
    Ok(size)
}

fn options(mode: u32) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(mode)
        .large_file(true)
}

fn broken(name: &str, error: zip::result::ZipError) -> BackupError {
    io("write", Path::new(name))(io::Error::other(error))
}
