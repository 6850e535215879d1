//! What a request goes through, whoever brings it: one pipeline for the command line and for the daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::local::Local;
use crate::approval::Answer;
use crate::gate::Facts;
use crate::policy::{NetworkMode, Policy};
use crate::prepare::EnvironmentError;
use crate::prepare::environment::{self, Environment, Why};
use crate::redact::Redactor;
use crate::stage::{Cleared, Denial, Network, Outcome, Pending, Report, Request, Verdict};
use crate::wire::runner::{Limits, SandboxSpec};

/// The name of the backend that commands run in.
const BACKEND: &str = "jail";

/// Where a person can be asked.
pub(super) trait Ask {
    /// Asks about one command. No person, no answer in time, an interruption: all of it is a no.
    async fn ask(&mut self, pending: &Pending, timeout: Duration) -> Answer;
}

/// From the request to a command that may run: reads it, judges it, and asks where a person must agree.
pub(super) async fn clear(
    request: Request,
    policy: &Policy,
    person: &mut impl Ask,
) -> Result<Box<Cleared>, Box<Denial>> {
    let parsed = request
        .parse()
        .map_err(|(request, error)| Box::new(Denial::malformed(*request, error, policy.digest().into())))?;
    let verdict = parsed.judge(policy);
    tracing::debug!(
        verdict = match verdict {
            Verdict::Allow(_) => "allow",
            Verdict::Ask(_) => "ask",
            Verdict::Deny(_) => "deny",
        },
        "judged"
    );
    match verdict {
        Verdict::Allow(cleared) => Ok(cleared),
        Verdict::Deny(denial) => Err(denial),
        Verdict::Ask(pending) => match person.ask(&pending, policy.approval.timeout).await {
            Answer::Yes(grant) => pending.accept(grant).map(Box::new),
            Answer::No(reason) => Err(Box::new(pending.refuse(reason))),
        },
    }
}

/// What a command reaches: what was asked for where the policy permits it, what the policy says where nothing was;
/// `None` where it does not permit it.
pub(super) fn network(asked: Option<Network>, policy: &Policy) -> Option<Network> {
    match (policy.network.mode, asked) {
        (NetworkMode::Host, None | Some(Network::Host)) => Some(Network::Host),
        (NetworkMode::None, Some(Network::Host)) => None,
        (NetworkMode::None, _) | (_, Some(Network::None)) => Some(Network::None),
    }
}

/// What the commands of a sandbox may use up.
pub(super) fn limits(policy: &Policy) -> Limits {
    let limits = &policy.limits;
    Limits {
        memory: limits.memory.0,
        processes: limits.processes.into(),
        file_size: Some(limits.file_size.0),
        open_files: limits.open_files.into(),
        // What is in it counts as memory, of which it must not take all.
        tmpfs: limits.memory.0 / 2,
    }
}

/// The environment of a command that starts in `cwd`, made from the requester's variables. Those in `named` were asked
/// for one by one: they pass where nothing but a rule that names them is missing. Only a policy can name a credential.
pub(super) fn environment(
    local: &Local,
    policy: &Policy,
    spec: &SandboxSpec,
    cwd: &Path,
    variables: &[(OsString, OsString)],
    named: &[String],
) -> Result<Environment, EnvironmentError> {
    let writable = [spec.workspace.path.clone(), spec.identity.home.clone(), "/tmp".into()];
    // What is not there is not mounted: its place in the private home can be written.
    let shown = spec.view.visible.iter().chain(&spec.view.own);
    let read_only: Vec<PathBuf> = shown.filter(|path| path.exists()).cloned().collect();
    let facts = environment::Facts {
        home: spec.identity.home.to_str().unwrap_or("\0"),
        user: &spec.identity.name,
        shell: local.interpreter,
        tmp: "/tmp",
        cwd,
        writable: &writable,
        read_only: &read_only,
    };
    let rules = environment::Rules::builtin();
    let build = |pass: &[String]| environment::build(&rules, variables.iter().cloned(), pass, facts);
    let built = build(&policy.environment.pass)?;
    if named.is_empty() {
        return Ok(built);
    }
    let plain = |name: &&String| {
        built.withheld.iter().any(|withheld| &withheld.name == *name && withheld.why == Why::NotListed)
    };
    let pass: Vec<String> =
        policy.environment.pass.iter().chain(named.iter().filter(plain)).cloned().collect();
    build(&pass)
}

impl Local {
    /// What the gate is told when nothing more is known than who asks and where.
    pub fn facts(&self, cwd: &Path) -> Facts {
        let cwd = cwd.to_string_lossy().into_owned();
        Facts {
            workspaces: vec![cwd.clone()],
            cwd,
            home: self.home.to_string_lossy().into_owned(),
            user: self.principal.name.clone(),
            uid: self.principal.uid,
            homes: self.users.homes(),
            environment: Default::default(),
            dialect: self.dialect,
            backend: BACKEND.to_owned(),
        }
    }

    /// What the gate would be told about a command at this place, with the environment that it would have. Nothing is
    /// opened: a check may be about a place that is not there.
    ///
    /// # Errors
    /// When no environment can be built.
    pub fn facts_of(
        &self,
        workspace: &Path,
        cwd: &Path,
        policy: &Policy,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Facts, EnvironmentError> {
        let home = self.home.to_string_lossy();
        let writable = [workspace.to_owned(), self.home.clone(), "/tmp".into()];
        let facts = environment::Facts {
            home: &home,
            user: &self.principal.name,
            shell: self.interpreter,
            tmp: "/tmp",
            cwd,
            writable: &writable,
            read_only: &[],
        };
        let rules = environment::Rules::builtin();
        let environment = environment::build(&rules, variables, &policy.environment.pass, facts)?;
        Ok(Facts {
            workspaces: vec![workspace.to_string_lossy().into_owned()],
            cwd: cwd.to_string_lossy().into_owned(),
            environment: environment.vars,
            ..self.facts(cwd)
        })
    }
}

/// Masks secrets in what a report repeats of the command.
pub(super) fn mask(report: &mut Report, redactor: &Redactor) {
    let mask = |text: &mut String| {
        let (masked, places) = redactor.text(text);
        if places > 0 {
            *text = masked;
        }
    };
    for finding in &mut report.findings {
        finding.argv.iter_mut().for_each(mask);
        [&mut finding.effect, &mut finding.reason, &mut finding.hint].into_iter().for_each(mask);
    }
    match &mut report.outcome {
        Outcome::NotFound { program } | Outcome::NotExecutable { program, .. } => mask(program),
        Outcome::Refused { reason, .. } => mask(reason),
        Outcome::Failed { error, .. } => mask(error),
        _ => {}
    }
}
