//! `execward scan`: what stands in files to take an agent over.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::prepare::context::{Bounds, Which, look};
use crate::redact::{Redactor, Rules};
use crate::scan::{Finding, Severity};

/// What is scanned, and what is said of it.
#[derive(Debug, Args)]
pub(super) struct Scan {
    /// Files; of directories, the files below them that agents read as instructions
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Scan every file below a directory
    #[arg(long)]
    all: bool,
    /// Leave out findings of less than this
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    severity: Least,
    /// Print one JSON object for each finding
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Least {
    Low,
    Medium,
    High,
}

impl From<Least> for Severity {
    fn from(least: Least) -> Self {
        match least {
            Least::Low => Self::Low,
            Least::Medium => Self::Medium,
            Least::High => Self::High,
        }
    }
}

/// A finding as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    path: &'a str,
    sha256: &'a str,
    #[serde(flatten)]
    finding: Finding,
}

pub(super) fn scan(arguments: &Scan, screen: Screen) -> Exit {
    let least = Severity::from(arguments.severity);
    let which = if arguments.all { Which::All } else { Which::AgentFiles };
    let redactor = Redactor::new(&Rules::builtin(), Vec::new());
    let (mut text, mut exit) = (String::new(), Exit::SUCCESS);
    let (mut files, mut found) = (0, 0_u64);
    for path in &arguments.paths {
        let seen = match look(path, which, Bounds::ASKED) {
            Ok(seen) => seen,
            Err(errno) => {
                screen.error(format_args!("{}: {errno}", shown(&path.to_string_lossy())));
                exit = Exit::USAGE;
                continue;
            }
        };
        files += seen.read;
        if seen.cut {
            screen.note(format_args!("{}: not everything was scanned", shown(&path.to_string_lossy())));
        }
        for file in seen.files {
            // A file that was named itself is at no path below it.
            let at = if file.path.as_os_str().is_empty() { path.clone() } else { path.join(&file.path) };
            let at = shown(&at.to_string_lossy());
            let mut of_file = 0;
            for mut finding in file.findings.into_iter().filter(|finding| finding.severity >= least) {
                of_file += 1;
                finding.text = redactor.text(&finding.text).0;
                if arguments.json {
                    let line = serde_json::to_string(&Line { path: &at, sha256: &file.sha256, finding });
                    let _ = writeln!(text, "{}", line.unwrap_or_default());
                    continue;
                }
                let Finding { rule, severity, line, column, reason, text: quoted } = finding;
                let _ = writeln!(text, "{at}:{line}:{column}: {}: {reason} ({rule})", severity.name());
                if !quoted.is_empty() {
                    let _ = writeln!(text, "    {quoted}");
                }
            }
            if of_file > 0 && !arguments.json {
                let _ = writeln!(text, "{at}: sha256 {}", file.sha256);
            }
            found += of_file;
        }
    }
    if !arguments.json {
        let _ = writeln!(text, "{files} files scanned, {found} findings");
    }
    if found > 0 && exit == Exit::SUCCESS {
        exit = Exit::NO;
    }
    print(screen, &text, exit)
}
