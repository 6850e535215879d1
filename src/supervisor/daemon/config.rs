//! `execward.toml`: who may connect, and how much of the daemon they may take.
//!
//! The file is believed as a policy is: only root and whoever runs the daemon may have written it. Nothing comes from
//! the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::form;
use super::launchers::Section;
use super::principals::Who;
use crate::http::{Key, Keys, Url};
use crate::jobs::{Hook, Place, Target, To};
use crate::models::Models;
use crate::policy::{ByteSize, PolicyError, parse_duration, written};
use crate::sandbox::docker;
use crate::supervisor::policy_file::{self, PolicyFileError};
use crate::supervisor::scribe::Keeping;
use crate::supervisor::session::{Lifetime, Quota};
use crate::supervisor::state::{Directories, SYSTEM_CONFIG};

/// `execward.toml`: the configuration of a daemon.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "execward.toml")]
pub(super) struct Config {
    /// The version of the form that the file is written in; 1 where it is left out.
    pub(super) version: Option<u32>,
    pub(super) principals: Principals,
    pub(super) limits: Quota,
    pub(super) daemon: Times,
    pub(super) audit: Audit,
    /// Who assesses commands where the mode says so.
    pub(super) models: Models,
    /// How people elsewhere are told that questions wait; not at all where it is left out.
    pub(super) notify: Option<Notify>,
    /// The engine for containers.
    pub(super) docker: Docker,
    /// Commands that reach runners elsewhere, by name.
    pub(super) launcher: BTreeMap<String, Section>,
    pub(super) jobs: JobsSection,
}

/// The engine for containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Docker {
    /// Its socket.
    pub(super) socket: Option<PathBuf>,
    /// How many containers wait, made ahead, for another session in a workspace that has had one. They take memory.
    pub(super) pool: usize,
    /// How long one waits.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) pool_idle: Duration,
}

impl Default for Docker {
    fn default() -> Self {
        Self { socket: None, pool: 0, pool_idle: docker::POOL_IDLE }
    }
}

impl Docker {
    pub(super) fn options(&self, directories: &Directories) -> docker::Options {
        let local = docker::Options::local(&directories.containers());
        docker::Options {
            socket: self.socket.clone().unwrap_or(local.socket),
            pool: self.pool,
            pool_idle: self.pool_idle,
            ..local
        }
    }
}

/// How jobs are run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct JobsSection {
    /// Jobs that run at a time.
    pub(super) concurrent: usize,
    /// Who is told when somebody cannot be; the operators' own list where it is left out.
    #[serde(deserialize_with = "target", serialize_with = "shown_target")]
    #[schemars(with = "Option<To>")]
    pub(super) fallback: Option<Target>,
}

impl Default for JobsSection {
    fn default() -> Self {
        Self { concurrent: 4, fallback: None }
    }
}

/// How people elsewhere are told that questions wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    /// A program and its arguments. It gets the notification as one line of JSON on standard input. None where it is empty.
    #[serde(default)]
    pub(super) command: Vec<String>,
    /// The directory that it may change; needed with a command.
    #[serde(default)]
    pub(super) directory: PathBuf,
    /// The profile of the policy that it runs under: one that reaches what it needs.
    #[serde(default)]
    pub(super) profile: Option<String>,
    /// Where the notification is posted, signed by the key `notify` of the file of keys.
    #[serde(default, serialize_with = "shown_url")]
    #[schemars(with = "Option<String>")]
    pub(super) webhook: Option<Url>,
    /// Certificates (PEM) that the webhook's own is held against, in place of the host's.
    #[serde(default)]
    pub(super) ca: Option<PathBuf>,
    /// Nobody is told more often than this.
    #[serde(default = "half_a_minute", deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) every: Duration,
}

impl Notify {
    fn check(&self) -> Result<(), &'static str> {
        match (self.command.is_empty(), &self.webhook) {
            (true, None) => Err("[notify] has neither a `command` nor a `webhook`"),
            (false, _) if self.directory.as_os_str().is_empty() => {
                Err("the command of [notify] has no `directory`")
            }
            _ => Ok(()),
        }
    }

    /// The key that signs for the webhook; none where there is no webhook.
    ///
    /// # Errors
    /// When the file of keys has none.
    pub(super) fn key(&self, keys: &Keys) -> Result<Option<Key>, ConfigError> {
        match (&self.webhook, keys.of_webhook("notify")) {
            (Some(_), None) => Err(ConfigError::Lacks(
                "the webhook of [notify] has no key to sign with: put one below [webhooks] into the file of keys \
                 (keys.toml in the state directory, mode 0600), as `notify = [\"...\"]`"
                    .to_owned(),
            )),
            (Some(_), Some(key)) => Ok(Some(key.clone())),
            (None, _) => Ok(None),
        }
    }
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// How the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    /// A file is put aside from this size on.
    #[schemars(with = "String")]
    pub(super) rotate_size: ByteSize,
    /// A file is put aside from this age on.
    #[serde(deserialize_with = "some_duration", serialize_with = "shown_some_time")]
    #[schemars(with = "Option<String>")]
    pub(super) rotate_age: Option<Duration>,
    /// The log is signed after so many records.
    pub(super) checkpoint_records: u64,
    /// The log is signed after this time, where anything was recorded in it.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) checkpoint_every: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        let Keeping { log, checkpoint_every } = Keeping::default();
        Self {
            rotate_size: ByteSize(log.rotate_size),
            rotate_age: log.rotate_age,
            checkpoint_records: log.checkpoint_records,
            checkpoint_every,
        }
    }
}

impl From<Audit> for Keeping {
    fn from(audit: Audit) -> Self {
        Self {
            log: crate::audit::Options {
                // A file that holds less than a few records would put every one into a file of its own.
                rotate_size: audit.rotate_size.0.max(1 << 20),
                rotate_age: audit.rotate_age.map(|age| age.max(Duration::from_secs(60))),
                checkpoint_records: audit.checkpoint_records.max(1),
            },
            checkpoint_every: audit.checkpoint_every.max(Duration::from_secs(1)),
        }
    }
}

/// Who may do what; what is left out is what fits the user that the daemon runs as.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Principals {
    /// May have commands run.
    pub(super) agents: Option<Vec<Who>>,
    /// May do all of what follows.
    pub(super) operators: Option<Vec<Who>>,
    /// May answer for agents, take grants back and end sessions.
    pub(super) approvers: Option<Vec<Who>>,
    /// May let agents in, set modes, and have the policy read again.
    pub(super) admins: Option<Vec<Who>>,
    /// May read the record.
    pub(super) auditors: Option<Vec<Who>>,
}

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Times {
    /// Running commands may go on for this long when the daemon is told to stop.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) stop_grace: Duration,
    /// A command in the background is ended after this long.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) background: Duration,
    /// A session in which nothing runs and of which nobody asks anything is closed after this long.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    #[cfg_attr(feature = "next", serde(rename = "idle_time"))]
    pub(super) idle: Duration,
    /// A session outlives the daemon for this long, so that the next one can go on with it; with 0 it ends with the daemon.
    #[serde(deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    pub(super) alone: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            stop_grace: Duration::from_secs(10),
            background: Duration::from_secs(24 * 3600),
            idle: Duration::from_secs(3600),
            alone: Duration::from_secs(60),
        }
    }
}

impl From<Times> for Lifetime {
    fn from(times: Times) -> Self {
        Self { background: times.background, idle: times.idle, alone: times.alone }
    }
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read or believed.
    #[error("configuration: {0}")]
    File(PolicyFileError),
    /// It has a mistake: shown at its place, with the line, a caret and a hint.
    #[error("{0}")]
    Mistake(Box<PolicyError>),
    /// A section lacks something.
    #[error("configuration: {0}")]
    Lacks(String),
}

impl ConfigError {
    /// On one line.
    pub fn brief(&self) -> String {
        match self {
            Self::Mistake(error) => match error.place() {
                Some((line, column)) => format!("line {line}, column {column}: {}", error.message()),
                None => error.message().to_owned(),
            },
            _ => self.to_string(),
        }
    }
}

impl Config {
    /// Reads the file that was named, else the system's or the user's own where there is one.
    pub(super) fn load(
        named: Option<&Path>,
        directories: &Directories,
        uid: u32,
    ) -> Result<Self, ConfigError> {
        match Self::text(named, directories, uid)? {
            Some((path, text)) => Self::parse(&path, &text),
            None => Ok(Self::default()),
        }
    }

    /// The file that is read, and what is in it.
    pub(super) fn text(
        named: Option<&Path>,
        directories: &Directories,
        uid: u32,
    ) -> Result<Option<(PathBuf, String)>, ConfigError> {
        if let Some(path) = named {
            return Ok(Some((path.to_owned(), policy_file::read(path, uid).map_err(ConfigError::File)?)));
        }
        let own = directories.config.as_deref();
        let standing = [Some(Path::new(SYSTEM_CONFIG)).filter(|_| uid == 0), own];
        for path in standing.into_iter().flatten().map(|directory| directory.join("execward.toml")) {
            match policy_file::read(&path, uid) {
                Ok(text) => return Ok(Some((path, text))),
                Err(PolicyFileError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(ConfigError::File(error)),
            }
        }
        Ok(None)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let mistake = |error| ConfigError::Mistake(Box::new(error));
        let (text, _) = form::current(path, text)?;
        let text = text.as_ref();
        let config: Self =
            toml::from_str(text).map_err(|error| mistake(PolicyError::from_toml(&file, text, &error)))?;
        let at = |header: &str, message: &str| {
            let place = text.match_indices(header).find(|(at, _)| *at == 0 || text[..*at].ends_with('\n'));
            let span = place.map(|(at, header)| at..at + header.len());
            mistake(PolicyError::at(&file, text, span, message, ""))
        };
        if let Some(notify) = &config.notify {
            notify.check().map_err(|lacks| at("[notify]", lacks))?;
        }
        for (name, section) in &config.launcher {
            let header = format!("[launcher.{name}]");
            section.check(name).map_err(|error| at(&header, &error))?;
        }
        config.models.check().map_err(|error| at("[[models.provider]]", &error.to_string()))?;
        Ok(config)
    }
}

fn target<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Target>, D::Error> {
    To::deserialize(deserializer)?.target().map(Some).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

pub(super) fn shown_time<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*time))
}

fn shown_some_time<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => shown_time(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Without the path, which may be a secret.
fn shown_url<S: Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
    match url {
        Some(url) => serializer.serialize_str(&format!("{url}/...")),
        None => serializer.serialize_none(),
    }
}

/// As a file says it, without what may be a secret.
fn shown_target<S: Serializer>(target: &Option<Target>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let path = |path: &Path| toml::Value::String(path.display().to_string());
    let said = match target {
        None => return serializer.serialize_none(),
        Some(Target::File(file)) => vec![("file", path(file))],
        Some(Target::Queue) => vec![("queue", true.into())],
        Some(Target::Command { argv, directory, profile }) => {
            let argv: Vec<toml::Value> = argv.iter().map(|word| text(word)).collect();
            let profile = profile.iter().map(|profile| ("profile", text(profile)));
            [("command", argv.into()), ("directory", path(directory))].into_iter().chain(profile).collect()
        }
        Some(Target::Webhook(Hook { url: Place::File(file), .. })) => vec![("webhook_file", path(file))],
        Some(webhook @ Target::Webhook(_)) => vec![("webhook", text(&format!("{}/...", webhook.shown())))],
    };
    let table: toml::Table = said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    table.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_counts_and_the_rest_has_defaults() {
        let text = "[principals]\nagents = [1000, \"ann\", \"@builders\"]\n[limits]\nsessions = 3\n[daemon]\nidle = \"5m\"\n[audit]\nrotate_size = \"2MiB\"\nrotate_age = \"24h\"\n";
        let config = Config::parse(Path::new("c"), text).expect("it reads");
        let agents = config.principals.agents.expect("they are named");
        assert_eq!(agents, [Who::Uid(1000), Who::User("ann".into()), Who::Group("builders".into())]);
        assert_eq!((config.limits.sessions, config.limits.commands), (3, Quota::default().commands));
        assert_eq!(config.daemon.idle, Duration::from_secs(300));
        assert!(config.principals.operators.is_none() && config.notify.is_none());
        let text = "[notify]\ncommand = [\"page\", \"ops\"]\ndirectory = \"/var/lib/page\"\n";
        let notify = Config::parse(Path::new("c"), text).expect("it reads").notify.expect("it is there");
        assert_eq!((notify.command.len(), notify.every), (2, Duration::from_secs(30)));
        let keeping = Keeping::from(config.audit);
        assert_eq!(keeping.log.rotate_size, 2 << 20);
        assert_eq!(keeping.log.rotate_age, Some(Duration::from_secs(24 * 3600)));
        assert_eq!(keeping.checkpoint_every, Keeping::default().checkpoint_every);
    }

    #[test]
    fn mistakes_are_found() {
        for text in [
            "[principal]\n",
            "[limits]\nsesions = 1\n",
            "[principals]\nagents = [-1]\n",
            "[daemon]\nidle = 5\n",
            "[notify]\ncommand = [\"page\"]\n",
            "[notify]\nevery = \"1m\"\n",
            "[notify]\nwebhook = \"http://hooks.example.com/\"\n",
        ] {
            assert!(Config::parse(Path::new("c"), text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_shown_at_its_place_with_what_was_meant() {
        let shown = |text: &str| Config::parse(Path::new("c.toml"), text).expect_err(text).to_string();
        let unknown = shown("[limits]\nsesions = 1\n");
        assert!(
            unknown.contains("c.toml:2:1")
                && unknown.contains("^^^")
                && unknown.contains("did you mean `sessions`?"),
            "{unknown}"
        );
        let lacks = shown("[limits]\n[notify]\ncommand = [\"page\"]\n");
        assert!(lacks.contains("c.toml:2:1") && lacks.contains("no `directory`"), "{lacks}");
        // What a newer one has may be unknown: its version is what is said.
        let newer = shown("[of-the-future]\nx = 1\n").contains("unknown field");
        assert!(newer);
        let newer = shown("version = 2\n[of-the-future]\nx = 1\n");
        assert!(newer.contains("version 2") && newer.contains("take a newer execward"), "{newer}");
        assert!(shown("version = 0\n").contains("no such version"));
        assert!(Config::parse(Path::new("c"), "version = 1\n").is_ok());
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_and_has_no_secret() {
        let text = "version = 1\n[principals]\nagents = [1000, \"ann\", \"@builders\"]\n[limits]\nsessions = 3\n\
            [daemon]\nidle = \"90s\"\nstop_grace = \"1500ms\"\n[audit]\nrotate_size = \"2MiB\"\nrotate_age = \"24h\"\n\
            [jobs]\nfallback = { command = [\"page\", \"ops\"], directory = \"/srv\" }\n\
            [notify]\ncommand = [\"page\"]\ndirectory = \"/srv\"\n";
        for text in ["", text] {
            let config = Config::parse(Path::new("c"), text).expect("it reads");
            let shown = toml::to_string(&config).expect("it is shown");
            assert_eq!(Config::parse(Path::new("c"), &shown).expect(&shown), config, "{shown}");
        }
        let secret = "[notify]\nwebhook = \"https://hooks.example.com/T/secret-path\"\n[jobs]\n\
            fallback = { webhook = \"https://hooks.example.com/T/other-secret\", template = \"slack\" }\n\
            [[models.provider]]\nname = \"a\"\napi = \"openai\"\nmodel = \"m\"\nbase_url = \"https://h/third-secret\"\n";
        let config = Config::parse(Path::new("c"), secret).expect("it reads");
        let shown = toml::to_string(&config).expect("it is shown");
        assert!(!shown.contains("secret") && shown.contains("hooks.example.com"), "{shown}");
    }

    #[test]
    fn the_committed_schema_is_current() {
        let committed = include_str!("../../../docs/config.schema.json");
        let current = schemars::schema_for!(Config);
        let current = serde_json::to_string_pretty(&current).expect("it is JSON") + "\n";
        assert!(committed == current, "run `execward config schema > docs/config.schema.json`");
    }
}
