//! Files for their owner alone, in which keys and secrets lie: read where nobody else could have read or written them, and
//! replaced whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Why such a file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// It cannot be read or written.
    #[error(": {0}")]
    Io(io::Error),
    /// Others could have read or written it, or it is no such file: what is wrong with it, and what to do.
    #[error(" {0}")]
    Unsafe(&'static str),
}

/// The text of such a file of at most `most` bytes; `None` where there is none.
///
/// # Errors
/// When it belongs to another user than `uid`, anybody else may read or write it, or it cannot be read. No error quotes it.
pub fn read(path: &Path, uid: u32, most: u64) -> Result<Option<Zeroizing<String>>, PrivateError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PrivateError::Io(error)),
    };
    let about = file.metadata().map_err(PrivateError::Io)?;
    let wrong = |what| Err(PrivateError::Unsafe(what));
    if !about.is_file() {
        return wrong("is not a regular file");
    }
    if about.uid() != uid {
        return wrong("belongs to another user: `chown` it to the one who runs execward");
    }
    if about.mode() & 0o077 != 0 {
        return wrong("can be read by others: replace what is in it, and `chmod 600` it");
    }
    if about.nlink() != 1 {
        return wrong("has a second name (hard link): remove one");
    }
    if about.len() > most {
        return wrong("is larger than such a file may be");
    }
    // Room from the start: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(most).unwrap_or(0)));
    match (&mut file).take(most).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => wrong("is not UTF-8"),
        Err(error) => Err(PrivateError::Io(error)),
        Ok(_) => Ok(Some(text)),
    }
}

/// Writes such a file beside the old one, durably, and puts it in its place. Its directory is made where it is missing.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // As the store makes it.
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    File::open(directory)?.sync_all()
}
