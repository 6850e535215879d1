//! Looking at records.

use std::collections::VecDeque;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::arguments::{Filter, Format};
use crate::audit::chain::Line;
use crate::audit::query::{self, CSV_HEADER, csv_row};
use crate::audit::read::{Follow, Lines};
use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, print, shown, unwritten};

/// How often the log is looked at for what is new.
const FOLLOW: Duration = Duration::from_millis(200);

/// Prints the last records as they stand in the log: JSON lines, one record each.
pub(super) fn tail(
    dir: &Path,
    lines: usize,
    follow: bool,
    json: bool,
    screen: Screen,
) -> anyhow::Result<Exit> {
    // Before the last lines are looked for, so that none is missed; what is in both is printed once.
    let mut new = if follow { Some(Follow::end(dir)?) } else { None };
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    for line in Lines::open(dir)? {
        let line = line?;
        if line.whole {
            last.push_back(line.text);
        }
        if last.len() > lines {
            last.pop_front();
        }
    }
    let text = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        (if json { line } else { shown(&line) }) + "\n"
    };
    let printed: String = last.iter().map(|line| text(line)).collect();
    let mut exit = print(screen, &printed, Exit::SUCCESS);
    while let Some(new) = &mut new {
        if exit != Exit::SUCCESS {
            break;
        }
        let appended = new.appended()?;
        let fresh: String =
            appended.iter().filter(|line| !last.contains(line)).map(|line| text(line)).collect();
        last.clear();
        if fresh.is_empty() {
            std::thread::sleep(FOLLOW);
        } else {
            exit = print(screen, &fresh, Exit::SUCCESS);
        }
    }
    Ok(exit)
}

/// Prints everything of one request.
pub(super) fn show(dir: &Path, id: &str, json: bool, screen: Screen) -> anyhow::Result<Exit> {
    let number: Option<u64> = id.parse().ok();
    let named = |line: &Line| {
        let is = |value: Option<&serde_json::Value>| value.and_then(|it| it.as_str()) == Some(id);
        let counted = line.body.get("ids").and_then(|ids| ids.as_array());
        Some(line.seq) == number
            || is(line.body.get("id"))
            || counted.into_iter().flatten().any(|it| is(Some(it)))
    };
    let mut text = String::new();
    for line in records(dir)? {
        let line = line?;
        if named(&line) {
            text.push_str(&if json {
                serde_json::to_string(&line)? + "\n"
            } else {
                shown(&serde_json::to_string_pretty(&line)?) + "\n"
            });
        }
    }
    if text.is_empty() {
        bail!("the log has no record of {}", shown(id));
    }
    Ok(print(screen, &text, Exit::SUCCESS))
}

/// Prints the records that fit, one a line.
pub(super) fn query(
    dir: &Path,
    filter: &Filter,
    last: Option<usize>,
    json: bool,
    screen: Screen,
) -> anyhow::Result<Exit> {
    let filter = query::Filter::from(filter);
    let mut found = VecDeque::new();
    for line in records(dir)? {
        let line = line?;
        if filter.matches(&line) {
            found.push_back(if json { serde_json::to_string(&line)? } else { summary(&line) });
            if last.is_some_and(|last| found.len() > last) {
                found.pop_front();
            }
        }
    }
    let text: String = found.into_iter().map(|line| line + "\n").collect();
    let exit = if text.is_empty() { Exit::NO } else { Exit::SUCCESS };
    Ok(print(screen, &text, exit))
}

/// Writes the records that fit.
pub(super) fn export(dir: &Path, filter: &Filter, format: Format, screen: Screen) -> anyhow::Result<Exit> {
    let filter = query::Filter::from(filter);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut put = |text: &str| out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    let mut written = match format {
        Format::Csv => put(CSV_HEADER),
        Format::Jsonl => Ok(()),
    };
    for raw in Lines::open(dir)? {
        if let Err(error) = &written {
            return Ok(unwritten(screen, error));
        }
        let raw = raw?;
        let Some(line) = raw.record().filter(|line| filter.matches(line)) else { continue };
        written = match format {
            // To the byte, so that the hashes can be checked.
            Format::Jsonl => put(&String::from_utf8_lossy(&raw.text)),
            Format::Csv => put(&csv_row(&line, shown)),
        };
    }
    Ok(written.and_then(|()| out.flush()).map_or_else(|error| unwritten(screen, &error), |()| Exit::SUCCESS))
}

/// The records of a log; a line that is none is for `audit verify` to find.
fn records(dir: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>>> {
    Ok(Lines::open(dir)?.filter_map(|raw| match raw {
        Ok(raw) => raw.record().map(Ok),
        Err(error) => Some(Err(error.into())),
    }))
}

/// A record in one line for a person.
fn summary(line: &Line) -> String {
    let body = &line.body;
    let text = |pointer: &str| body.pointer(pointer).and_then(|it| it.as_str()).unwrap_or_default();
    let mut words = vec![line.seq.to_string(), line.time.clone(), line.kind.clone()];
    match line.kind.as_str() {
        "decision" | "repeated" => {
            words.push(format!("{}/{}", text("/verdict"), text("/outcome")));
            if let Some(count) = body.get("count") {
                words.push(format!("{count} times"));
            }
            words.push(format!("uid {}", body.pointer("/requester/uid").unwrap_or(&serde_json::Value::Null)));
            words.push(text("/id").to_owned());
            words.push(query::command(body).unwrap_or_default());
        }
        "connection" => words.extend([
            text("/outcome").to_owned(),
            text("/id").to_owned(),
            format!("{} {}", text("/method"), text("/target")),
            text("/error").to_owned(),
        ]),
        _ => words.extend([text("/id"), text("/error"), text("/file")].map(str::to_owned)),
    }
    words.retain(|word| !word.is_empty());
    shown(&words.join("  ")).replace('\n', "\\n")
}
