//! What was asked, and the bounds it must keep before anything reads it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_COMMAND;
use super::verdict::{Judged, Narrower, Verdict};
use crate::gate::{Command, Decision, Facts, Finding};
use crate::policy::{Access, Limits, Network, Policy, Profile};
use crate::wire::runner::FileId;

/// The name of one request, unique on this machine: 128 random bits in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// Names a request by random bytes, which the pure layer cannot make itself.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The same name as the protocol has it.
    pub fn from_wire(id: &crate::wire::rpc::RequestId) -> Self {
        Self(id.as_str().to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Login name; empty where the id has none.
    pub name: String,
}

/// The directories that a request is about, by identity: a path can be made to name another directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where the command starts.
    pub cwd: FileId,
    /// The workspace it may change.
    pub workspace: FileId,
}

/// The terms on which a command would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// What confines it.
    pub profile: Profile,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// Between the polite signal and the final one when a limit ends it.
    pub grace: Duration,
}

impl Terms {
    /// Narrows these terms to what a profile gives, as far as one command can be set apart in a sandbox that stands: its time,
    /// the network as a whole, and changing the workspace. What else the sandbox gives beyond the profile is a finding, and the
    /// command does not run in it.
    fn keep_within(&mut self, confined: &Profile, names: &[String]) -> (Narrower, Option<Finding>) {
        let Limits { time, grace, cpu, idle, .. } = confined.limits;
        self.timeout = Some(self.timeout.map_or(time, |timeout| timeout.min(time)));
        self.grace = self.grace.min(grace);
        self.profile.limits.time = self.profile.limits.time.min(time);
        self.profile.limits.grace = self.profile.limits.grace.min(grace);
        self.profile.limits.cpu = self.profile.limits.cpu.min(cpu);
        self.profile.limits.idle = self.profile.limits.idle.min(idle);
        let narrower = Narrower {
            timeout: None,
            offline: confined.network == Network::None && self.profile.network != Network::None,
            read_only: confined.workspace == Access::Read && self.profile.workspace != Access::Read,
        };
        *self = narrower.tighten(self);
        let beyond = self.profile.beyond(confined);
        if beyond.is_empty() {
            return (narrower, None);
        }
        let names = names.join("` and `");
        let finding = Finding {
            rule: "policy.run-under".to_owned(),
            decision: Decision::Deny,
            span: crate::shell::Span::default(),
            argv: Vec::new(),
            effect: format!("runs where it has more than the policy gives it: {}", beyond.join(", ")),
            reason: format!("the policy has this run under the profile `{names}`"),
            hint: "run it where that profile holds: `--profile` selects one for a run or a session"
                .to_owned(),
            run_under: String::new(),
        };
        (narrower, Some(finding))
    }
}

/// A command that somebody wants to run. Nothing about it has been looked at.
#[derive(Debug)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// Who asks.
    pub principal: Principal,
    /// What is to run.
    pub command: Command,
    /// What the gate is told.
    pub facts: Facts,
    /// Where, by identity.
    pub place: Place,
    /// On which terms.
    pub terms: Terms,
    /// What was found about the place before anything was asked, which counts like what is found in the command.
    pub context: Vec<Finding>,
    /// Absolute path of the shell that will run shell text; it reads the dialect of `facts`.
    pub interpreter: String,
}

impl Request {
    /// Checks that this can be a command at all: within [`MAX_COMMAND`], no NUL (it would end the text early for the
    /// kernel, so that another command would run than the one that was judged), and not empty.
    ///
    /// # Errors
    /// The request comes back beside what is wrong, since the refusal needs a record too.
    pub fn parse(self) -> Result<Parsed, (Box<Self>, Malformed)> {
        match Malformed::check(&self.command) {
            Ok(()) => Ok(Parsed { request: self }),
            Err(error) => Err((Box::new(self), error)),
        }
    }
}

/// Why a request cannot be a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No words at all.
    #[error("the command is empty")]
    Empty,
    /// The first word is the empty string.
    #[error("the command's program is an empty word")]
    EmptyProgram,
    /// Past [`MAX_COMMAND`].
    #[error("the command is {size} bytes long; the limit is {MAX_COMMAND}")]
    TooLong {
        /// Bytes.
        size: usize,
    },
    /// A NUL byte.
    #[error("argument {argument} of the command has a NUL byte at offset {at}")]
    Nul {
        /// Index of the argument; 0 is the program, or the shell text.
        argument: usize,
        /// Offset in bytes.
        at: usize,
    },
}

impl Malformed {
    /// Checks the bounds of a command. [`Request::parse`] is the way to a command that may run; this serves `check`, which
    /// runs nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(command: &Command) -> Result<(), Self> {
        let (size, nul) = match command {
            Command::Shell(text) => {
                if text.trim().is_empty() {
                    return Err(Self::Empty);
                }
                (text.len(), text.bytes().position(|byte| byte == 0).map(|at| (0, at)))
            }
            Command::Argv(argv) => {
                match argv.first() {
                    None => return Err(Self::Empty),
                    Some(program) if program.is_empty() => return Err(Self::EmptyProgram),
                    Some(_) => {}
                }
                let size =
                    argv.iter().fold(0_usize, |sum, word| sum.saturating_add(word.len()).saturating_add(1));
                let nul = argv
                    .iter()
                    .enumerate()
                    .find_map(|(index, word)| word.bytes().position(|byte| byte == 0).map(|at| (index, at)));
                (size, nul)
            }
        };
        if size > MAX_COMMAND {
            return Err(Self::TooLong { size });
        }
        match nul {
            Some((argument, at)) => Err(Self::Nul { argument, at }),
            None => Ok(()),
        }
    }

    /// The stable id of the finding.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Empty | Self::EmptyProgram => "request.empty",
            Self::TooLong { .. } => "request.too-long",
            Self::Nul { .. } => "request.nul",
        }
    }
}

/// A request that keeps the bounds.
#[derive(Debug)]
pub struct Parsed {
    request: Request,
}

impl Parsed {
    /// Asks the policy, which reads the command as what will run it reads it.
    pub fn judge(self, policy: &Policy) -> Verdict {
        let mut request = self.request;
        let mut judgement = policy.judge(&request.command, &request.facts);
        if !request.context.is_empty() {
            judgement = judgement.with(request.context.iter().cloned());
        }
        let mut apart = Narrower::default();
        if !judgement.run_under.is_empty() {
            let confined = policy.confine(&request.terms.profile, &judgement);
            let (narrower, finding) = request.terms.keep_within(&confined, &judgement.run_under);
            apart = narrower;
            if let Some(finding) = finding {
                judgement = judgement.with([finding]);
            }
        }
        Verdict::new(Judged { request, judgement, policy: policy.digest().into(), apart })
    }
}
