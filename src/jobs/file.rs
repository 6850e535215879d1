//! A job as an operator writes it: one file, `jobs/NAME.toml`.
//!
//! Nothing is guessed: an unknown key, a command that is none, a schedule that is never due or a job that tells nobody is an
//! error at its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::due::{CatchUp, Terms};
use super::schedule::{Schedule, zone};
use super::target::{Deliver, Hook, Place, Target, Template, When};
use crate::gate::Command;
use crate::http::Url;
use crate::policy::{ByteSize, PolicyError, parse_duration};
use crate::wire::rpc::Backend;

/// A mistake in a job's file, shown at its place.
pub type JobError = PolicyError;

/// Longest name of a job.
const NAME: usize = 64;

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Of its file, without the ending.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whether its file has it run.
    pub enabled: bool,
    /// What runs, and as what.
    pub work: Work,
    /// When.
    pub schedule: Schedule,
    /// The schedule as it is written: another text is another schedule.
    pub written: String,
    /// What of it may run late.
    pub terms: Terms,
    /// What happens when it is due while it runs.
    pub on_overlap: OnOverlap,
    /// What happens when it fails.
    pub retry: Retry,
    /// Who is told.
    pub deliver: Vec<Deliver>,
    /// Who is told that it succeeded, and does something about it when it is not.
    pub heartbeat: Option<Heartbeat>,
}

/// What runs.
#[derive(Debug, Clone)]
pub struct Work {
    /// The command.
    pub command: Command,
    /// Whose it is; whoever runs the daemon where it is left out.
    pub user: Option<String>,
    /// The directory that it may change.
    pub workspace: PathBuf,
    /// Where it starts, in there.
    pub cwd: Option<PathBuf>,
    /// The profile of the policy.
    pub profile: Option<String>,
    /// What the session runs in; what the policy says where it is left out.
    pub backend: Option<Backend>,
    /// The image of its container.
    pub image: Option<String>,
    /// No network, whatever the profile gives.
    pub offline: bool,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// It is ended after this long.
    pub timeout: Option<Duration>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// What it may do that a person would be asked about.
    pub grant: Grant,
}

/// Rules that ask, to which whoever wrote the job says yes.
pub type Grant = Vec<String>;

/// What happens when a job is due while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverlap {
    /// It is missed, which is told.
    #[default]
    Skip,
    /// It waits for the end of the one that runs, one at a time.
    Wait,
    /// The one that runs is ended.
    Replace,
}

/// What happens when a run fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often it is tried, the first time with it.
    pub attempts: u32,
    /// How long after a failure; twice as long after each other one.
    pub wait: Duration,
}

impl Retry {
    /// How long to wait after this try has failed; `None` where it was the last.
    pub fn after(&self, attempt: u32) -> Option<Duration> {
        (attempt < self.attempts).then(|| self.wait.saturating_mul(1 << (attempt.max(1) - 1).min(10)))
    }
}

/// A place that is told of each success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Where.
    pub hook: Hook,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    command: Option<Spanned<Vec<String>>>,
    shell: Option<Spanned<String>>,
    user: Option<String>,
    workspace: Spanned<PathBuf>,
    cwd: Option<PathBuf>,
    profile: Option<String>,
    backend: Option<Backend>,
    image: Option<String>,
    #[serde(default)]
    offline: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "some_duration")]
    timeout: Option<Duration>,
    #[serde(default)]
    grant: Vec<String>,
    #[serde(default)]
    limits: Limits,
    schedule: Spanned<Timing>,
    #[serde(default)]
    retry: RetrySection,
    #[serde(default)]
    deliver: Vec<Spanned<To>>,
    heartbeat: Option<Spanned<To>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    memory: Option<ByteSize>,
    processes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timing {
    cron: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    at: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    #[serde(default = "late", deserialize_with = "duration")]
    late: Duration,
    #[serde(default)]
    catch_up: CatchUp,
    #[serde(default)]
    on_overlap: OnOverlap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetrySection {
    attempts: u32,
    #[serde(deserialize_with = "duration")]
    wait: Duration,
}

impl Default for RetrySection {
    fn default() -> Self {
        Self { attempts: 1, wait: Duration::from_secs(60) }
    }
}

/// A `[[deliver]]`, and a target elsewhere.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct To {
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
    directory: Option<PathBuf>,
    profile: Option<String>,
    webhook: Option<String>,
    webhook_file: Option<PathBuf>,
    template: Option<Template>,
    chat: Option<String>,
    secret_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default)]
    queue: bool,
    #[serde(default)]
    when: When,
}

fn yes() -> bool {
    true
}

fn late() -> Duration {
    Duration::from_secs(300)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// The name of the job that a file of this name has; `None` where it has none: another ending, or a file that an editor left.
///
/// # Errors
/// A sentence: it cannot be a name.
pub fn name(file: &Path) -> Result<Option<String>, String> {
    let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    if hidden || file.extension().is_none_or(|ending| ending != "toml") {
        return Ok(None);
    }
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME || !name.chars().all(fits) {
        return Err(format!("the name of a job is up to {NAME} letters, digits, `-`, `_` and `.`"));
    }
    Ok(Some(name.to_owned()))
}

impl Job {
    /// Reads the job of this name from the text of a file.
    ///
    /// # Errors
    /// With the line and a caret.
    pub fn read(name: &str, file: &str, text: &str) -> Result<Self, JobError> {
        let document: Document =
            toml::from_str(text).map_err(|error| PolicyError::from_toml(file, text, &error))?;
        let wrong = |span, message: &str, hint: &str| PolicyError::at(file, text, span, message, hint);
        let command = match (document.command, document.shell) {
            (Some(argv), None) if argv.get_ref().is_empty() => {
                return Err(wrong(Some(argv.span()), "the command is empty", ""));
            }
            (Some(argv), None) => Command::Argv(argv.into_inner()),
            (None, Some(text)) => Command::Shell(text.into_inner()),
            (Some(_), Some(text)) => {
                return Err(wrong(
                    Some(text.span()),
                    "there is a `command` besides",
                    "take one of the two away",
                ));
            }
            (None, None) => {
                let hint = "give `command = [\"program\", \"argument\"]`, or `shell = \"text\"`";
                return Err(wrong(None, &format!("{file}: the job has no command"), hint));
            }
        };
        if !document.workspace.get_ref().is_absolute() {
            let span = Some(document.workspace.span());
            return Err(wrong(span, "the workspace of a job is an absolute path", ""));
        }
        let (schedule, terms, on_overlap, written) = when(&document.schedule, wrong)?;
        if !(1..=10).contains(&document.retry.attempts) {
            return Err(wrong(None, &format!("{file}: `attempts` is between 1 and 10"), ""));
        }
        let place = document.deliver.first().map(Spanned::span);
        let deliver: Vec<Deliver> = document
            .deliver
            .into_iter()
            .map(|to| {
                let span = to.span();
                to.into_inner().deliver().map_err(|error| wrong(Some(span), &error, ""))
            })
            .collect::<Result<_, _>>()?;
        if !deliver.iter().any(|to| to.when == When::Always) {
            return Err(wrong(
                place,
                "nobody is told of every result of this job",
                "a job needs a [[deliver]] without `when = \"failure\"`; `queue = true` is the operators' own list",
            ));
        }
        let heartbeat = match document.heartbeat {
            None => None,
            Some(to) => {
                let span = Some(to.span());
                match to.into_inner().target() {
                    Ok(Target::Webhook(hook)) => Some(Heartbeat { hook }),
                    Ok(_) => return Err(wrong(span, "a heartbeat is a webhook", "")),
                    Err(error) => return Err(wrong(span, &error, "")),
                }
            }
        };
        Ok(Self {
            name: name.to_owned(),
            description: document.description,
            enabled: document.enabled,
            work: Work {
                command,
                user: document.user,
                workspace: document.workspace.into_inner(),
                cwd: document.cwd,
                profile: document.profile,
                backend: document.backend,
                image: document.image,
                offline: document.offline,
                env: document.env,
                timeout: document.timeout,
                memory: document.limits.memory.map(|size| size.0),
                processes: document.limits.processes,
                grant: document.grant,
            },
            schedule,
            written,
            terms,
            on_overlap,
            retry: Retry { attempts: document.retry.attempts, wait: document.retry.wait },
            deliver,
            heartbeat,
        })
    }
}

/// The schedule, what may run late, what happens at an overlap, and the schedule's words.
fn when(
    section: &Spanned<Timing>,
    wrong: impl Fn(Option<std::ops::Range<usize>>, &str, &str) -> JobError,
) -> Result<(Schedule, Terms, OnOverlap, String), JobError> {
    let Timing { cron, every, at, zone: named, late, catch_up, on_overlap } = section.get_ref();
    let zone = match named {
        None => TimeZone::UTC,
        Some(name) => zone(name.get_ref()).map_err(|error| wrong(Some(name.span()), &error, ""))?,
    };
    let said = |error: String, of: &Spanned<String>| wrong(Some(of.span()), &error, "");
    let (schedule, kind, text) = match (cron, every, at) {
        (Some(text), None, None) => {
            (Schedule::cron(text.get_ref(), zone).map_err(|error| said(error, text))?, "cron", text)
        }
        (None, Some(text), None) => {
            let time = parse_duration(text.get_ref()).and_then(Schedule::every);
            (time.map_err(|error| said(error, text))?, "every", text)
        }
        (None, None, Some(text)) => {
            (Schedule::at(text.get_ref(), &zone).map_err(|error| said(error, text))?, "at", text)
        }
        _ => {
            let hint =
                "give one of `cron = \"0 3 * * mon-fri\"`, `every = \"15m\"`, `at = \"2026-12-24T18:00\"`";
            return Err(wrong(Some(section.span()), "a job has one schedule", hint));
        }
    };
    let zone = named.as_ref().map_or("UTC", |name| name.get_ref());
    let written = format!("{kind} {} {zone}", text.get_ref());
    Ok((schedule, Terms { late: *late, catch_up: *catch_up }, *on_overlap, written))
}

impl To {
    /// Where it leads, and what it is told of.
    ///
    /// # Errors
    /// A sentence.
    pub fn deliver(self) -> Result<Deliver, String> {
        let when = self.when;
        Ok(Deliver { target: self.target()?, when })
    }

    /// Where it leads.
    ///
    /// # Errors
    /// A sentence.
    pub fn target(self) -> Result<Target, String> {
        let Self {
            file,
            command,
            directory,
            profile,
            webhook,
            webhook_file,
            template,
            chat,
            secret_file,
            ca,
            queue,
            ..
        } = self;
        let hooked = template.is_some() || chat.is_some() || secret_file.is_some() || ca.is_some();
        let commanded = directory.is_some() || profile.is_some();
        let absolute = |path: PathBuf| {
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(format!("{} is not an absolute path", path.display()))
            }
        };
        let url = match (webhook, webhook_file) {
            (Some(url), None) => {
                Url::parse(&url).map_err(|error| format!("the webhook is {error}"))?;
                Some(Place::Url(url))
            }
            (None, Some(path)) => Some(Place::File(absolute(path)?)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("`webhook` and `webhook_file` exclude each other".to_owned()),
        };
        let target = match (file, command, url, queue) {
            (Some(path), None, None, false) => Target::File(absolute(path)?),
            (None, Some(argv), None, false) => {
                if argv.is_empty() {
                    return Err("the command is empty".to_owned());
                }
                let directory = directory.ok_or("a command needs a `directory` that it may change")?;
                return match hooked {
                    true => Err("`template`, `chat`, `secret_file` and `ca` are for a webhook".to_owned()),
                    false => Ok(Target::Command { argv, directory: absolute(directory)?, profile }),
                };
            }
            (None, None, Some(url), false) => {
                let template = template.unwrap_or_default();
                if (template == Template::Telegram) != chat.is_some() {
                    return Err("`chat` goes with `template = \"telegram\"`, which needs it".to_owned());
                }
                let secret_file = secret_file.map(absolute).transpose()?;
                let ca = ca.map(absolute).transpose()?;
                if commanded {
                    return Err("`directory` and `profile` are for a command".to_owned());
                }
                return Ok(Target::Webhook(Hook { url, template, chat, secret_file, ca }));
            }
            (None, None, None, true) => Target::Queue,
            _ => {
                return Err(
                    "a target is one of `file`, `command`, `webhook`, `webhook_file`, `queue`".to_owned()
                );
            }
        };
        if hooked || commanded {
            return Err("a file and the queue take no more than `when`".to_owned());
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "command = [\"make\", \"report\"]\nworkspace = \"/srv/site\"\n\
        [schedule]\ncron = \"0 3 * * mon-fri\"\nzone = \"Europe/Berlin\"\n[[deliver]]\nqueue = true\n";

    fn error(text: &str) -> String {
        Job::read("j", "jobs/j.toml", text).map(drop).expect_err(text).to_string()
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let job = Job::read("nightly", "jobs/nightly.toml", JOB).expect("it reads");
        assert_eq!((job.enabled, job.retry.attempts, job.on_overlap), (true, 1, OnOverlap::Skip));
        assert_eq!(job.written, "cron 0 3 * * mon-fri Europe/Berlin");
        assert_eq!(job.deliver, [Deliver { target: Target::Queue, when: When::Always }]);
        assert_eq!(job.work.command, Command::Argv(vec!["make".into(), "report".into()]));
        assert!(job.work.grant.is_empty() && job.work.user.is_none());
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        let shown = error(&JOB.replace("workspace", "workspce"));
        assert!(shown.contains("did you mean `workspace`?") && shown.contains("jobs/j.toml:2"), "{shown}");
        let shown = error(&JOB.replace("0 3 * *", "0 33 * *"));
        assert!(shown.contains("no cron expression") && shown.contains("jobs/j.toml:4"), "{shown}");
        let shown = error(&JOB.replace("Berlin", "Atlantis"));
        assert!(shown.contains("no time zone") && shown.contains("jobs/j.toml:5"), "{shown}");
        let cases = [
            (JOB.replace("[[deliver]]\nqueue = true\n", ""), "nobody is told"),
            (JOB.replace("queue = true", "queue = true\nwhen = \"failure\""), "nobody is told"),
            (JOB.replace("queue = true", ""), "a target is one of"),
            (JOB.replace("queue = true", "file = \"relative\""), "not an absolute path"),
            (JOB.replace("queue = true", "webhook = \"ftp://x\""), "no address"),
            (JOB.replace("queue = true", "webhook = \"https://x\"\ntemplate = \"telegram\""), "`chat`"),
            (JOB.replace("queue = true", "command = [\"x\"]"), "`directory`"),
            (JOB.replace("queue = true", "queue = true\nchat = \"x\""), "no more than"),
            (JOB.replace("zone", "every = \"1m\"\nzone"), "one schedule"),
            (JOB.replace("/srv/site", "site"), "absolute"),
            (JOB.replace("command = [\"make\", \"report\"]\n", ""), "no command"),
            (JOB.replace("command", "shell = \"x\"\ncommand"), "besides"),
            (format!("timeout = \"soon\"\n{JOB}"), "is not a time"),
            (format!("{JOB}[retry]\nattempts = 0\n"), "between 1 and 10"),
            (format!("{JOB}[heartbeat]\nqueue = true\n"), "a heartbeat is a webhook"),
        ];
        for (text, expected) in cases {
            let shown = error(&text);
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
    }

    #[test]
    fn only_files_that_are_jobs_are_jobs() {
        let name = |file: &str| name(Path::new(file));
        assert_eq!(name("/etc/execward/jobs/nightly.toml"), Ok(Some("nightly".to_owned())));
        for other in ["README", "nightly.toml~", ".nightly.toml", "nightly.toml.bak"] {
            assert_eq!(name(other), Ok(None), "{other}");
        }
        assert!(name("two words.toml").is_err());
    }

    #[test]
    fn a_failure_is_tried_again_later_each_time() {
        let retry = Retry { attempts: 3, wait: Duration::from_secs(10) };
        assert_eq!(retry.after(1), Some(Duration::from_secs(10)));
        assert_eq!(retry.after(2), Some(Duration::from_secs(20)));
        assert_eq!(retry.after(3), None);
    }
}
