//! Deciding the commands of an audit log again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::super::exit::Exit;
use super::super::lines::{Line, read_line};
use super::super::screen::{Screen, shown, unwritten};
use super::{failed, mistaken};
use crate::audit::chain;
use crate::audit::read::Lines;
use crate::gate::{Command, Decision, Facts, Finding, Judgement};
use crate::supervisor::{Local, Source, load_policy, load_policy_alone};

/// Longest line of a log that is read.
const MAX_LINE: usize = 1 << 20;

/// What a replay needs of a decision's record.
#[derive(Debug, Deserialize)]
struct Recorded {
    id: String,
    command: Command,
    facts: Facts,
    verdict: Decision,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    approximate: bool,
}

/// One decision, made again.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    record: u64,
    id: &'a str,
    time: &'a str,
    command: String,
    was: Decision,
    is: Decision,
    /// The rules that found something, then and now.
    rules_before: Vec<&'a str>,
    rules_now: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approximate: bool,
}

/// What was counted.
#[derive(Debug, Default, Serialize)]
struct Count {
    decisions: u64,
    changed: u64,
    approximate: u64,
    /// Records of decisions that cannot be made again.
    unreadable: u64,
    /// `ask -> deny` and how often.
    changes: BTreeMap<String, u64>,
}

pub(super) fn replay(
    log: Option<&Path>,
    policy: Option<&Path>,
    state: Option<PathBuf>,
    all: bool,
    json: bool,
    screen: Screen,
) -> Exit {
    let local = match Local::look(state) {
        Ok(local) => local,
        Err(error) => return failed(&error.to_string(), error.hint(), json, Exit::USAGE, screen),
    };
    let uid = local.principal.uid;
    let read = match policy {
        Some(path) => load_policy_alone(path, uid),
        None => load_policy(None, &local.directories, uid),
    };
    let policy = match read {
        Ok(policy) => policy,
        Err(error) => {
            mistaken(&error, json, screen);
            return Exit::USAGE;
        }
    };
    let own = local.directories.audit();
    let mut output = BufWriter::new(io::stdout().lock());
    let mut decided = Replay { policy: &policy, all, json, count: Count::default(), output: &mut output };
    let done = match log {
        None => decided.directory(&own),
        Some(path) if path == Path::new("-") => decided.stream(io::stdin().lock()),
        Some(path) if path.is_dir() => decided.directory(path),
        Some(path) => File::open(path)
            .with_context(|| path.display().to_string())
            .map_err(Stopped::Log)
            .and_then(|file| decided.stream(file)),
    };
    match done.and_then(|()| decided.finish().map_err(Stopped::Output)) {
        Ok(exit) => exit,
        Err(Stopped::Output(error)) => unwritten(screen, &error),
        Err(Stopped::Log(error)) => failed(&format!("{error:#}"), "", json, Exit::USAGE, screen),
    }
}

enum Stopped {
    Log(anyhow::Error),
    Output(io::Error),
}

struct Replay<'a, W: io::Write> {
    policy: &'a Source,
    all: bool,
    json: bool,
    count: Count,
    output: &'a mut W,
}

impl<W: io::Write> Replay<'_, W> {
    fn directory(&mut self, directory: &Path) -> Result<(), Stopped> {
        for line in Lines::open(directory).map_err(|error| Stopped::Log(error.into()))? {
            let line = line.map_err(|error| Stopped::Log(error.into()))?;
            // A line that is torn is no record.
            if line.whole {
                self.line(&line.text).map_err(Stopped::Output)?;
            }
        }
        Ok(())
    }

    fn stream(&mut self, input: impl Read) -> Result<(), Stopped> {
        let (mut input, mut bytes) = (BufReader::new(input), Vec::new());
        loop {
            let read = read_line(&mut input, &mut bytes, MAX_LINE)
                .map_err(|error| Stopped::Log(anyhow::Error::new(error).context("the log")))?;
            match read {
                Line::End => return Ok(()),
                Line::TooLong => self.count.unreadable += 1,
                Line::Whole => self.line(&bytes).map_err(Stopped::Output)?,
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Ok(line) = serde_json::from_slice::<chain::Line>(bytes) else {
            self.count.unreadable += 1;
            return Ok(());
        };
        if line.kind != "decision" {
            return Ok(());
        }
        let Ok(recorded) = serde_json::from_value::<Recorded>(line.body) else {
            self.count.unreadable += 1;
            return Ok(());
        };
        let judgement = self.policy.judge(&recorded.command, &recorded.facts);
        self.count.decisions += 1;
        self.count.approximate += u64::from(recorded.approximate);
        let changed = judgement.decision != recorded.verdict;
        if changed {
            self.count.changed += 1;
            let change = format!("{} -> {}", recorded.verdict.name(), judgement.decision.name());
            *self.count.changes.entry(change).or_default() += 1;
        }
        if changed || self.all {
            self.print(&Replayed::new(line.seq, &line.time, &recorded, &judgement))?;
        }
        Ok(())
    }

    fn print(&mut self, replayed: &Replayed<'_>) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *self.output, replayed)?;
            return self.output.write_all(b"\n");
        }
        let Replayed { record, time, command, was, is, rules_before, rules_now, approximate, .. } = replayed;
        let mark = if *approximate { " (approximate)" } else { "" };
        let change =
            if was == is { was.name().to_owned() } else { format!("{} -> {}", was.name(), is.name()) };
        let mut text = format!("{record} {}: {change}{mark}: {}\n", shown(time), shown(command));
        for (rules, when) in [(rules_before, "before"), (rules_now, "now")] {
            if !rules.is_empty() {
                let _ = writeln!(text, "    {when}: {}", shown(&rules.join(", ")));
            }
        }
        self.output.write_all(text.as_bytes())
    }

    fn finish(self) -> io::Result<Exit> {
        let Count { decisions, changed, approximate, unreadable, changes } = &self.count;
        if self.json {
            let value = serde_json::json!({"outcome": if *changed == 0 { "same" } else { "changed" }, "count": self.count});
            writeln!(self.output, "{value}")?;
        } else {
            write!(
                self.output,
                "{decisions} decisions, {changed} of them come out otherwise under {}",
                self.policy.name()
            )?;
            for (change, times) in changes {
                write!(self.output, "; {change}: {times}")?;
            }
            writeln!(self.output)?;
            if *approximate > 0 {
                writeln!(
                    self.output,
                    "{approximate} are approximate: secrets were masked in the record, or it was cut"
                )?;
            }
            if *unreadable > 0 {
                writeln!(
                    self.output,
                    "{unreadable} lines are no records, or records that do not hold what a decision needs"
                )?;
            }
        }
        self.output.flush()?;
        Ok(if self.count.changed == 0 { Exit::SUCCESS } else { Exit::NO })
    }
}

impl<'a> Replayed<'a> {
    fn new(record: u64, time: &'a str, recorded: &'a Recorded, judgement: &'a Judgement) -> Self {
        Self {
            record,
            id: &recorded.id,
            time,
            command: recorded.command.display(),
            was: recorded.verdict,
            is: judgement.decision,
            rules_before: rules(&recorded.findings),
            rules_now: rules(&judgement.findings),
            approximate: recorded.approximate,
        }
    }
}

fn rules(findings: &[Finding]) -> Vec<&str> {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}
