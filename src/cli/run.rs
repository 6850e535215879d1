//! `execward run`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::arguments::Run;
use super::exit::Exit;
use super::remote::{self, Remote};
use super::screen::{Screen, print, shown};
use crate::approval::marked;
use crate::gate::{Command, Finding};
use crate::prepare::Withheld;
use crate::stage::{Outcome, RefusedBy, Report};
use crate::supervisor::{Asked, Captured, Completed, Role, serve};
use crate::wire::runner::{Aftermath, Fate, Found, FoundKind, Reached};

pub(super) fn run(arguments: Run, screen: Screen) -> Exit {
    let Run {
        words,
        at,
        timeout,
        allow_broad_workspace,
        profile,
        backend,
        image,
        launcher,
        network,
        env,
        tty,
        socket,
        no_daemon,
        json,
        verbose,
    } = arguments;
    if verbose > 1 {
        trace();
    }
    let command = match words.command() {
        Ok(command) => command,
        Err(error) => return misused(&error, json, screen),
    };
    // A policy, a log or a workspace that only the caller chose are a private supervisor's business.
    let own = no_daemon || at.policy.is_some() || at.state.is_some() || allow_broad_workspace;
    if tty && !std::io::stdin().is_terminal() {
        return misused("-t needs a terminal on standard input", json, screen);
    }
    let daemon = if own { Ok(None) } else { remote::find(socket.as_deref()) };
    match daemon {
        Ok(Some(client)) => {
            let remote = Remote {
                command,
                within: None,
                workspace: at.workspace,
                cwd: at.cwd,
                timeout,
                profile,
                backend: backend.map(Into::into),
                image,
                launcher,
                network: network.map(Into::into),
                env,
                persist: false,
                terminal: tty,
                json,
                verbose: verbose > 0,
            };
            return remote.run(client, screen);
        }
        Ok(None) if launcher.is_some() => {
            return misused("a launcher is the daemon's, and none serves you", json, screen);
        }
        Ok(None) => {}
        Err(error) => {
            let hint = error.hint();
            let hint = if hint.is_empty() { "--no-daemon runs it with a private supervisor" } else { &hint };
            return remote::failed(&error.to_string(), hint, json, screen);
        }
    }
    let asked = Asked {
        command,
        policy: at.policy,
        state: at.state,
        workspace: at.workspace,
        cwd: at.cwd,
        allow_broad_workspace,
        timeout,
        profile,
        backend: backend.map(Into::into),
        image,
        network: network.map(Into::into),
        env,
        variables: std::env::vars_os().collect(),
        keep_output: json,
        terminal: tty,
        role: Role::Command,
    };
    let completed = serve(&asked);
    let exit = Exit::of_run(&completed.report.outcome);
    if json {
        return print(screen, &Result::of(completed, exit).line(), exit);
    }
    explain(&completed, &asked.command, screen);
    if verbose > 0 {
        detail(&completed, screen);
    }
    exit
}

/// A call that is wrong in a way that only shows after the arguments were read.
fn misused(error: &str, json: bool, screen: Screen) -> Exit {
    if json {
        let value = serde_json::json!({"outcome": "failed", "error": error, "exit_code": Exit::FAILED.0});
        return print(screen, &format!("{value}\n"), Exit::FAILED);
    }
    screen.error(error);
    Exit::FAILED
}

/// Says on stderr what the command itself cannot have said.
pub(super) fn explain(completed: &Completed, command: &Command, screen: Screen) {
    let report = &completed.report;
    match &report.outcome {
        Outcome::Refused { refused_by, reason } => {
            screen.error(format_args!("refused: {}", shown(reason)));
            screen.plain(findings(report, command));
            let hints: std::collections::BTreeSet<&str> =
                report.findings.iter().map(|finding| finding.hint.as_str()).collect();
            for hint in hints {
                screen.hint(shown(hint));
            }
            if *refused_by == RefusedBy::Nobody {
                screen.hint("run it from a terminal and answer `y`, or allow it in a policy (--policy FILE)");
            }
        }
        Outcome::Failed { error, hint } => {
            screen.error(shown(error));
            screen.hint(shown(hint));
        }
        Outcome::NotFound { program } => screen.error(format_args!("{}: no such program", shown(program))),
        Outcome::NotExecutable { program, errno } => {
            let error = nix::errno::Errno::from_raw(*errno).desc();
            screen.error(format_args!("{}: cannot be executed: {error}", shown(program)));
        }
        Outcome::TimedOut => screen.error("a time limit ended the command"),
        Outcome::Exited { .. } | Outcome::Signaled { .. } | Outcome::Cancelled { .. } => {}
    }
    if completed.masked > 0 {
        let places = if completed.masked == 1 { "1 place that looks like a secret was" } else { "" };
        let places = if places.is_empty() {
            format!("{} places that look like secrets were", completed.masked)
        } else {
            places.to_owned()
        };
        screen.note(format_args!("{places} masked: the output is not exactly what the command wrote"));
    }
    for Reached { limit, evidence } in &report.reached {
        screen.note(format_args!("the limit on {} was reached: {}", limit.name(), shown(evidence)));
    }
    aftermath(&report.aftermath, screen);
    for note in &completed.notes {
        screen.note(shown(note));
    }
}

/// Says what the command left for others to execute or obey, and what became of it.
fn aftermath(aftermath: &Aftermath, screen: Screen) {
    let mut restorable = false;
    for Found { path, kind, setting, fate } in &aftermath.found {
        let what = match kind {
            FoundKind::GitHook => "which git executes",
            FoundKind::GitSetting => "by which git executes something, or works elsewhere",
            FoundKind::GitPointer => "which leads git out of the workspace",
            FoundKind::Settings => "which agents, editors or shells obey",
            FoundKind::Instructions => "which agents or services follow",
        };
        let path = shown(path);
        let it = setting.as_ref().map_or_else(|| path.clone(), |key| format!("{} in {path}", shown(key)));
        let fate = match (fate, setting) {
            (Fate::SetAside { to }, None) => format!("it is now {}", shown(to)),
            (Fate::SetAside { to }, Some(_)) => {
                format!("it was taken out; the file as it was is {}", shown(to))
            }
            (Fate::Left, _) => "it was left there".to_owned(),
            (Fate::Stays { error }, _) => format!("it is still there and could not be set aside: {error}"),
        };
        restorable |= !fate.starts_with("it was left") && !fate.starts_with("it is still");
        screen.note(format_args!("the command left {it}, {what}: {fate}"));
    }
    if aftermath.more > 0 {
        screen.note(format_args!("and {} more of the kind, treated alike", aftermath.more));
    }
    if let Some(unseen) = &aftermath.unseen {
        screen.note(format_args!("not all of the workspace was looked at afterwards: {}", shown(unseen)));
    }
    if restorable {
        screen.hint(
            "rename it back with `mv` if you want it; `later = \"allow\"` under [workspace] permits it",
        );
    }
}

/// What was found, with the part of the command that it is about underlined.
pub(super) fn findings(report: &Report, command: &Command) -> String {
    let mut out = String::new();
    if report.findings.is_empty() {
        return out;
    }
    out.push_str(&marked(command, &report.findings));
    out.push_str(&listed(&report.findings, false));
    out
}

/// Findings one by one, by the numbers under which they are marked.
pub(super) fn listed(findings: &[Finding], hints: bool) -> String {
    let mut out = String::new();
    for (index, Finding { rule, decision, effect, reason, hint, .. }) in findings.iter().enumerate() {
        let effect = if effect.is_empty() { "refused" } else { effect };
        let decision = decision.name();
        let _ = writeln!(out, "  {}. {} [{decision}, {rule}]: {}", index + 1, shown(effect), shown(reason));
        if hints && !hint.is_empty() {
            let _ = writeln!(out, "     instead: {}", shown(hint));
        }
    }
    out
}

fn detail(completed: &Completed, screen: Screen) {
    screen.note(format_args!("request {}, served by a private supervisor", completed.report.id));
    for layer in completed.report.receipt.iter().flat_map(|receipt| &receipt.layers) {
        let state = if layer.enforced { "enforced" } else { "missing" };
        screen.note(format_args!("{} {state}: {}", layer.name, shown(&layer.detail)));
    }
    if !completed.withheld.is_empty() {
        let names: Vec<&str> = completed.withheld.iter().map(|withheld| withheld.name.as_str()).collect();
        screen.note(format_args!("variables that the command did not get: {}", shown(&names.join(" "))));
    }
}

/// Diagnostics on stderr. A flag turns them on and no variable does: the environment may be an agent's.
fn trace() {
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::DEBUG)
        .try_init();
}

/// The one object of `--json`.
#[derive(Debug, Serialize)]
struct Result {
    #[serde(flatten)]
    report: Report,
    exit_code: u8,
    /// Nothing in user space separates agent and operator in an embedded run.
    separation: &'static str,
    masked: u64,
    withheld: Vec<Withheld>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Result {
    fn of(completed: Completed, exit: Exit) -> Self {
        let Completed { report, masked, withheld, stdout, stderr, notes } = completed;
        let [stdout, stderr] = [stdout, stderr].map(|kept| kept.map(Text::of));
        Self { report, exit_code: exit.0, separation: "none", masked, withheld, stdout, stderr, notes }
    }

    fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| {
            serde_json::json!({"outcome": "failed", "error": format!("the result: {error}")}).to_string()
        });
        line.push('\n');
        line
    }
}

/// An output in JSON: text where it is UTF-8, base64 of exactly its bytes where it is not.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Text {
    encoding: &'static str,
    data: String,
    /// Bytes that were left out after `data`; what follows them is in `tail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
}

impl Text {
    fn of(captured: Captured) -> Self {
        let (head, left_out, tail) = captured.into_text_parts();
        let cut = left_out > 0;
        let left_out = cut.then_some(left_out);
        match (std::str::from_utf8(&head), std::str::from_utf8(&tail)) {
            (Ok(head), Ok(tail)) => Self {
                encoding: "utf-8",
                data: head.to_owned(),
                left_out,
                tail: cut.then(|| tail.to_owned()),
            },
            _ => Self {
                encoding: "base64",
                data: STANDARD.encode(&head),
                left_out,
                tail: cut.then(|| STANDARD.encode(&tail)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunks: &[&[u8]]) -> Text {
        let mut captured = Captured::default();
        chunks.iter().for_each(|chunk| captured.push(chunk));
        Text::of(captured)
    }

    #[test]
    fn output_is_text_where_it_can_be() {
        let whole = text(&["h\u{e9}\0".as_bytes()]);
        assert_eq!((whole.encoding, whole.data.as_str(), whole.left_out), ("utf-8", "h\u{e9}\0", None));
        let bytes = text(&[b"a\xff"]);
        assert_eq!((bytes.encoding, bytes.data.as_str()), ("base64", "Yf8="));
    }

    #[test]
    fn a_cut_through_a_character_is_no_reason_for_base64() {
        let long = "\u{20ac}".repeat(600_000);
        let cut = text(&[long.as_bytes()]);
        assert_eq!(cut.encoding, "utf-8");
        let tail = cut.tail.expect("it is cut");
        assert!(cut.data.chars().chain(tail.chars()).all(|c| c == '\u{20ac}'));
        let left_out = cut.left_out.expect("it is cut");
        assert_eq!(cut.data.len() as u64 + left_out + tail.len() as u64, long.len() as u64);
    }
}
