//! The environment of a command: built from an allowlist, never inherited.
//!
//! What passes is data (`policies/environment.toml`) plus what a policy names. Everything else is withheld and listed by
//! name; what among it looks like a secret is handed to the redactor, so that it cannot leave by another way.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::programs::SecretNames;
use crate::redact::{self, Redactor, Secret};

/// Longest `NAME=value` with its NUL that execve(2) takes: MAX_ARG_STRLEN, 32 pages.
const MAX_VARIABLE: usize = 128 << 10;

/// Most bytes of all variables together.
const MAX_TOTAL: usize = 1 << 20;

/// Shortest value that the redactor is given.
const SHORTEST_SECRET: usize = 8;

/// PATH where the requester's has nothing that may be used.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which variables pass, as data.
#[derive(Debug, Clone)]
pub struct Rules {
    lists: Lists,
    shapes: Redactor,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Lists {
    pass: Vec<String>,
    plain: Vec<String>,
    locations: Vec<String>,
    injection: Vec<String>,
}

/// What execward itself knows and sets, whatever the requester says.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// HOME inside the sandbox, absolute.
    pub home: &'a str,
    /// USER and LOGNAME.
    pub user: &'a str,
    /// SHELL: absolute.
    pub shell: &'a str,
    /// TMPDIR inside the sandbox, absolute.
    pub tmp: &'a str,
    /// PWD: the directory in which the command starts, absolute.
    pub cwd: &'a Path,
    /// The port of the sandbox's loopback on which it finds a proxy, where it has one.
    pub proxy: Option<u16>,
    /// Directories that the sandbox may write (workspace, HOME, tmp, ...): PATH entries in them are dropped.
    pub writable: &'a [PathBuf],
    /// Directories below writable ones that the sandbox shows read-only (toolchains in a home).
    pub read_only: &'a [PathBuf],
}

/// The environment that a command gets, and what was kept from it.
#[derive(Debug)]
pub struct Environment {
    /// Every variable.
    pub vars: BTreeMap<String, String>,
    /// What the requester had and the command does not get, sorted.
    pub withheld: Vec<Withheld>,
    /// Values that look like secrets, withheld or passed by the policy's word, for the redactor.
    pub secrets: Vec<Secret>,
}

/// A variable, or an entry of PATH, that was not passed on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Withheld {
    /// Its name, made printable.
    pub name: String,
    /// The reason.
    pub why: Why,
    /// The dropped entry of PATH; empty where the whole variable is withheld.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry: String,
}

/// Why a variable was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// No rule lets it pass.
    NotListed,
    /// Its name looks like a credential's.
    SecretName,
    /// Its value looks like a credential.
    SecretValue,
    /// A loader, shell or interpreter takes code or settings from it.
    Injection,
    /// The name is not letters, digits and underscores, starting with no digit.
    BadName,
    /// The value holds NUL or is not UTF-8.
    BadValue,
    /// The value holds `/` or `%`, or names a file, where a plain word belongs.
    UnsafeValue,
    /// Name and value are longer than execve(2) takes.
    TooLong,
    /// The name came twice; the first one counted.
    Duplicate,
    /// A directory that is not absolute, holds `..`, or can be written by commands.
    UnsafePath,
}

/// Why no environment could be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// All of it together is too large.
    #[error("the environment is {bytes} bytes, more than the {limit} that a command may get")]
    TooLarge {
        /// Of all names and values that would pass.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A fact of execward's own cannot be a variable's value.
    #[error("{name} cannot be set: its value is not UTF-8, or holds NUL")]
    Unusable {
        /// The variable.
        name: &'static str,
    },
}

impl Rules {
    /// The rules compiled in from `policies/environment.toml`.
    pub fn builtin() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| Self {
            lists: toml::from_str(include_str!("../../policies/environment.toml"))
                .expect("policies/environment.toml is compiled in and tested"),
            shapes: Redactor::new(&redact::Rules::builtin(), Vec::new()),
        })
    }

    fn has_secret_value(&self, value: &str) -> bool {
        self.shapes.text(value).1 > 0
    }

    /// Whether the value of a variable with a secret name is one: not a path, a number or a switch. Where the name
    /// does not end in the secret word (`AUTH_METHOD`), the value must look random.
    fn is_secret(&self, name: &str, value: &str) -> bool {
        if value.len() < SHORTEST_SECRET || value.starts_with(['/', '.', '~']) {
            return false;
        }
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        let random = digits > 0 && digits < value.len() && !value.contains(char::is_whitespace);
        let named = SecretNames::shipped().ends(name);
        let word =
            ["password", "disabled", "required", "optional"].contains(&value.to_ascii_lowercase().as_str());
        (named && !word && digits < value.len()) || random
    }
}

/// Builds the environment of a command from the requester's. `pass` are names that the policy passes (`NAME`, or
/// `PREFIX_*`): an exact name passes whatever it is, a pattern never passes secrets or injection variables.
///
/// # Errors
///
/// When what would pass is too large, or a fact cannot be the value of a variable.
pub fn build(
    rules: &Rules,
    requester: impl IntoIterator<Item = (OsString, OsString)>,
    pass: &[String],
    facts: Facts<'_>,
) -> Result<Environment, EnvironmentError> {
    let mut environment = Environment { vars: BTreeMap::new(), withheld: Vec::new(), secrets: Vec::new() };
    let unsafe_directories = Directories::new(facts.writable, facts.read_only);
    let mut path = None;
    for (name, value) in requester {
        let Some(name) = valid_name(&name) else {
            environment.withhold(&printable(&name), Why::BadName);
            continue;
        };
        if OURS.contains(&name) || (facts.proxy.is_some() && is_proxy(name)) {
            continue;
        }
        let Some(value) = value.to_str().filter(|value| !value.contains('\0')) else {
            environment.withhold(name, Why::BadValue);
            continue;
        };
        if environment.vars.contains_key(name) || (name == "PATH" && path.is_some()) {
            environment.withhold(name, Why::Duplicate);
            continue;
        }
        let secret_name = SecretNames::shipped().has(name);
        let secret_value = rules.has_secret_value(value);
        if secret_value || (secret_name && rules.is_secret(name, value)) {
            environment.secrets.push(Secret::new(name, value));
        }
        let exactly = pass.iter().any(|pass| pass == name);
        let any = |list: &[String]| list.iter().any(|pattern| matches(pattern, name));
        let ruled = any(&rules.lists.pass) || any(&rules.lists.plain) || any(&rules.lists.locations);
        let why = if name.len() + value.len() + 2 > MAX_VARIABLE {
            Some(Why::TooLong)
        } else if name == "PATH" {
            path = Some(value.to_owned());
            continue;
        } else if exactly {
            None
        } else if value.starts_with("() {") || (!ruled && any(&rules.lists.injection)) {
            Some(Why::Injection)
        } else if secret_name {
            Some(Why::SecretName)
        } else if secret_value {
            Some(Why::SecretValue)
        } else if any(&rules.lists.plain) {
            (!is_plain(name, value)).then_some(Why::UnsafeValue)
        } else if any(&rules.lists.locations) {
            (!unsafe_directories.is_safe(value)).then_some(Why::UnsafePath)
        } else {
            (!any(&rules.lists.pass) && !any(pass)).then_some(Why::NotListed)
        };
        match why {
            Some(why) => environment.withhold(name, why),
            None => {
                environment.vars.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    environment.set_path(path.as_deref().unwrap_or_default(), &unsafe_directories);
    environment.set_ours(facts)?;
    environment.check_size()?;
    environment.withheld.sort();
    Ok(environment)
}

/// Set by execward, whatever the requester has.
const OURS: &[&str] = &["HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"];

/// Where programs look for a proxy, in small letters; most look for capitals too. curl takes `http_proxy` in small letters
/// only, because of CVE-2016-5385.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "all_proxy"];

/// What needs no proxy, and where it is named.
const NO_PROXY: (&str, &str) = ("no_proxy", "localhost,127.0.0.1,::1");

fn is_proxy(name: &str) -> bool {
    PROXIES.iter().chain([&NO_PROXY.0]).any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// The variables by which programs find a proxy at this port of the loopback.
pub fn proxied(port: u16) -> impl Iterator<Item = (String, String)> {
    let all = PROXIES.iter().map(move |name| (*name, format!("http://127.0.0.1:{port}")));
    let all = all.chain([(NO_PROXY.0, NO_PROXY.1.to_owned())]);
    all.flat_map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_ascii_uppercase(), value)])
}

impl Environment {
    fn withhold(&mut self, name: &str, why: Why) {
        self.withheld.push(Withheld { name: name.to_owned(), why, entry: String::new() });
    }

    fn set_path(&mut self, path: &str, directories: &Directories) {
        let mut entries: Vec<&str> = Vec::new();
        for entry in path.split(':').filter(|entry| !entry.is_empty()) {
            if !directories.is_safe(entry) {
                let entry = printable(entry.as_ref());
                self.withheld.push(Withheld { name: "PATH".into(), why: Why::UnsafePath, entry });
            } else if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        let path = if entries.is_empty() { DEFAULT_PATH.to_owned() } else { entries.join(":") };
        self.vars.insert("PATH".to_owned(), path);
    }

    fn set_ours(&mut self, facts: Facts<'_>) -> Result<(), EnvironmentError> {
        let cwd = facts.cwd.to_str().unwrap_or("\0");
        for (name, value) in [
            ("HOME", facts.home),
            ("USER", facts.user),
            ("LOGNAME", facts.user),
            ("SHELL", facts.shell),
            ("TMPDIR", facts.tmp),
            ("PWD", cwd),
        ] {
            if value.contains('\0') {
                return Err(EnvironmentError::Unusable { name });
            }
            self.vars.insert(name.to_owned(), value.to_owned());
        }
        self.vars.extend(facts.proxy.into_iter().flat_map(proxied));
        Ok(())
    }

    fn check_size(&self) -> Result<(), EnvironmentError> {
        let bytes = self.vars.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if bytes > MAX_TOTAL {
            return Err(EnvironmentError::TooLarge { bytes, limit: MAX_TOTAL });
        }
        Ok(())
    }
}

/// Where programs may be taken from: not from where a command could have put them.
struct Directories {
    writable: Vec<PathBuf>,
    read_only: Vec<PathBuf>,
}

impl Directories {
    fn new(writable: &[PathBuf], read_only: &[PathBuf]) -> Self {
        // Both as named and as they are: a link may stand in either.
        let both = |paths: &[PathBuf]| {
            paths.iter().flat_map(|path| [Some(path.clone()), path.canonicalize().ok()]).flatten().collect()
        };
        Self { writable: both(writable), read_only: both(read_only) }
    }

    fn is_safe(&self, directory: &str) -> bool {
        let path = Path::new(directory);
        path.is_absolute()
            && path.components().all(|part| part != Component::ParentDir)
            && !directory.contains(|character: char| character.is_control() || character == ':')
            && !self.is_writable(path)
            && path.canonicalize().map_or(true, |real| !self.is_writable(&real))
    }

    /// The longest directory that holds the path decides.
    fn is_writable(&self, path: &Path) -> bool {
        let deepest = |directories: &[PathBuf]| {
            let holding = directories.iter().filter(|directory| path.starts_with(directory));
            holding.map(|directory| directory.components().count()).max()
        };
        deepest(&self.writable) > deepest(&self.read_only)
    }
}

/// One `*`, at either end.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

/// Whether a value is a word from which no path or format can be made.
fn is_plain(name: &str, value: &str) -> bool {
    if value.chars().any(char::is_control) || value.contains('%') || value.contains("..") {
        return false;
    }
    // A zone is `Europe/Berlin`; an absolute name, or one after a colon, is a file of the requester's choice (tzset(3)).
    if name == "TZ" { !value.starts_with(['/', ':']) } else { !value.contains('/') }
}

fn valid_name(name: &std::ffi::OsStr) -> Option<&str> {
    let name = name.to_str()?;
    let first = name.bytes().next()?;
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (rest && !first.is_ascii_digit()).then_some(name)
}

/// A name that may be anything, for a list that a person reads.
fn printable(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
