//! What an approval is bound to: one digest over everything that decides what will happen.

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Place, Request, Terms};
use crate::gate::{Command, Facts};
use crate::policy::{Backend, Limits, Network, Profile};
use crate::shell::Dialect;
use crate::wire::runner::FileId;

/// A SHA-256 digest. It stays in the process unless it is of something public (a policy): a plain digest of a short
/// secret can be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests bytes as they are.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest as 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = self.to_hex();
        write!(f, "Digest({}..)", hex.get(..8).unwrap_or_default())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

/// Digests what a grant is bound to: the exact bytes of the command, who asked, the directories' device and inode, the
/// environment, the backend with the terms (those asked for, or tighter ones), and the policy.
///
/// Each field goes in with its length before it, so that no two requests run together into the same bytes; the
/// structs are taken apart without `..`, so that a field that is added later does not compile until it is bound.
pub(super) fn bind(request: &Request, terms: &Terms, policy: Digest) -> Digest {
    let mut hash = Fields(Sha256::new());
    hash.text("execward once-grant 1");
    let Request { id, principal, command, facts, place, terms: _, context, interpreter } = request;
    hash.text(id.as_str());
    hash.number(u64::from(principal.uid));
    hash.number(u64::from(principal.gid));
    hash.text(&principal.name);
    match command {
        Command::Shell(text) => {
            hash.text("shell");
            hash.text(text);
        }
        Command::Argv(argv) => {
            hash.text("argv");
            hash.list(argv.iter());
        }
    }
    hash.text(interpreter);
    let Facts { cwd, home, user, uid, workspaces, homes, environment, dialect, backend, profile } = facts;
    hash.text(cwd);
    hash.text(home);
    hash.text(user);
    hash.number(u64::from(*uid));
    hash.list(workspaces.iter());
    hash.list(homes.iter().flat_map(|(name, path)| [name, path]));
    hash.list(environment.iter().flat_map(|(name, value)| [name, value]));
    hash.text(match dialect {
        Dialect::Bash => "bash",
        Dialect::Posix => "posix",
    });
    hash.text(backend);
    hash.text(profile);
    let Place { cwd, workspace } = place;
    hash.file(*cwd);
    hash.file(*workspace);
    let Terms { profile, timeout, grace } = terms;
    hash.profile(profile);
    hash.number(timeout.map_or(u64::MAX, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)));
    hash.number(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    hash.list(context.iter().flat_map(|finding| [&finding.rule, &finding.effect]));
    hash.bytes(&policy.0);
    Digest(hash.0.finalize().into())
}

/// A hash over fields, each with its length before it.
struct Fields(Sha256);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn file(&mut self, file: FileId) {
        self.number(file.dev);
        self.number(file.ino);
    }

    fn profile(&mut self, profile: &Profile) {
        let Profile { name, backend, network, workspace, limits, pass, masked, minimum, selectable } =
            profile;
        self.text(name);
        self.text(backend.name());
        if let Backend::Docker(named) | Backend::Launcher(named) = backend {
            self.text(named);
        }
        self.text(network.name());
        if let Network::Proxy(allowed) = network {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            self.list(allowed.iter());
        }
        self.number(*workspace as u64);
        let Limits { time, grace, cpu, idle, memory, swap, cpus, processes, open_files, file_size } = limits;
        for duration in [time, grace, cpu, idle] {
            self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        }
        let counts = [cpus.0, *processes, *open_files].map(u64::from);
        for number in [memory.0, swap.0, file_size.0].into_iter().chain(counts) {
            self.number(number);
        }
        self.list(pass.iter());
        self.list(masked.iter());
        self.number(*minimum as u64);
        self.number(u64::from(*selectable));
    }

    fn list<'a>(&mut self, items: impl Iterator<Item = &'a String>) {
        let items: Vec<&String> = items.collect();
        self.number(items.len() as u64);
        for item in items {
            self.text(item);
        }
    }
}
