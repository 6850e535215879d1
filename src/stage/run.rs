//! From a cleared command to its end.

use std::time::Duration;

use super::verdict::{Cleared, Judged};
use super::{Agreed, Answered, Digest, Place, Request};
use crate::audit::chain::Durable;
use crate::gate::{Command, Judgement};
use crate::shell::Dialect;
use crate::wire::runner::{Apart, Ended, Spawn, ToRunner};

/// What the supervisor holds when it is about to run a command: taken from descriptors and from the environment as it
/// will be passed, never from the strings that were asked for.
#[derive(Debug)]
pub struct Seen {
    /// The directories that the held descriptors are.
    pub place: Place,
    /// The whole environment, in the order in which it is passed.
    pub environment: Vec<(String, String)>,
}

/// What was judged is not what would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// Another directory is at the place of the working directory.
    #[error("the working directory was replaced after it was judged")]
    Cwd,
    /// Another directory is at the place of the workspace.
    #[error("the workspace was replaced after it was judged")]
    Workspace,
    /// A script file that the command names has another content.
    #[error("a script that it names was changed after it was approved")]
    Script,
    /// A variable differs.
    #[error("the environment changed after it was judged")]
    Environment,
}

/// A cleared command with everything that it needs to run, but without its record.
#[derive(Debug)]
pub struct Prepared {
    cleared: Cleared,
    seen: Seen,
}

impl Prepared {
    pub(super) fn new(cleared: Cleared, seen: Seen) -> Self {
        Self { cleared, seen }
    }

    pub(super) fn check(judged: &Judged, seen: &Seen) -> Result<(), Changed> {
        let Request { place, facts, .. } = &judged.request;
        if place.cwd != seen.place.cwd {
            return Err(Changed::Cwd);
        }
        if place.workspace != seen.place.workspace {
            return Err(Changed::Workspace);
        }
        // The same length and every pair judged: no name twice, none left out.
        let same = seen.environment.len() == facts.environment.len()
            && seen.environment.iter().all(|(name, value)| facts.environment.get(name) == Some(value));
        if same { Ok(()) } else { Err(Changed::Environment) }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        self.cleared.request()
    }

    /// What the gate said.
    pub fn judgement(&self) -> &Judgement {
        self.cleared.judgement()
    }

    /// Who agreed.
    pub fn agreed(&self) -> &Agreed {
        self.cleared.agreed()
    }

    /// The policy that judged.
    pub fn policy(&self) -> Digest {
        self.cleared.policy()
    }

    /// Gives it up before it ran.
    pub fn refuse(self, reason: super::DenialReason) -> super::Denial {
        self.cleared.refuse(reason)
    }

    /// What a runner needs to make the command ready; `id` names it there. Nothing is executed by it: a runner holds the
    /// command back until [`Self::start`] lets it go, so that it can be made ready while its record is being written.
    pub fn spawn(&self, id: u64) -> Spawn {
        let Request { command, facts, place, terms, interpreter, .. } = self.cleared.request();
        Spawn {
            id,
            argv: argv(command, facts.dialect, interpreter),
            env: self.seen.environment.clone(),
            cwd: facts.cwd.clone().into(),
            cwd_id: place.cwd,
            timeout_ms: terms.timeout.map(milliseconds),
            grace_ms: milliseconds(terms.grace),
            cpu_s: whole_seconds(terms.profile.limits.cpu),
            idle_ms: limited(terms.profile.limits.idle).map(milliseconds),
            apart: self.apart(),
            terminal: None,
            persist: false,
            last: false,
        }
    }

    /// The same where its shell is to say at its end in which state it was. Nothing for a command without a shell.
    pub fn spawn_persisting(&self, id: u64) -> Spawn {
        let Request { command, facts, interpreter, .. } = self.cleared.request();
        let Command::Shell(text) = command else { return self.spawn(id) };
        let text = Command::Shell(persisting(text, facts.dialect));
        Spawn { persist: true, argv: argv(&text, facts.dialect, interpreter), ..self.spawn(id) }
    }

    /// What a rule or an approver took from it that its session gives.
    fn apart(&self) -> Apart {
        let Answered { narrower: approver, hosts } = &self.cleared.answered;
        let rules = &self.cleared.judged.apart;
        let (offline, read_only) = (rules.offline || approver.offline, rules.read_only || approver.read_only);
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let workspace = self.request().facts.workspaces.first().filter(|_| read_only);
        Apart { offline, hosts, read_only: workspace.map(Into::into), ..Apart::default() }
    }

    /// On what terms an approver agreed.
    pub fn answered(&self) -> &Answered {
        &self.cleared.answered
    }

    /// Trades the ticket for the one message that has the command executed; `id` names it to its runner.
    ///
    /// # Errors
    /// When the ticket's record is not the one that lets this request run. Nothing runs then.
    pub fn start(self, ticket: Ticket, id: u64) -> Result<(Running, Go), WrongTicket> {
        let Ticket { durable } = ticket;
        if durable.clears() != Some(self.request().id.as_str()) {
            return Err(WrongTicket);
        }
        Ok((Running { cleared: self.cleared }, Go { id }))
    }
}

/// The argv that is executed: for shell text exactly the interpreter that it was judged for.
fn argv(command: &Command, dialect: Dialect, interpreter: &str) -> Vec<String> {
    let text = match command {
        Command::Argv(argv) => return argv.clone(),
        Command::Shell(text) => text,
    };
    // `--` ends the shell's own options: without it, text that starts with `-` or `+` would be read as some.
    let words: &[&str] = match dialect {
        Dialect::Bash => &[interpreter, "--norc", "--noprofile", "-c", "--", text],
        Dialect::Posix => &[interpreter, "-c", "--", text],
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Text that does what this text does, and then writes the shell's environment to the descriptor that it has for it. The text is one
/// word to `eval`, and so reads as it was judged; where it exits, a trap says the same, unless the text has a trap of its own.
fn persisting(text: &str, dialect: Dialect) -> String {
    const SAY: &str = "/usr/bin/env -0 2>/dev/null >&7";
    let word = match dialect {
        // Without a line break in it: messages shall name the lines of the text.
        Dialect::Bash => {
            format!("$'{}'", text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n"))
        }
        Dialect::Posix => format!("'{}'", text.replace('\'', r"'\''")),
    };
    // Without the descriptor the trap says nothing a second time.
    format!("trap '{SAY}' EXIT; eval {word}; set -- \"$?\"; {SAY}; exec 7>&-; exit \"$1\"")
}

/// A limit, where it is one.
fn limited(duration: Duration) -> Option<Duration> {
    (duration < Duration::MAX).then_some(duration)
}

/// As setrlimit(2) takes it: not 0, which is one second too.
fn whole_seconds(duration: Duration) -> Option<u64> {
    let up = limited(duration)?.checked_add(Duration::from_nanos(999_999_999))?;
    Some(up.as_secs().max(1))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The right to start one command: its decision is on disk.
#[derive(Debug)]
pub struct Ticket {
    durable: Durable,
}

impl From<Durable> for Ticket {
    /// Takes the audit log's word that a record is durable. Only the log can give it.
    fn from(durable: Durable) -> Self {
        Self { durable }
    }
}

/// The message that has a command executed. Only a ticket gives it.
#[derive(Debug)]
pub struct Go {
    id: u64,
}

#[cfg(test)]
impl Go {
    /// For tests that play the runner.
    pub(crate) fn for_tests(id: u64) -> Self {
        Self { id }
    }
}

impl From<Go> for ToRunner {
    fn from(Go { id }: Go) -> Self {
        Self::Run { id }
    }
}

/// A ticket for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit record does not say that this request may run")]
pub struct WrongTicket;

/// A command that was handed to a runner.
#[derive(Debug)]
pub struct Running {
    cleared: Cleared,
}

impl Running {
    /// The request.
    pub fn request(&self) -> &Request {
        self.cleared.request()
    }

    /// What the gate said.
    pub fn judgement(&self) -> &Judgement {
        self.cleared.judgement()
    }

    /// Takes the runner's word that it ended.
    pub fn finish(self, ended: Ended) -> Finished {
        Finished { cleared: self.cleared, ended: Ok(ended) }
    }

    /// Notes that it was lost: the sandbox failed, or went away without a word.
    pub fn lost(self, error: impl Into<String>, hint: impl Into<String>) -> Finished {
        Finished { cleared: self.cleared, ended: Err((error.into(), hint.into())) }
    }
}

/// A command that has ended, with all of its output relayed.
#[derive(Debug)]
pub struct Finished {
    pub(super) cleared: Cleared,
    pub(super) ended: Result<Ended, (String, String)>,
}

impl Finished {
    /// The request.
    pub fn request(&self) -> &Request {
        self.cleared.request()
    }
}
