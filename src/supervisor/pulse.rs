//! What happens in a daemon, counted and told: for those who watch, and for nothing else.
//!
//! Nothing waits for it. Counters are atomic; events go to whoever listens at the moment, through a ring that forgets the oldest
//! where a reader is slow and tells it how many. What is told went through the redactor of its request, as records do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::broadcast;

use crate::audit::{Decision, record};
use crate::gate;
use crate::redact::Redactor;
use crate::wire::rpc::{Count, Happened, Happening, JobsStatus};
use crate::wire::runner::{Cause, End};

/// Events that a reader may be behind before it misses some.
const BEHIND: usize = 1024;

/// Longest text of a command in an event, in characters.
const TEXT: usize = 400;

/// Bounds of the buckets for what takes a machine's time, in seconds.
const QUICK: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Bounds for what takes a person's time or a command's own, in seconds.
const SLOW: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 86400.0];

/// One label, from a fixed set of values: a label that an agent could choose would fill the memory of whoever collects them.
type Label = [(&'static str, &'static str); 1];

/// A step of the pipeline that takes time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// Parsing and judging.
    Judge,
    /// Writing the decision down.
    Record,
    /// Building a sandbox.
    Sandbox,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Record => "record",
            Self::Sandbox => "sandbox",
        }
    }
}

/// What is known at the moment that somebody asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Now {
    pub(super) sessions: u64,
    pub(super) running: u64,
    pub(super) pending: u64,
    pub(super) jobs: JobsStatus,
}

/// The counters and the events of a daemon.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    pub(super) started: Timestamp,
    events: broadcast::Sender<Arc<Happened>>,
    registry: Registry,
    decisions: Family<[(&'static str, &'static str); 2], Counter>,
    stages: Family<Label, Histogram>,
    commands: Family<Label, Counter>,
    command_time: Histogram,
    kills: Family<Label, Counter>,
    redactions: Counter,
    approvals: Family<Label, Counter>,
    waited: Histogram,
    sandboxes: Family<[(&'static str, &'static str); 2], Counter>,
    job_runs: Family<Label, Counter>,
    missed: Counter,
    uptime: Gauge,
    sessions: Gauge,
    running: Gauge,
    pending: Gauge,
    jobs: Family<Label, Gauge>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("execward");
        let mut pulse = Self {
            begun: Instant::now(),
            started: Timestamp::now(),
            events: broadcast::Sender::new(BEHIND),
            registry: Registry::default(),
            decisions: Family::default(),
            stages: Family::new_with_constructor(|| Histogram::new(QUICK)),
            commands: Family::default(),
            command_time: Histogram::new(SLOW),
            kills: Family::default(),
            redactions: Counter::default(),
            approvals: Family::default(),
            waited: Histogram::new(SLOW),
            sandboxes: Family::default(),
            job_runs: Family::default(),
            missed: Counter::default(),
            uptime: Gauge::default(),
            sessions: Gauge::default(),
            running: Gauge::default(),
            pending: Gauge::default(),
            jobs: Family::default(),
        };
        let seconds = || Unit::Seconds;
        registry.register(
            "decisions",
            "Requests decided, by what the gate said and what became of them",
            pulse.decisions.clone(),
        );
        registry.register_with_unit(
            "stage",
            "How long a step of the pipeline took",
            seconds(),
            pulse.stages.clone(),
        );
        registry.register("commands_ended", "Commands that ended, by how", pulse.commands.clone());
        registry.register_with_unit(
            "command",
            "How long commands ran",
            seconds(),
            pulse.command_time.clone(),
        );
        registry.register("kills", "Commands that execward ended, by why", pulse.kills.clone());
        registry.register("redactions", "Places masked in the output of commands", pulse.redactions.clone());
        registry.register("approvals", "Questions that wait no longer, by why", pulse.approvals.clone());
        registry.register_with_unit(
            "approval_wait",
            "How long questions waited",
            seconds(),
            pulse.waited.clone(),
        );
        registry.register(
            "sandbox_starts",
            "Sandboxes that were built, or could not be, by backend",
            pulse.sandboxes.clone(),
        );
        registry.register("job_runs", "Runs of jobs that ended, by how", pulse.job_runs.clone());
        registry.register("events_missed", "Events that readers were too slow for", pulse.missed.clone());
        registry.register_with_unit(
            "uptime",
            "How long the daemon has served",
            seconds(),
            pulse.uptime.clone(),
        );
        registry.register("sessions", "Sessions that are open", pulse.sessions.clone());
        registry.register("commands_running", "Commands that have not ended", pulse.running.clone());
        registry.register("approvals_pending", "Questions that wait", pulse.pending.clone());
        registry.register("jobs", "Jobs, by how they are", pulse.jobs.clone());
        pulse.registry = registry;
        pulse
    }

    pub(super) fn uptime(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Events from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Arc<Happened>> {
        self.events.subscribe()
    }

    /// Tells whoever listens. What it takes to say it is done only where somebody does.
    pub(super) fn tell(&self, what: impl FnOnce() -> Happening) {
        if self.events.receiver_count() > 0 {
            let happened = Happened { time: Timestamp::now().to_string(), what: what() };
            // The last one may have gone meanwhile.
            let _ = self.events.send(Arc::new(happened));
        }
    }

    /// A reader was too slow.
    pub(super) fn missed(&self, count: u64) {
        self.missed.inc_by(count);
    }

    pub(super) fn took(&self, stage: Stage, time: Duration) {
        self.stages.get_or_create(&[("stage", stage.name())]).observe(time.as_secs_f64());
    }

    /// A decision is on record.
    pub(super) fn decided(&self, decision: &Decision, redactor: &Redactor) {
        let outcome = match decision.outcome {
            record::Outcome::Run => "run",
            record::Outcome::Denied => "denied",
            record::Outcome::Refused => "refused",
            record::Outcome::Unanswered => "unanswered",
            record::Outcome::Failed => "failed",
        };
        let verdict = decision.verdict.name();
        self.decisions.get_or_create(&[("verdict", verdict), ("outcome", outcome)]).inc();
        self.tell(|| Happening::Decision {
            request: decision.id.clone(),
            session: decision.session.clone(),
            uid: decision.requester.uid,
            verdict: verdict.to_owned(),
            outcome: outcome.to_owned(),
            rules: decision.findings.iter().map(|finding| shown(&finding.rule, redactor)).collect(),
            command: shown(&decision.command.display(), redactor),
        });
    }

    /// A command has ended.
    pub(super) fn ended(&self, end: &record::End, session: Option<&String>) {
        let (how, said) = match &end.end {
            Some(End::Code { code }) => ("exited", format!("exited {code}")),
            Some(End::Signal { signal }) => ("signal", format!("signal {signal}")),
            Some(End::Killed { cause }) => {
                let cause = match cause {
                    Cause::Time => "time",
                    Cause::Idle => "idle",
                    Cause::Cancelled => "cancelled",
                    Cause::Orphaned => "orphaned",
                };
                self.kills.get_or_create(&[("cause", cause)]).inc();
                ("killed", format!("killed: {cause}"))
            }
            Some(End::NotExecuted { .. }) => ("not-executed", "not executed".to_owned()),
            None => ("lost", "lost".to_owned()),
        };
        self.commands.get_or_create(&[("how", how)]).inc();
        self.command_time.observe(Duration::from_micros(end.wall_us).as_secs_f64());
        self.redactions.inc_by(end.masked);
        self.tell(|| Happening::CommandEnded {
            request: end.id.clone(),
            session: session.cloned(),
            how: said,
            wall_ms: end.wall_us / 1000,
            masked: end.masked,
        });
    }

    /// A question waits no longer.
    pub(super) fn settled(&self, how: &'static str, waited: Duration) {
        self.approvals.get_or_create(&[("how", how)]).inc();
        self.waited.observe(waited.as_secs_f64());
    }

    /// A sandbox was built, or could not be.
    pub(super) fn sandbox(&self, backend: &'static str, built: bool, time: Duration) {
        let result = if built { "built" } else { "failed" };
        self.sandboxes.get_or_create(&[("backend", backend), ("result", result)]).inc();
        if built {
            self.took(Stage::Sandbox, time);
        }
    }

    /// A run of a job has ended.
    pub(super) fn job_ended(&self, state: &'static str) {
        self.job_runs.get_or_create(&[("state", state)]).inc();
    }

    /// How many decisions there were, by what became of the request.
    pub(super) fn decisions(&self) -> Vec<Count> {
        let count = |outcome: &'static str| {
            let verdicts = ["allow", "ask", "deny"];
            let all = verdicts.map(|verdict| {
                self.decisions.get(&[("verdict", verdict), ("outcome", outcome)]).map_or(0, |it| it.get())
            });
            Count { of: outcome.to_owned(), count: all.iter().sum() }
        };
        ["run", "denied", "refused", "unanswered", "failed"].map(count).into()
    }

    /// Everything, in the text format of OpenMetrics.
    pub(super) fn text(&self, now: &Now) -> String {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.uptime.set(whole(self.uptime().as_secs()));
        self.sessions.set(whole(now.sessions));
        self.running.set(whole(now.running));
        self.pending.set(whole(now.pending));
        let JobsStatus { all, running, overdue, failing, dead_letters } = now.jobs;
        for (how, count) in [
            ("all", all),
            ("running", running),
            ("overdue", overdue),
            ("failing", failing),
            ("dead-letters", dead_letters),
        ] {
            self.jobs.get_or_create(&[("how", how)]).set(whole(count));
        }
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Text of others, for an event.
fn shown(text: &str, redactor: &Redactor) -> String {
    let masked = redactor.text(text).0;
    let mut short: String = masked.chars().take(TEXT).collect();
    if short.len() < masked.len() {
        short.push_str("...");
    }
    gate::render(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_shows_in_the_text_and_a_slow_reader_is_told_what_it_missed() {
        let pulse = Pulse::new();
        pulse.took(Stage::Judge, Duration::from_millis(3));
        pulse.settled("answered", Duration::from_secs(2));
        pulse.sandbox("jail", true, Duration::from_millis(4));
        pulse.sandbox("docker", false, Duration::from_millis(4));
        let text = pulse.text(&Now { sessions: 3, ..Now::default() });
        for line in [
            "execward_stage_seconds_count{stage=\"judge\"} 1",
            "execward_stage_seconds_count{stage=\"sandbox\"} 1",
            "execward_approvals_total{how=\"answered\"} 1",
            "execward_sandbox_starts_total{backend=\"docker\",result=\"failed\"} 1",
            "execward_sessions 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        // Nobody listens: nothing is made.
        pulse.tell(|| unreachable!("nobody listens"));
        let mut reader = pulse.watch();
        for _ in 0..BEHIND + 10 {
            pulse.tell(|| Happening::Missed { count: 0 });
        }
        assert!(matches!(reader.try_recv(), Err(broadcast::error::TryRecvError::Lagged(10))));
        assert!(reader.try_recv().is_ok());
    }

    #[test]
    fn a_secret_and_a_control_character_are_not_told() {
        let redactor = Redactor::new(&crate::redact::Rules::builtin(), Vec::new());
        let secret = format!("ghp_{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56");
        let told = shown(&format!("echo {secret} \u{1b}[2J {}", "x".repeat(1000)), &redactor);
        assert!(!told.contains(&secret) && !told.contains('\u{1b}') && told.len() < 600, "{told}");
    }
}
