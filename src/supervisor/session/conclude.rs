//! The end of a command that was let go: recorded, and reported.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::diary::Going;
use super::exec::Exec;
use super::outlive::Outlived;
use super::{Peer, Session};
use crate::redact::Redactor;
use crate::stage::Outcome;
use crate::supervisor::journal::Journal;
use crate::supervisor::pipeline;
use crate::supervisor::relay::stopped_outcome;
use crate::wire::rpc;

/// What is known of a command when it is let go, and is to be said of it in the end.
#[derive(Debug)]
pub(super) struct Due {
    /// What there would be to say if it were lost now.
    pub(super) report: rpc::Report,
    /// The number of the record that let it go.
    pub(super) decision: u64,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    /// Its shell says how it leaves.
    pub(super) keeps: bool,
    pub(super) redactor: Redactor,
    /// It was given secrets.
    pub(super) given: bool,
    /// Another supervisor has recorded how it ended.
    pub(super) recorded: bool,
}

impl Due {
    /// As it is written down, with what its redactor knows beside what the policy says.
    pub(super) fn note(&self, secrets: Vec<(String, Vec<u8>)>) -> Going {
        let milliseconds = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        Going {
            decision: self.decision,
            report: self.report.clone(),
            timeout_ms: milliseconds(self.timeout),
            grace_ms: milliseconds(self.grace),
            keeps: self.keeps,
            given: self.given,
            secrets,
        }
    }
}

impl Session {
    /// Records how a command ended, and makes the report of it.
    pub(super) async fn conclude(
        &self,
        exec: &Arc<Exec>,
        due: Due,
        outlived: Outlived,
        journal: &Journal,
        peer: &Peer,
    ) -> rpc::Report {
        let Due { mut report, decision, keeps, redactor, recorded, .. } = due;
        let Outlived { mut ended, masked, cancelled, stopped } = outlived;
        let recorded = if recorded {
            Ok(())
        } else {
            let how = ended.as_ref().map_err(Clone::clone);
            journal.ended(decision, how, report.receipt.clone(), masked, &redactor)
        };
        let kept = match &mut ended {
            Ok(ended) if keeps => self.keep(peer, ended.shell.take()).await,
            _ => None,
        };
        let mut outcome = match ended {
            Ok(ended) => {
                report.timing = Some(rpc::Timing {
                    wall_us: ended.wall_us,
                    cpu_us: ended.cpu_us,
                    max_rss_kib: ended.max_rss_kib,
                });
                (report.aftermath, report.reached) = (ended.aftermath, ended.reached);
                Outcome::from(ended.end)
            }
            Err(error) => Outcome::Failed { error, hint: String::new() },
        };
        if cancelled && matches!(outcome, Outcome::Signaled { signal: 15 }) {
            outcome = Outcome::Cancelled { signal: Signal::SIGTERM as i32 };
        }
        let mut outcome = stopped_outcome(outcome, stopped);
        pipeline::mask_outcome(&mut outcome, &redactor);
        report.outcome = outcome.into();
        report.masked = masked;
        report.reached.extend(exec.flooded());
        report.notes.extend(kept.map(|note| redactor.text(&note).0));
        if let Err(error) = recorded {
            report.notes.push(format!("the command's end could not be recorded: {error}"));
        }
        report
    }
}
