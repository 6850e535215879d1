//! The words of `execward audit`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{Timestamp, ToSpan as _};

use super::super::arguments::LogPlace;
use crate::audit::query;
use crate::policy::parse_duration;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Audit {
    /// Check that no record was changed, removed or put in another place
    #[command(
        after_help = "The log alone shows what was changed in its middle. That its end was cut off, or that all of it was \
                            written anew, shows against a checkpoint that was kept on another machine: see `audit checkpoint`."
    )]
    Verify {
        #[command(flatten)]
        log: LogPlace,
        /// Checkpoints that were kept elsewhere, one a line; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// The key that must have signed, as `audit key` printed it [default: the log's own]
        #[arg(long, value_name = "HEX")]
        public_key: Option<String>,
        /// The oldest files are kept elsewhere: the log may begin in its middle
        #[arg(long)]
        partial: bool,
    },
    /// Print the last records
    Tail {
        #[command(flatten)]
        log: LogPlace,
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        lines: usize,
        /// Go on with what is recorded from now on
        #[arg(short, long)]
        follow: bool,
    },
    /// Print everything that was recorded of one request
    Show {
        #[command(flatten)]
        log: LogPlace,
        /// The request, as a report names it, or the number of a record
        id: String,
    },
    /// Find records
    Query {
        #[command(flatten)]
        log: LogPlace,
        #[command(flatten)]
        filter: Filter,
        /// Only the last so many
        #[arg(short = 'n', long, value_name = "N")]
        last: Option<usize>,
    },
    /// Write records out, masked as they stand in the log
    Export {
        #[command(flatten)]
        log: LogPlace,
        #[command(flatten)]
        filter: Filter,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
    /// Sign the log as it is now, and print the checkpoint or send it away
    #[command(
        after_help = "Keep checkpoints where nobody who can write the log can: on another machine, on paper. For instance, \
                            every hour: execward audit checkpoint -- ssh keeper 'cat >> checkpoints.jsonl'"
    )]
    Checkpoint {
        #[command(flatten)]
        log: LogPlace,
        /// Append it to this file instead
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Give it to this command on standard input instead
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Print the key that the log's checkpoints are checked with
    Key {
        #[command(flatten)]
        log: LogPlace,
    },
}

impl Audit {
    pub(super) fn log(&self) -> &LogPlace {
        match self {
            Self::Verify { log, .. }
            | Self::Tail { log, .. }
            | Self::Show { log, .. }
            | Self::Query { log, .. }
            | Self::Export { log, .. }
            | Self::Checkpoint { log, .. }
            | Self::Key { log } => log,
        }
    }
}

/// How records are written out.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Format {
    /// JSON lines, as they stand in the log
    Jsonl,
    /// A table for a spreadsheet
    Csv,
}

/// Which records.
#[derive(Debug, Args)]
pub(in crate::cli) struct Filter {
    /// Not before: a time (2026-11-23T12:00:00Z) or how long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Not after
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Who asked: a user id or a name
    #[arg(long, value_name = "WHO")]
    principal: Option<String>,
    /// The verdict (allow, ask, deny, hardline) or the outcome (run, denied, refused, unanswered, failed)
    #[arg(long, value_name = "WORD")]
    decision: Option<String>,
    /// The rule that was found; with a dot at its end, every rule that begins so
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// The session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The kind of record: decision, end, repeated, checkpoint, ...
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Letters in the command, a reason or an error
    #[arg(long, value_name = "LETTERS")]
    text: Option<String>,
}

impl From<&Filter> for query::Filter {
    fn from(filter: &Filter) -> Self {
        let Filter { since, until, principal, decision, rule, session, kind, text } = filter;
        Self {
            since: *since,
            until: *until,
            principal: principal.clone(),
            decision: decision.clone(),
            rule: rule.clone(),
            session: session.clone(),
            kind: kind.clone(),
            id: None,
            text: text.clone(),
        }
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = parse_duration(text)
        .map_err(|_| format!("`{text}` is no time: write 2026-11-23T12:00:00Z, or 2h for two hours ago"))?;
    let seconds = i64::try_from(ago.as_secs()).map_err(|error| error.to_string())?;
    Timestamp::now().checked_sub(seconds.seconds()).map_err(|error| error.to_string())
}
