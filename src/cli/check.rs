//! `execward check`: the verdict without the run.

use std::fmt::Write as _;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::arguments::Check;
use super::exit::Exit;
use super::lines::{Line, read_line};
use super::run::listed;
use super::screen::{Screen, print, shown, unwritten};
use crate::approval::marked;
use crate::gate::{self, Command, Decision, Facts, Finding, Judgement};
use crate::stage::{MAX_COMMAND, Malformed};
use crate::supervisor::{Local, PolicyFileError, Project, Source, Tried, load_policy};

/// Longest line of a batch: the longest command with each of its bytes escaped (`\u0000`), and room for the rest.
const MAX_LINE: usize = 6 * MAX_COMMAND + (64 << 10);

pub(super) fn check(arguments: Check, screen: Screen) -> Exit {
    let Check { words, at, json, explain, batch } = arguments;
    let json = json || batch;
    let failed = |error: &str, hint: &str| {
        if json {
            let value = serde_json::json!({"outcome": "failed", "error": error});
            return print(screen, &format!("{value}\n"), Exit::USAGE);
        }
        screen.error(error);
        screen.hint(hint);
        Exit::USAGE
    };
    let local = match Local::look(at.state) {
        Ok(local) => local,
        Err(error) => return failed(&error.to_string(), error.hint()),
    };
    if batch {
        // A line may be about another workspace, of which nothing is opened.
        return match load_policy(at.policy.as_deref(), &local.directories, local.principal.uid) {
            Ok(policy) => match facts(&local, &policy, at.workspace, at.cwd) {
                Ok(facts) => self::batch(&policy, &facts, screen),
                Err(error) => failed(&error, ""),
            },
            Err(error) => failed(&error.to_string(), &error.hint()),
        };
    }
    let (policy, facts) = match world(&local, at.policy.as_deref(), at.workspace, at.cwd) {
        Ok(world) => world,
        Err(NoWorld::Policy(error)) => return failed(&error.to_string(), &error.hint()),
        Err(NoWorld::Other(error)) => return failed(&error, ""),
    };
    let command = match words.command() {
        Ok(command) => command,
        Err(error) => return failed(&error, "execward check -c TEXT, or execward check -- CMD..."),
    };
    let (judgement, us) = judge(&policy, &command, &facts);
    let exit = Exit::of_check(judgement.decision);
    if json {
        let effects = explain.then(|| effects(&command, &facts));
        let answer = Answer { outcome: judgement.decision, judgement: &judgement, effects, us };
        return print(screen, &line(&answer), exit);
    }
    let mut text = format!("{}\n", judgement.decision.name());
    if !judgement.findings.is_empty() {
        text.push_str(&marked(&command, &judgement.findings));
    }
    text.push_str(&listed(&judgement.findings, true));
    if explain {
        text.push_str("effects:\n");
        for effect in effects(&command, &facts) {
            let _ = writeln!(text, "  {}: {}", shown(&effect.argv.join(" ")), effect.effect);
        }
    }
    print(screen, &text, exit)
}

/// Why nothing can be judged.
pub(super) enum NoWorld {
    /// The policy cannot be used.
    Policy(PolicyFileError),
    /// Anything else, in a sentence.
    Other(String),
}

/// The policy that holds here, the project's included, and what the gate is told.
pub(super) fn world(
    local: &Local,
    policy: Option<&Path>,
    workspace: Option<PathBuf>,
    cwd: Option<PathBuf>,
) -> Result<(Source, Facts), NoWorld> {
    let uid = local.principal.uid;
    let mut policy = load_policy(policy, &local.directories, uid).map_err(NoWorld::Policy)?;
    let facts = facts(local, &policy, workspace, cwd).map_err(NoWorld::Other)?;
    // A check may be about a place that is not there.
    let opened = facts.workspaces.first().and_then(|workspace| std::fs::File::open(workspace).ok());
    if let Some(workspace) = opened.filter(|opened| opened.metadata().is_ok_and(|about| about.is_dir()))
        && let Some(project) = Project::read(workspace.as_fd()).map_err(NoWorld::Policy)?
    {
        let joined = policy.with_project(&project, Some(&Tried::of(&local.directories, uid)));
        policy = joined.map_err(|error| NoWorld::Policy(error.into()))?;
    }
    Ok((policy, facts))
}

/// What the gate is told: here, as this user, with the environment that a run would have.
fn facts(
    local: &Local,
    policy: &Source,
    workspace: Option<PathBuf>,
    cwd: Option<PathBuf>,
) -> Result<Facts, String> {
    let current = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
    let workspace = workspace.map_or_else(|| current.clone(), |path| current.join(path));
    let cwd = match cwd {
        Some(cwd) => current.join(cwd),
        None if current.starts_with(&workspace) => current,
        None => workspace.clone(),
    };
    local.facts_of(&workspace, &cwd, policy.base(), std::env::vars_os()).map_err(|error| error.to_string())
}

pub(super) fn judge(policy: &Source, command: &Command, facts: &Facts) -> (Judgement, u64) {
    let start = Instant::now();
    let judgement = match Malformed::check(command) {
        Ok(()) => policy.judge(command, facts),
        Err(error) => malformed(error.rule(), &error.to_string()),
    };
    (judgement, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// What cannot be read is refused, as it would be at a run.
fn malformed(rule: &str, reason: &str) -> Judgement {
    Judgement::from_findings(vec![Finding {
        rule: rule.to_owned(),
        decision: Decision::Deny,
        span: crate::shell::Span::default(),
        argv: Vec::new(),
        effect: "cannot be run".to_owned(),
        reason: reason.to_owned(),
        hint: String::new(),
        run_under: String::new(),
    }])
}

/// One effect of a command, as a person reads it.
#[derive(Debug, Serialize)]
struct Explained {
    argv: Vec<String>,
    effect: String,
}

fn effects(command: &Command, facts: &Facts) -> Vec<Explained> {
    let survey = gate::survey(command, facts);
    let of_act = |act: &gate::Act| Explained {
        argv: act.words(),
        effect: gate::finding(act, "", Decision::Allow, "", "").effect,
    };
    survey.acts().iter().map(of_act).collect()
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    outcome: Decision,
    #[serde(flatten)]
    judgement: &'a Judgement,
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Vec<Explained>>,
    us: u64,
}

/// One line of a batch. Other fields are passed over, so that annotated corpora can be checked as they are.
#[derive(Debug, Deserialize)]
struct Question<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    command: Option<String>,
    argv: Option<Vec<String>>,
    cwd: Option<String>,
    home: Option<String>,
    uid: Option<u32>,
    workspace: Option<String>,
}

/// The answer to one line of a batch. Every field is always there, in this order; `id` is `null` where none was given.
#[derive(Debug, Serialize)]
struct Answered<'a> {
    id: Option<&'a RawValue>,
    decision: Decision,
    findings: Vec<Found<'a>>,
    us: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    run_under: &'a [String],
}

/// A finding in the answer to a line.
#[derive(Debug, Serialize)]
struct Found<'a> {
    rule: &'a str,
    span: crate::shell::Span,
    argv: &'a [String],
    effect: &'a str,
    reason: &'a str,
    hint: &'a str,
}

impl<'a> Answered<'a> {
    fn new(id: Option<&'a RawValue>, judgement: &'a Judgement, us: u64) -> Self {
        let found = |finding: &'a Finding| {
            let Finding { rule, span, argv, effect, reason, hint, .. } = finding;
            Found { rule, span: *span, argv, effect, reason, hint }
        };
        let findings = judgement.findings.iter().map(found).collect();
        Self { id, decision: judgement.decision, findings, us, run_under: &judgement.run_under }
    }
}

/// Answers line by line, in order, and holds one line at a time.
fn batch(policy: &Source, facts: &Facts, screen: Screen) -> Exit {
    let mut input = BufReader::with_capacity(256 << 10, io::stdin().lock());
    let mut output = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    match answer_all(policy, facts, &mut input, &mut output) {
        Ok(exit) => exit,
        Err(Interrupted::Input(error)) => {
            screen.error(format_args!("cannot read standard input: {error}"));
            Exit::USAGE
        }
        Err(Interrupted::Output(error)) => unwritten(screen, &error),
    }
}

#[derive(Debug)]
enum Interrupted {
    Input(io::Error),
    Output(io::Error),
}

fn answer_all<R: io::Read>(
    policy: &Source,
    facts: &Facts,
    input: &mut BufReader<R>,
    output: &mut impl Write,
) -> Result<Exit, Interrupted> {
    let mut exit = Exit::SUCCESS;
    let mut bytes = Vec::new();
    loop {
        // A client that waits for its answer before it sends the next line gets it now.
        if input.buffer().is_empty() {
            output.flush().map_err(Interrupted::Output)?;
        }
        let whole = match read_line(input, &mut bytes, MAX_LINE).map_err(Interrupted::Input)? {
            Line::End => break,
            Line::Whole => true,
            Line::TooLong => false,
        };
        if whole && bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let decision = if whole {
            answer(policy, facts, &bytes, output)
        } else {
            let judgement =
                malformed("request.too-long", &format!("the line is longer than {MAX_LINE} bytes"));
            write_answer(output, &Answered::new(None, &judgement, 0)).map(|()| Decision::Deny)
        };
        if decision.map_err(Interrupted::Output)? != Decision::Allow {
            exit = Exit::NO;
        }
    }
    output.flush().map_err(Interrupted::Output)?;
    Ok(exit)
}

fn answer(policy: &Source, facts: &Facts, bytes: &[u8], output: &mut impl Write) -> io::Result<Decision> {
    let (id, judgement, us) = match read(bytes) {
        Ok(question) => {
            let (judgement, us) = ask(policy, facts, &question);
            (question.id, judgement, us)
        }
        Err(error) => (None, malformed("request.unreadable", &error), 0),
    };
    let decision = judgement.decision;
    write_answer(output, &Answered::new(id, &judgement, us))?;
    Ok(decision)
}

fn read(bytes: &[u8]) -> Result<Question<'_>, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("the line is not UTF-8 at byte {}", error.valid_up_to()))?;
    serde_json::from_str(text).map_err(|error| format!("the line is not such an object: {error}"))
}

fn ask(policy: &Source, facts: &Facts, question: &Question<'_>) -> (Judgement, u64) {
    let command = match (&question.command, &question.argv) {
        (Some(text), None) => Command::Shell(text.clone()),
        (None, Some(argv)) => Command::Argv(argv.clone()),
        _ => return (malformed("request.unreadable", "the line needs one of `command` and `argv`"), 0),
    };
    let Question { cwd, home, uid, workspace, .. } = question;
    if [cwd, home, workspace].into_iter().flatten().any(|path| !Path::new(path).is_absolute()) {
        return (malformed("request.unreadable", "`cwd`, `home` and `workspace` are absolute paths"), 0);
    }
    if cwd.is_none() && home.is_none() && uid.is_none() && workspace.is_none() {
        return judge(policy, &command, facts);
    }
    let mut facts = facts.clone();
    if let Some(cwd) = cwd {
        facts.cwd.clone_from(cwd);
        facts.environment.insert("PWD".to_owned(), cwd.clone());
        facts.workspaces = vec![cwd.clone()];
    }
    if let Some(workspace) = workspace {
        facts.workspaces = vec![workspace.clone()];
    }
    if let Some(home) = home {
        facts.home.clone_from(home);
        facts.environment.insert("HOME".to_owned(), home.clone());
        facts.homes.insert(facts.user.clone(), home.clone());
    }
    if let Some(uid) = uid {
        facts.uid = *uid;
    }
    judge(policy, &command, &facts)
}

fn write_answer(output: &mut impl Write, answer: &Answered<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *output, answer)?;
    output.write_all(b"\n")
}

fn line(answer: &Answer<'_>) -> String {
    serde_json::to_string(answer).map_or_else(
        |error| format!("{{\"outcome\":\"failed\",\"error\":\"{error}\"}}\n"),
        |line| line + "\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Local::look(Some("/nonexistent".into())).expect("this user can be served").facts(Path::new("/w"))
    }

    fn answers(input: &[u8]) -> (Vec<serde_json::Value>, Exit) {
        let policy = Source::Builtin(crate::policy::Policy::builtin());
        let mut output = Vec::new();
        // A small buffer: lines must come out the same however they are cut.
        let mut input = BufReader::with_capacity(7, input);
        let exit = answer_all(&policy, &facts(), &mut input, &mut output).expect("it is answered");
        let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        (lines.map(|line| serde_json::from_slice(line).expect("it is JSON")).collect(), exit)
    }

    #[test]
    fn answers_come_in_order_with_their_ids() {
        let (lines, exit) = answers(
            b"{\"argv\":[\"true\"],\"id\":7}\n\n{\"argv\":[\"true\"],\"id\":\"x\",\"why\":\"unknown field\"}",
        );
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&7.into(), &"x".into()));
        assert!(lines.iter().all(|line| line["decision"] == "allow" && line["us"].is_u64()), "{lines:?}");
        assert_eq!(exit, Exit::SUCCESS);
    }

    #[test]
    fn what_cannot_be_read_is_a_deny_in_its_place() {
        let cases: [(&[u8], &str); 8] = [
            (b"nonsense", "request.unreadable"),
            (b"{}", "request.unreadable"),
            (b"{\"command\":\"ls\",\"argv\":[\"ls\"]}", "request.unreadable"),
            (b"{\"command\":\"\xff\"}", "request.unreadable"),
            (b"{\"command\":\"ls\",\"cwd\":\"relative\"}", "request.unreadable"),
            (b"{\"command\":\"a\\u0000b\"}", "request.nul"),
            (b"{\"argv\":[]}", "request.empty"),
            (b"{\"command\":\"ls\",\"uid\":-1}", "request.unreadable"),
        ];
        for (line, rule) in cases {
            let (lines, exit) = answers(line);
            assert_eq!(lines[0]["decision"], "deny");
            assert_eq!(lines[0]["findings"][0]["rule"], rule, "{}", String::from_utf8_lossy(line));
            assert_eq!(exit, Exit::NO);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_answered_and_left_behind() {
        let mut input = vec![b' '; MAX_LINE + 1];
        input.extend_from_slice(b"\n{\"argv\":[\"true\"]}\n");
        let (lines, _) = answers(&input);
        assert_eq!(lines[0]["findings"][0]["rule"], "request.too-long");
        assert_eq!(lines[1]["decision"], "allow");
    }
}
