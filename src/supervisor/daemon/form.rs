//! The forms that `execward.toml` has had: a file of an earlier one is brought to this execward's, with its comments and its order.
//!
//! A daemon reads an earlier form as if it were written in its own, so that no package and no upgrade stops it. The file is changed
//! by `execward config migrate` and by `execward upgrade`, which keeps what was there.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::Deserialize;
use toml::Spanned;
use toml_edit::{DocumentMut, value};

use super::config::{Config, ConfigError};
use super::providers::EditError;
use crate::policy::PolicyError;
use crate::supervisor::local::Local;

/// A change of the form: what is called otherwise now, or stands elsewhere.
type Step = fn(&mut DocumentMut);

/// Oldest first: the first one makes version 2 of version 1. None is ever edited.
const STEPS: &[Step] = &[
    #[cfg(feature = "next")]
    idle_is_called_otherwise,
];

/// The version of the form that this execward reads and writes.
#[allow(clippy::cast_possible_truncation, reason = "a few steps")]
pub(super) const VERSION: u32 = 1 + STEPS.len() as u32;

/// The form of a version that there is not, for the test of upgrades.
#[cfg(feature = "next")]
fn idle_is_called_otherwise(document: &mut DocumentMut) {
    if let Some(daemon) = document.get_mut("daemon").and_then(toml_edit::Item::as_table_mut)
        && let Some(idle) = daemon.remove("idle")
    {
        daemon.insert("idle_time", idle);
    }
}

/// A text in this execward's form, and of which version it was.
///
/// # Errors
/// When the text is of a version that is not known, or no TOML and of an earlier one.
pub(super) fn current<'a>(path: &Path, text: &'a str) -> Result<(Cow<'a, str>, u32), ConfigError> {
    let (version, place) = version(text);
    let wrong = |place: Option<Range<usize>>, message: &str, hint: &str| {
        let file = path.display().to_string();
        ConfigError::Mistake(Box::new(PolicyError::at(&file, text, place, message, hint)))
    };
    if version == 0 || version > VERSION {
        let message = format!("the file is of version {version}, and this execward knows {VERSION}");
        let hint = if version == 0 { "there is no such version" } else { "take a newer execward" };
        return Err(wrong(place, &message, hint));
    }
    if version == VERSION {
        return Ok((Cow::Borrowed(text), version));
    }
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| wrong(error.span(), error.message(), ""))?;
    let done = usize::try_from(version - 1).unwrap_or(usize::MAX);
    STEPS.iter().skip(done).for_each(|step| step(&mut document));
    document.insert("version", value(i64::from(VERSION)));
    Ok((Cow::Owned(document.to_string()), version))
}

/// What a text says of its version, and where; it is 1 where it says nothing.
fn version(text: &str) -> (u32, Option<Range<usize>>) {
    // Alone: what a newer one says beside it may be unknown here.
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<Spanned<u32>>,
    }
    match toml::from_str(text) {
        Ok(Versioned { version: Some(version) }) => (*version.get_ref(), Some(version.span())),
        _ => (1, None),
    }
}

/// Brings the file to this execward's form, and keeps what was there beside it. Which version it was of, and where that is now;
/// `None` where there is no file, or nothing to do.
///
/// # Errors
/// When it cannot be read, or believed, or has a mistake, or is not written; it is as it was then.
pub fn migrate(named: Option<&Path>, local: &Local) -> Result<Option<(u32, PathBuf)>, EditError> {
    let Some((path, text)) = Config::text(named, &local.directories, local.principal.uid)? else {
        return Ok(None);
    };
    let (new, version) = current(&path, &text)?;
    let Cow::Owned(new) = new else { return Ok(None) };
    Config::parse(&path, &new)?;
    let mut kept = path.clone().into_os_string();
    kept.push(format!(".version-{version}"));
    let kept = PathBuf::from(kept);
    let mode = fs::metadata(&path).map_or(0o600, |about| about.mode() & 0o777);
    put(&kept, &text, mode).map_err(|error| EditError::Write { path: kept.clone(), error })?;
    put(&path, &new, mode).map_err(|error| EditError::Write { path, error })?;
    Ok(Some((version, kept)))
}

/// Writes a file beside the old one, durably, and puts it in its place, with the owner and the mode of the old one; `mode` is for a
/// file that is new.
///
/// # Errors
/// The system's.
pub fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Beside the file itself where the path is a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let old = fs::metadata(&path).ok();
    let mode = old.as_ref().map_or(mode, |about| about.mode() & 0o777);
    let mut new = path.clone().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody's but its owner's until it is as the other one is.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old
        && geteuid().is_root()
    {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
