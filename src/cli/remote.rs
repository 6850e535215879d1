//! `execward run` where a daemon serves it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::exit::Exit;
use super::run::explain;
use super::screen::{Screen, print, shown};
use crate::client::{Client, ClientError, Foreground, Ran, Stdio, Watch, Where, variables};
use crate::gate::{Command, Decision};
use crate::supervisor::Completed;
use crate::wire::rpc::{
    Backend, Bounded, Code, Collected, ExecId, OpenSession, Outcome, PathText, RefusedBy, Report, SessionId,
    Words,
};
use crate::wire::runner::Network;

/// A run as the command line asks a daemon for it.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) command: Command,
    /// The session that it runs in and what it is called there, where that is said; else a session of its own.
    pub(super) within: Option<(SessionId, ExecId)>,
    pub(super) workspace: Option<PathBuf>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
    pub(super) profile: Option<String>,
    pub(super) backend: Option<Backend>,
    pub(super) image: Option<String>,
    pub(super) launcher: Option<String>,
    pub(super) network: Option<Network>,
    /// Names of variables to send beside the usual ones.
    pub(super) env: Vec<String>,
    /// Goes on from what the last such command of the session left.
    pub(super) persist: bool,
    pub(super) terminal: bool,
    pub(super) json: bool,
    pub(super) verbose: bool,
}

/// Finds the daemon that serves this caller: the one that is named, or the first that listens. `None` where nobody
/// listens and none is named.
///
/// # Errors
/// When there is one that cannot be used. The command is not run without it then: whoever set it up meant it.
pub(super) fn find(socket: Option<&Path>) -> Result<Option<Client>, ClientError> {
    let found = match socket {
        Some(path) => Client::connect(path, false),
        None => Client::find(crate::wire::rpc::Socket::Agent),
    };
    match found {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NoDaemon(_)) if socket.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Remote {
    pub(super) fn run(self, mut client: Client, screen: Screen) -> Exit {
        if self.verbose {
            let server = &client.welcome().server;
            let (path, version) = (client.path().display(), shown(&server.version));
            screen.note(format_args!("served by the daemon on {path} (execward {version})"));
        }
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => return failed(&error, "", self.json, screen),
        };
        let ran = request.run(&mut client, &mut |watch| match watch {
            Watch::Waiting => screen.note("an operator is being asked; `execward approvals` answers"),
            Watch::Gone => {
                screen
                    .note("the daemon has gone: the next one is looked for, which goes on with the command");
            }
            Watch::Back => screen.note("a daemon is there again"),
        });
        match ran {
            Ok(ran) => self.show(ran, screen),
            Err(ClientError::Refused(error)) => match refused(&error, &client) {
                Some(report) => self.show(Ran { report, stdout: None, stderr: None }, screen),
                None => failed(&error.message, &error.data.hint, self.json, screen),
            },
            Err(error) => failed(&error.to_string(), &error.hint(), self.json, screen),
        }
    }

    fn request(&self) -> Result<Foreground, String> {
        let here = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
        let workspace = self.workspace.as_ref().map_or_else(|| here.clone(), |path| here.join(path));
        let cwd = match &self.cwd {
            Some(cwd) => Some(here.join(cwd)),
            None => (self.within.is_none() && here.starts_with(&workspace)).then(|| here.clone()),
        };
        let open = OpenSession {
            workspace: path(&workspace)?,
            profile: self.profile.as_deref().map(words).transpose()?,
            backend: self.backend,
            image: self.image.as_deref().map(words).transpose()?,
            launcher: self.launcher.as_deref().map(words).transpose()?,
            network: self.network,
            limits: None,
            label: None,
            linger_ms: Bounded::MIN,
        };
        let stdio = match (self.json, self.terminal) {
            (true, _) => Stdio::Collected,
            (false, true) => Stdio::Terminal,
            (false, false) => Stdio::Passed,
        };
        let (place, id) = match self.within.clone() {
            Some((session, id)) => (Where::In(session), Some(id)),
            None => (Where::New(open), None),
        };
        let timeout_ms = self
            .timeout
            .map(|timeout| Bounded::clamped(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)));
        Ok(Foreground {
            place,
            id,
            command: self.command.clone(),
            cwd: cwd.as_deref().map(path).transpose()?,
            env: variables(&self.env)?,
            timeout_ms,
            persist: self.persist,
            stdio,
        })
    }

    fn show(&self, ran: Ran, screen: Screen) -> Exit {
        let Ran { report, stdout, stderr } = ran;
        let exit = Exit::of_run(&report.outcome.clone().into());
        if self.json {
            let result = Object { report, exit_code: exit.0, stdout, stderr };
            let line = serde_json::to_string(&result).unwrap_or_default();
            return print(screen, &format!("{line}\n"), exit);
        }
        let (masked, notes) = (report.masked, report.notes.clone());
        let withheld: Vec<String> = report.withheld.iter().map(|withheld| shown(&withheld.name)).collect();
        let completed = Completed {
            report: report.into(),
            masked,
            withheld: Vec::new(),
            stdout: None,
            stderr: None,
            notes,
        };
        explain(&completed, &self.command, screen);
        if self.verbose {
            for layer in completed.report.receipt.iter().flat_map(|receipt| &receipt.layers) {
                let state = if layer.enforced { "enforced" } else { "missing" };
                screen.note(format_args!("{} {state}: {}", shown(&layer.name), shown(&layer.detail)));
            }
            if !withheld.is_empty() {
                screen.note(format_args!("variables that the command did not get: {}", withheld.join(" ")));
            }
        }
        exit
    }
}

/// The one object of `--json`.
#[derive(Debug, Serialize)]
struct Object {
    #[serde(flatten)]
    report: Report,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<Collected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<Collected>,
}

/// A refusal as a report, so that both are shown alike.
fn refused(error: &crate::wire::rpc::Error, client: &Client) -> Option<Report> {
    let refused_by = match error.code {
        Code::Refused => RefusedBy::Policy,
        Code::NotApproved => RefusedBy::Nobody,
        _ => return None,
    };
    let outcome = Outcome::Refused { refused_by, reason: error.data.reason.clone() };
    let decision = error.data.findings.first().map_or(Decision::Deny, |finding| finding.decision);
    let bare = Report::bare(outcome, error.data.request_id.clone()?, decision, client.welcome().separation);
    Some(Report { findings: error.data.findings.clone(), ..bare })
}

/// execward could not do its part.
pub(super) fn failed(error: &str, hint: &str, json: bool, screen: Screen) -> Exit {
    if json {
        let exit_code = Exit::FAILED.0;
        let value =
            serde_json::json!({"outcome": "failed", "error": error, "hint": hint, "exit_code": exit_code});
        return print(screen, &format!("{value}\n"), Exit::FAILED);
    }
    screen.error(shown(error));
    screen.hint(shown(hint));
    Exit::FAILED
}

fn words(text: &str) -> Result<Words, String> {
    Words::try_from(text.to_owned()).map_err(|error| format!("the name {text:?}: {error}"))
}

fn path(path: &Path) -> Result<PathText, String> {
    let text = path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()))?;
    PathText::try_from(text.to_owned()).map_err(|error| format!("the path {}: {error}", path.display()))
}
