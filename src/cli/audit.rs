//! `execward audit`.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::arguments::{Audit, LogPlace};
use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::audit::verify;
use crate::supervisor::Local;

/// Longest record that is printed; a log holds none that is longer.
const MAX_LINE: usize = 4 << 20;

pub(super) fn audit(arguments: Audit, screen: Screen) -> Exit {
    let (Audit::Verify { log } | Audit::Tail { log, .. }) = &arguments;
    let LogPlace { state, json } = log;
    let directory = match Local::look(state.clone()) {
        Ok(local) => local.directories.audit(),
        Err(error) => return failed(&error.to_string(), error.hint(), *json, screen),
    };
    match arguments {
        Audit::Verify { ref log } => verify_log(&directory, log.json, screen),
        Audit::Tail { ref log, lines } => tail(&directory, lines, log.json, screen),
    }
}

fn verify_log(directory: &Path, json: bool, screen: Screen) -> Exit {
    let report = match verify::verify(directory) {
        Ok(report) => report,
        Err(error) => return failed(&error.to_string(), "", json, screen),
    };
    let whole = report.problems.is_empty();
    let exit = if whole { Exit::SUCCESS } else { Exit::NO };
    if json {
        let mut value = serde_json::to_value(&report).unwrap_or_default();
        value["outcome"] = if whole { "ok" } else { "broken" }.into();
        return print(screen, &format!("{value}\n"), exit);
    }
    for problem in &report.problems {
        screen.error(format_args!("line {}: {}", problem.line, shown(&problem.what)));
    }
    let head = report.head.as_deref().unwrap_or("none");
    let state = if whole { "whole" } else { "broken" };
    let text = format!("{}: {} records, {state}; head {head}\n", directory.display(), report.records);
    print(screen, &text, exit)
}

/// Prints the last records as they stand in the log: JSON lines, one record each.
fn tail(directory: &Path, lines: usize, json: bool, screen: Screen) -> Exit {
    let path = directory.join("audit.jsonl");
    #[allow(clippy::disallowed_methods, reason = "a shell may read files")]
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) => return failed(&format!("{}: {error}", path.display()), "", json, screen),
    };
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    for line in BufReader::new(file).split(b'\n') {
        match line {
            Ok(line) if line.len() <= MAX_LINE => last.push_back(line),
            Ok(_) => last.push_back(b"(a record that is too long)".to_vec()),
            Err(error) => return failed(&format!("{}: {error}", path.display()), "", json, screen),
        }
        if last.len() > lines {
            last.pop_front();
        }
    }
    let mut text = String::new();
    for line in last {
        let line = String::from_utf8_lossy(&line).into_owned();
        text.push_str(&if json { line } else { shown(&line) });
        text.push('\n');
    }
    print(screen, &text, Exit::SUCCESS)
}

fn failed(error: &str, hint: &str, json: bool, screen: Screen) -> Exit {
    if json {
        let value = serde_json::json!({"outcome": "failed", "error": error});
        return print(screen, &format!("{value}\n"), Exit::USAGE);
    }
    screen.error(error);
    screen.hint(hint);
    Exit::USAGE
}
