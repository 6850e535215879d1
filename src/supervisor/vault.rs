//! The secrets that a supervisor holds: read again when their file has changed, looked for in everything that leaves from the
//! moment that they were first seen until the supervisor ends.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{AccessFlags, access};
use zeroize::Zeroizing;

use super::policy_file::{self, PolicyFileError};
use crate::gate::{Command, Facts, SecretGrant};
use crate::redact::{Redactor, Rules, Secret};
use crate::secrets::{Secrets, SecretsError};
use crate::wire::runner::SecretGiven;

/// The file of secrets, as it was last seen.
#[derive(Debug)]
pub(super) struct Vault {
    path: PathBuf,
    /// Who runs the supervisor: the file is to be this user's.
    uid: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stamp: Option<Stamp>,
    secrets: Arc<Secrets>,
    /// Every value that there was, by name: one that was replaced is still somewhere.
    known: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// How often something came to be known.
    turn: u64,
    /// The file that was said to be of no use.
    complained: Option<Stamp>,
}

/// What changes with a file that is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// Why a command does not get a secret that the policy gives it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGiven {
    #[error(
        "it is to be given the secret `{name}` by the rule `{rule}`, and there is none of that name: set it with `execward secret set {name}`"
    )]
    Missing { name: String, rule: String },
    #[error("it is to be given a secret, and {0}")]
    File(#[from] SecretsError),
    #[error("it is to be given a secret, and a command in the backend `{0}` cannot be set apart from others")]
    Backend(String),
    #[error("it is to be given a secret, and its program `{program}` is nowhere in the directories of PATH")]
    NoProgram { program: String },
    #[error(
        "it is to be given a secret, and its program can be changed by others than the one who runs execward: {0}"
    )]
    Program(String),
    #[error(
        "it is to be given a secret, and its requester sets the variable {0} for it: start it without, and without what a shell of the session has exported"
    )]
    Variable(String),
}

impl Vault {
    pub(super) fn new(path: PathBuf, uid: u32) -> Self {
        Self { path, uid, inner: Mutex::default() }
    }

    /// The secrets as they are now.
    ///
    /// # Errors
    /// When the file cannot be used. What was known stays known.
    fn read(&self) -> Result<Arc<Secrets>, SecretsError> {
        let stamp = Stamp::of(&self.path);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.stamp == stamp {
            return Ok(Arc::clone(&inner.secrets));
        }
        let secrets = Arc::new(Secrets::read(&self.path, self.uid)?);
        for secret in secrets.known() {
            let new = (secret.name().to_owned(), Zeroizing::new(secret.expose().to_vec()));
            if !inner.known.contains(&new) {
                inner.known.push(new);
                inner.turn += 1;
            }
        }
        (inner.stamp, inner.secrets) = (stamp, Arc::clone(&secrets));
        Ok(secrets)
    }

    /// How often something came to be known: a redactor of an earlier turn does not know it all.
    pub(super) fn turn(&self) -> u64 {
        if let Err(error) = self.read() {
            let stamp = Stamp::of(&self.path);
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.complained != stamp {
                tracing::warn!(%error, "no command is given a secret");
                inner.complained = stamp;
            }
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).turn
    }

    /// A redactor that knows all of them, and others beside.
    pub(super) fn redactor(&self, rules: &Rules, mut others: Vec<Secret>) -> Redactor {
        self.turn();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        others.extend(inner.known.iter().map(|(name, value)| Secret::new(name, value.to_vec())));
        Redactor::new(rules, others)
    }

    /// What a command that was cleared is given. Nothing where its judgement gives it nothing.
    ///
    /// # Errors
    /// When it is to be given something that it cannot have: it must not run then.
    pub(super) fn give(
        &self,
        grants: &[SecretGrant],
        command: &Command,
        facts: &Facts,
    ) -> Result<Vec<SecretGiven>, NotGiven> {
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        if facts.backend != super::pipeline::BACKEND {
            return Err(NotGiven::Backend(facts.backend.clone()));
        }
        self.check_program(command, facts)?;
        let secrets = self.read()?;
        let given = grants.iter().map(|SecretGrant { name, rule, env, file }| {
            let missing = || NotGiven::Missing { name: name.clone(), rule: rule.clone() };
            let value = secrets.get(name).ok_or_else(missing)?.clone();
            let (env, file) = (env.clone(), file.clone());
            Ok(SecretGiven { name: name.clone(), env, file, value: value.into() })
        });
        given.collect()
    }

    /// That the program that will be executed, on the host and so in a view of it, is one that only root and who runs the
    /// supervisor can have put there.
    fn check_program(&self, command: &Command, facts: &Facts) -> Result<(), NotGiven> {
        let words = crate::gate::alone(command, facts).unwrap_or_default();
        let program = words.first().cloned().unwrap_or_default();
        let found = if program.starts_with('/') {
            Some(PathBuf::from(&program))
        } else {
            let path = facts.environment.get("PATH").map_or("", String::as_str);
            let directories = path.split(':').filter(|directory| directory.starts_with('/'));
            directories
                .map(|directory| Path::new(directory).join(OsStr::new(&program)))
                .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
        };
        let found = found.ok_or(NotGiven::NoProgram { program })?;
        let real = policy_file::kept(&found, self.uid).map_err(|error| {
            NotGiven::Program(match error {
                PolicyFileError::Writable { what, owner, mode, .. } => {
                    format!("{} has owner {owner} and mode {mode:03o}", what.display())
                }
                other => other.to_string(),
            })
        })?;
        let own = facts.workspaces.iter().chain([&facts.home]).map(Path::new);
        let mut written = own.chain(["/tmp", "/var/tmp", "/run", "/dev/shm"].map(Path::new));
        match written.find(|root| real.starts_with(root)) {
            Some(root) => Err(NotGiven::Program(format!("{} lies below {}", real.display(), root.display()))),
            None => Ok(()),
        }
    }
}

/// That whoever asks has no say in the environment of a command that is given secrets: each variable is as a command without
/// any of its own has it.
pub(super) fn untouched(
    environment: &BTreeMap<String, String>,
    plain: &BTreeMap<String, String>,
) -> Result<(), NotGiven> {
    let own = |name: &str| matches!(name, "PWD" | "OLDPWD" | "SHLVL" | "_");
    let all = environment.keys().chain(plain.keys());
    let differs = |name: &&String| environment.get(*name) != plain.get(*name);
    match all.filter(|name| !own(name)).find(differs) {
        Some(name) => Err(NotGiven::Variable(name.clone())),
        None => Ok(()),
    }
}

/// What masks what one session says, with all that is known by then.
#[derive(Debug)]
pub(super) struct Masker {
    vault: Arc<Vault>,
    rules: Rules,
    last: Mutex<(u64, Redactor)>,
}

impl Masker {
    pub(super) fn new(vault: Arc<Vault>, rules: Rules) -> Self {
        let last = (vault.turn(), vault.redactor(&rules, Vec::new()));
        Self { vault, rules, last: Mutex::new(last) }
    }

    /// What masks now.
    pub(super) fn now(&self) -> Redactor {
        self.with(Vec::new())
    }

    /// What masks these as well.
    pub(super) fn with(&self, others: Vec<Secret>) -> Redactor {
        if !others.is_empty() {
            return self.vault.redactor(&self.rules, others);
        }
        let turn = self.vault.turn();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != turn {
            *last = (turn, self.vault.redactor(&self.rules, others));
        }
        last.1.clone()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = path.symlink_metadata().ok()?;
        let changed = (about.ctime(), about.ctime_nsec());
        Some(Self { file: (about.dev(), about.ino()), size: about.size(), changed })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::shell::Dialect;

    fn facts(path: &str) -> Facts {
        Facts {
            cwd: "/w".into(),
            home: "/home/ann".into(),
            user: "ann".into(),
            uid: 1000,
            workspaces: vec!["/w".into()],
            homes: BTreeMap::new(),
            environment: [("PATH".to_owned(), path.to_owned())].into(),
            dialect: Dialect::Bash,
            backend: "jail".into(),
            profile: String::new(),
        }
    }

    fn grant(name: &str) -> [SecretGrant; 1] {
        [SecretGrant { name: name.into(), rule: "r".into(), env: Some("A".into()), file: None }]
    }

    #[test]
    fn only_a_program_of_the_systems_in_a_jail_is_given_what_there_is() {
        // As for a policy: nobody else may be able to write above it.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let uid = nix::unistd::geteuid().as_raw();
        let path = directory.path().join("secrets.toml");
        let vault = Vault::new(path.clone(), uid);
        let give = |name: &str, program: &str, facts: &Facts| {
            vault
                .give(&grant(name), &Command::Argv(vec![program.into()]), facts)
                .map_err(|why| why.to_string())
        };
        let system = facts("/usr/bin:/bin");
        assert!(vault.give(&[], &Command::Shell("ls; env".into()), &system).expect("nothing").is_empty());
        assert!(give("a", "env", &system).expect_err("none yet").contains("execward secret set a"));
        let turn = vault.turn();
        Secrets::set(&path, uid, "a", "s3cr3t-one").expect("set");
        let given = give("a", "env", &system).expect("given");
        assert_eq!(given.iter().map(|one| one.value.expose()).collect::<Vec<_>>(), ["s3cr3t-one"]);
        assert!(!format!("{given:?}").contains("s3cr3t"), "{given:?}");
        assert!(vault.turn() > turn);
        let (program, bin) = (directory.path().join("bin/tool"), directory.path().join("bin"));
        fs::create_dir(&bin).expect("a directory");
        fs::write(&program, "").expect("written");
        let mode =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
        mode(&program, 0o755);
        let own = facts(bin.to_str().expect("text"));
        assert_eq!(give("a", "tool", &own).map(|given| given.len()), Ok(1), "the control");
        for (path, wrong, right) in [(&program, 0o757, 0o755), (&bin, 0o777, 0o755)] {
            mode(path, wrong);
            assert!(give("a", "tool", &own).expect_err("refused").contains("can be changed by others"));
            mode(path, right);
        }
        let below = Facts { workspaces: vec![directory.path().display().to_string()], ..own.clone() };
        assert!(give("a", "tool", &below).expect_err("refused").contains("lies below"));
        let container = Facts { backend: "docker".into(), ..system.clone() };
        assert!(give("a", "env", &container).expect_err("refused").contains("`docker`"));
        assert!(give("a", "no-such-program", &system).expect_err("refused").contains("nowhere"));
        assert!(vault.give(&grant("a"), &Command::Shell("env; env".into()), &system).is_err(), "not alone");
        // What was replaced is masked as well.
        Secrets::set(&path, uid, "a", "s3cr3t-two").expect("set");
        let (shown, places) = vault.redactor(&Rules::builtin(), Vec::new()).text("s3cr3t-one s3cr3t-two");
        assert!(places == 2 && !shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn a_variable_of_the_requesters_is_found() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let plain = map(&[("PATH", "/bin"), ("PWD", "/w")]);
        assert!(untouched(&plain, &plain).is_ok());
        assert!(untouched(&map(&[("PATH", "/bin"), ("PWD", "/w/x"), ("OLDPWD", "/w")]), &plain).is_ok());
        for other in
            [&[("PATH", "/sbin"), ("PWD", "/w")][..], &[("PWD", "/w")], &[("PATH", "/bin"), ("A", "b")]]
        {
            assert!(untouched(&map(other), &plain).is_err(), "{other:?}");
        }
    }
}
