//! `execward jobs`: what is scheduled, how it came out, and what could not be told.

use clap::Subcommand;

use super::exit::Exit;
use super::run::listed;
use super::screen::{Screen, shown};
use super::session::{At, Trouble, done, words};
use crate::gate::Decision;
use crate::wire::rpc::{
    AskedRun, Bounded, Job, JobHistory, JobLetters, JobRun, JobRuns, Jobs as All, Letter, ListLetters,
    Nothing, OfJob, SettleLetter, ShownJob, Socket, SwitchJob, TestedJob, WhichLetters,
};

/// Jobs of a daemon.
#[derive(Debug, Subcommand)]
pub(super) enum Jobs {
    /// List the jobs: when each is due, and how it came out last
    List {
        #[command(flatten)]
        at: At,
    },
    /// Show one in full, and what became of its last results
    Show {
        #[command(flatten)]
        at: At,
        /// Its name
        job: String,
    },
    /// Run one now, besides its schedule
    Run {
        #[command(flatten)]
        at: At,
        /// Its name
        job: String,
    },
    /// Show the last runs, newest first
    History {
        #[command(flatten)]
        at: At,
        /// Of this job alone
        job: Option<String>,
        /// How many
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        most: u64,
    },
    /// Have one run when it is due
    Enable {
        #[command(flatten)]
        at: At,
        /// Its name
        job: String,
    },
    /// Have one not run any more, until it is enabled
    Disable {
        #[command(flatten)]
        at: At,
        /// Its name
        job: String,
    },
    /// Say whether one would run, and tell each of its targets that this is a test
    Test {
        #[command(flatten)]
        at: At,
        /// Its name
        job: String,
    },
    /// Show what could not be delivered
    DeadLetters {
        #[command(flatten)]
        at: At,
        /// Try this one again
        #[arg(long, value_name = "DELIVERY", conflicts_with = "read")]
        retry: Option<String>,
        /// It has been read, and is not shown again
        #[arg(long, value_name = "DELIVERY")]
        read: Option<String>,
    },
    /// Show what was delivered to the operators' own list
    Inbox {
        #[command(flatten)]
        at: At,
        /// It has been read, and is not shown again
        #[arg(long, value_name = "DELIVERY")]
        read: Option<String>,
    },
}

pub(super) fn jobs(arguments: Jobs, screen: Screen) -> Exit {
    done(do_jobs(arguments, screen), screen)
}

fn do_jobs(arguments: Jobs, screen: Screen) -> Result<Exit, Trouble> {
    let of = |job: String| Ok::<_, String>(OfJob { job: words(job)? });
    match arguments {
        Jobs::List { at } => {
            let all: All = at.connect(Socket::Operator)?.ask("job/list", &Nothing {})?;
            Ok(at.say(&all, lines, screen))
        }
        Jobs::Show { at, job } => {
            let job: ShownJob = at.connect(Socket::Operator)?.ask("job/show", &of(job)?)?;
            Ok(at.say(&job, in_full, screen))
        }
        Jobs::Run { at, job } => {
            let run: AskedRun = at.connect(Socket::Operator)?.ask("job/run", &of(job)?)?;
            Ok(at.say(&run, |run| format!("run {}\n", run.run), screen))
        }
        Jobs::History { at, job, most } => {
            let asked = JobHistory { job: job.map(words).transpose()?, most: Bounded::clamped(most) };
            let runs: JobRuns = at.connect(Socket::Operator)?.call(&asked)?;
            Ok(at.say(&runs, |runs| runs.runs.iter().map(run_line).collect(), screen))
        }
        Jobs::Enable { at, job } => switch(&at, job, true, screen),
        Jobs::Disable { at, job } => switch(&at, job, false, screen),
        Jobs::Test { at, job } => {
            let tested: TestedJob = at.connect(Socket::Operator)?.ask("job/test", &of(job)?)?;
            let well = tested.runs && tested.targets.iter().all(|target| target.error.is_none());
            let said = at.say(&tested, tested_lines, screen);
            Ok(if well || said != Exit::SUCCESS { said } else { Exit::NO })
        }
        Jobs::DeadLetters { at, retry, read } => letters(&at, WhichLetters::Dead, retry, read, screen),
        Jobs::Inbox { at, read } => letters(&at, WhichLetters::Queue, None, read, screen),
    }
}

fn switch(at: &At, job: String, on: bool, screen: Screen) -> Result<Exit, Trouble> {
    let switched = at.connect(Socket::Operator)?.call(&SwitchJob { job: words(job)?, on })?;
    Ok(at.say(&switched, |_| String::new(), screen))
}

fn letters(
    at: &At,
    which: WhichLetters,
    retry: Option<String>,
    read: Option<String>,
    screen: Screen,
) -> Result<Exit, Trouble> {
    let mut client = at.connect(Socket::Operator)?;
    let again = retry.is_some();
    if let Some(delivery) = retry.or(read) {
        let settled = client.call(&SettleLetter { delivery: words(delivery)?, again })?;
        return Ok(at.say(&settled, |_| String::new(), screen));
    }
    let letters: JobLetters = client.call(&ListLetters { which })?;
    Ok(at.say(&letters, |letters| letters.letters.iter().map(letter_lines).collect(), screen))
}

fn lines(all: &All) -> String {
    let mut out: String = all.jobs.iter().map(job_line).collect();
    if all.dead_letters > 0 {
        out.push_str(&format!("{} could not be delivered: execward jobs dead-letters\n", all.dead_letters));
    }
    if all.unread > 0 {
        out.push_str(&format!("{} have not been read: execward jobs inbox\n", all.unread));
    }
    out
}

fn job_line(job: &Job) -> String {
    let last =
        job.last.as_ref().map_or("never ran".to_owned(), |last| format!("{} at {}", last.state, last.due));
    let next = match (&job.next, &job.disabled_by) {
        (Some(next), _) if job.overdue => format!("OVERDUE since {next}"),
        (Some(next), _) => format!("next {next}"),
        (None, Some(by)) => format!("switched off by {}", shown(by)),
        (None, None) if !job.enabled => "switched off in its file".to_owned(),
        (None, None) => "not due again".to_owned(),
    };
    format!(
        "{}  {}  {}  {next}  last {}\n",
        shown(&job.name),
        shown(&job.user),
        shown(&job.schedule),
        shown(&last)
    )
}

fn run_line(run: &JobRun) -> String {
    let count = if run.count > 1 { format!(" and {} more", run.count - 1) } else { String::new() };
    let attempt = if run.attempt > 1 { format!(" try {}", run.attempt) } else { String::new() };
    let by = run.asked_by.as_ref().map(|by| format!(" by {}", shown(by))).unwrap_or_default();
    let reason = if run.reason.is_empty() { String::new() } else { format!("  {}", shown(&run.reason)) };
    format!("{}  {}  {}  due {}{count}{attempt}{by}{reason}\n", run.run, shown(&run.job), run.state, run.due)
}

fn in_full(shown_job: &ShownJob) -> String {
    let ShownJob { job, command, workspace, grant, targets, letters } = shown_job;
    let mut out = job_line(job);
    for (name, value) in [
        ("for", &job.description),
        ("command", &command.display()),
        ("workspace", workspace),
        ("grant", &grant.join(", ")),
        ("tells", &targets.join("; ")),
    ] {
        if !value.is_empty() {
            out.push_str(&format!("  {name}: {}\n", shown(value)));
        }
    }
    if let Some(last) = &job.last {
        out.push_str(&format!("  last run: {}", run_line(last)));
    }
    for letter in letters {
        let error =
            if letter.error.is_empty() { String::new() } else { format!(": {}", shown(&letter.error)) };
        out.push_str(&format!(
            "  {} {} to {} (tried {} times){error}\n",
            letter.kind,
            letter.state,
            shown(&letter.target),
            letter.tries
        ));
    }
    out
}

fn letter_lines(letter: &Letter) -> String {
    let mut out = format!("{}  {}  {}\n", letter.delivery, letter.created, shown(&letter.headline));
    if !letter.error.is_empty() {
        out.push_str(&format!("  to {}: {}\n", shown(&letter.target), shown(&letter.error)));
    }
    for line in letter.output.lines().rev().take(10).collect::<Vec<_>>().into_iter().rev() {
        out.push_str(&format!("  | {}\n", shown(line)));
    }
    out
}

fn tested_lines(tested: &TestedJob) -> String {
    let runs = match (tested.runs, tested.decision) {
        (true, Decision::Allow) => "it would run",
        (true, _) => "it would run, by its grant",
        (false, _) => "it would be refused",
    };
    let mut out = format!("{runs}\n");
    if !tested.runs {
        out.push_str(&listed(&tested.findings, true));
    }
    for target in &tested.targets {
        let how =
            target.error.as_ref().map_or("told".to_owned(), |error| format!("NOT told: {}", shown(error)));
        out.push_str(&format!("{}: {how}\n", shown(&target.target)));
    }
    out
}
