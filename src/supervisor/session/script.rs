//! The script files that a command names: what is approved is what runs.
//!
//! They are read as the requester would read them when a command asks, and again when it has been approved; what was read
//! then covers the file for the command while it runs. Held is the content of the file itself; what it reads or starts in turn
//! is not, nor is a program that is too large to travel: that one is compared only.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use super::Session;
use super::look::look_as;
use crate::approval::run_files;
use crate::stage::{Digest, Request};
use crate::wire::rpc::Script;
use crate::wire::runner::{Apart, Held};

/// Largest script that is read.
const LARGEST: u64 = 64 << 20;

/// What stands for the digest of what is not there, or is no file: it has to stay so.
const NOTHING: &str = "none";

/// A script file as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What is shown, and compared.
    pub(super) script: Script,
    /// What is to cover it; `None` where there is no file.
    content: Option<(Vec<u8>, bool)>,
}

/// What covers the files for the command.
pub(super) fn held(found: Vec<Found>) -> Vec<Held> {
    let mut room = Apart::MOST;
    let held = found.into_iter().filter_map(|Found { script, content }| {
        let (content, executable) = content?;
        room = room.checked_sub(content.len())?;
        Some(Held { path: script.path.into(), content, executable })
    });
    held.collect()
}

impl Session {
    /// The script files that a command names, as they are now.
    ///
    /// # Errors
    /// When one of them cannot be looked at, or is too large to be held.
    pub(super) async fn scripts(&self, request: &Request) -> Result<Vec<Found>, String> {
        let paths = run_files(&request.command, &request.facts);
        // Files of another machine are not seen from here, nor are files of this one meant.
        if paths.is_empty() || self.spec.is_far() {
            return Ok(Vec::new());
        }
        let look = move || paths.into_iter().map(read).collect::<Result<Vec<Found>, String>>();
        let who = (request.principal.uid, request.principal.gid);
        look_as(who, &self.account.lookups, look).await.map_err(|error| error.to_string())?
    }
}

fn read(path: String) -> Result<Found, String> {
    let nothing =
        |path| Found { script: Script { path, sha256: NOTHING.to_owned(), size: 0 }, content: None };
    let open = || -> std::io::Result<File> {
        // A pipe that nobody writes must not hold this up.
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path)
    };
    let Ok(file) = open() else { return Ok(nothing(path)) };
    let about = match file.metadata() {
        Ok(about) if about.is_file() => about,
        _ => return Ok(nothing(path)),
    };
    let executable = about.permissions().mode() & 0o111 != 0;
    let mut content = Vec::new();
    match file.take(LARGEST + 1).read_to_end(&mut content) {
        Ok(read) if read as u64 <= LARGEST => {
            let size = content.len() as u64;
            let script = Script { path, sha256: Digest::of(&content).to_hex(), size };
            Ok(Found { script, content: Some((content, executable)) })
        }
        Ok(_) => Err(format!("the script {path} is larger than {LARGEST} bytes, and cannot be held")),
        Err(error) => Err(format!("the script {path} cannot be read: {error}")),
    }
}
