//! `execward approvals` and `execward grant`: the operator's answers, and those that stand.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use clap::Subcommand;

use super::exit::Exit;
use super::run::listed;
use super::screen::{Screen, print, shown};
use super::session::{At, Trouble, done, words};
use crate::approval::{described, marked};
use crate::client::Client;
use crate::policy::parse_duration;
use crate::wire::rpc::{
    AnswerApproval, AnswerKind, Approval, ApprovalId, Approvals, Bounded, Event, Grant as GrantInfo, GrantId,
    GrantTime, ListGrants, Narrower, Nothing, OfGrant, Preview, PreviewApproval, Separation, Settled, Socket,
    Width,
};

/// Questions that wait for a person.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Show what waits
    List {
        #[command(flatten)]
        at: At,
    },
    /// Show what waits, and then what comes
    ///
    /// On a terminal it is a console in which the questions are answered. Everything in it works by keys and without
    /// colour. With --plain, or where stdout is no terminal, questions are printed in lines, one after another.
    Watch {
        #[command(flatten)]
        at: At,
        /// Lines in place of a console: for screen readers, for logs
        #[arg(long)]
        plain: bool,
    },
    /// Show one question in full, and what a standing answer would stand for
    Show {
        #[command(flatten)]
        at: At,
        /// Which
        approval: String,
    },
    /// Let it run: this once, or it and its like from now on
    Approve {
        #[command(flatten)]
        at: At,
        /// Which
        approval: String,
        /// And commands like it until its session ends
        #[arg(long, conflicts_with = "always")]
        session: bool,
        /// And commands like it until the grant expires
        #[arg(long)]
        always: bool,
        /// Like it are also those with other paths below the workspace
        #[arg(long)]
        paths: bool,
        /// How long the grant stands (1h, 24h)
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        expires: Option<Duration>,
        /// End it after this long
        #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["session", "always"])]
        timeout: Option<Duration>,
        /// Let it reach nothing: no network, not even its session's loopback
        #[arg(long, conflicts_with_all = ["session", "always"])]
        offline: bool,
        /// Let it change nothing in the workspace
        #[arg(long, conflicts_with_all = ["session", "always"])]
        read_only: bool,
        /// Let this one command reach this host, by a proxy that nothing else of its session has (pypi.org:443)
        #[arg(long = "host", value_name = "HOST:PORT", conflicts_with_all = ["session", "always", "offline"])]
        hosts: Vec<String>,
        /// Do not ask again after showing what the grant stands for
        #[arg(long)]
        yes: bool,
    },
    /// Refuse it
    Deny {
        #[command(flatten)]
        at: At,
        /// Which
        approval: String,
        /// Why, for the requester
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Standing grants.
#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// List those that stand
    List {
        #[command(flatten)]
        at: At,
        /// Those that are over as well
        #[arg(long)]
        all: bool,
    },
    /// Show one in full
    Show {
        #[command(flatten)]
        at: At,
        /// Which
        grant: String,
    },
    /// Take one back: from now on it lets nothing run
    Revoke {
        #[command(flatten)]
        at: At,
        /// Which
        grant: String,
    },
}

pub(super) fn approvals(arguments: Ask, screen: Screen) -> Exit {
    done(do_approvals(arguments, screen), screen)
}

fn do_approvals(arguments: Ask, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Ask::List { at } => {
            let waiting: Approvals = at.connect(Socket::Operator)?.ask("approval/list", &Nothing {})?;
            Ok(at.say(&waiting, |waiting| grouped(&waiting.approvals), screen))
        }
        Ask::Watch { at, plain } => {
            let console =
                !plain && !at.json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
            let client = at.connect(Socket::Operator)?;
            if console { super::console::watch(client, screen) } else { watch(&at, client, screen) }
        }
        Ask::Show { at, approval } => {
            let id = approval_id(approval)?;
            let mut client = at.connect(Socket::Operator)?;
            let waiting: Approvals = client.ask("approval/list", &Nothing {})?;
            let found = waiting.approvals.into_iter().find(|waiting| waiting.approval == id);
            let found =
                found.ok_or_else(|| "there is no such question, or it has been settled".to_owned())?;
            let mut text = question(&found, 0);
            if found.answers.contains(&AnswerKind::Session) {
                let look = PreviewApproval { approval: id, answer: AnswerKind::Session, width: Width::Exact };
                text.push_str(&preview(&client.call(&look)?));
            }
            Ok(at.say(&found, |_| text, screen))
        }
        Ask::Approve {
            at,
            approval,
            session,
            always,
            paths,
            expires,
            timeout,
            offline,
            read_only,
            hosts,
            yes,
        } => {
            let approval = approval_id(approval)?;
            let hosts: Result<Vec<_>, _> = hosts.into_iter().map(words).collect();
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let standing = session || always;
            if !standing && (paths || expires.is_some()) {
                return Err("--paths and --expires go with --session or --always".to_owned().into());
            }
            let narrower =
                Narrower { timeout_ms: timeout.map(|time| Bounded::clamped(ms(time))), offline, read_only };
            let mut answer = AnswerApproval {
                narrower: Some(narrower).filter(|narrower| *narrower != Narrower::default()),
                hosts: hosts?,
                width: if paths { Width::Paths } else { Width::Exact },
                expires_ms: expires.map(|time| GrantTime::clamped(ms(time))),
                ..plain(approval, if always { AnswerKind::Always } else { AnswerKind::Once })
            };
            if session {
                answer.answer = AnswerKind::Session;
            }
            let mut client = at.connect(Socket::Operator)?;
            if standing {
                let (approval, width) = (answer.approval.clone(), answer.width);
                let seen = client.call(&PreviewApproval { approval, answer: answer.answer, width })?;
                screen.plain(preview(&seen));
                if !yes && !confirmed(screen)? {
                    screen.note("nothing was answered");
                    return Ok(Exit::NO);
                }
                answer.seen = Some(words(seen.seen)?);
            }
            let answered = client.call(&answer)?;
            Ok(at.say(&answered, |_| String::new(), screen))
        }
        Ask::Deny { at, approval, reason } => {
            let reason = reason.map(words).transpose()?;
            let answer = AnswerApproval { reason, ..plain(approval_id(approval)?, AnswerKind::Deny) };
            let answered = at.connect(Socket::Operator)?.call(&answer)?;
            Ok(at.say(&answered, |_| String::new(), screen))
        }
    }
}

/// An answer with nothing beside it.
pub(super) fn plain(approval: ApprovalId, answer: AnswerKind) -> AnswerApproval {
    AnswerApproval {
        approval,
        answer,
        reason: None,
        width: Width::Exact,
        expires_ms: None,
        seen: None,
        narrower: None,
        hosts: Vec::new(),
    }
}

/// Asks whether what was shown is meant. No terminal, no yes.
fn confirmed(screen: Screen) -> Result<bool, Trouble> {
    if !std::io::stdin().is_terminal() {
        return Err("without a terminal to ask on, say --yes".to_owned().into());
    }
    screen.plain("Give this grant? [y/N] ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn watch(at: &At, mut client: Client, screen: Screen) -> Result<Exit, Trouble> {
    let waiting: Approvals = client.ask("approval/watch", &Nothing {})?;
    let mut printed = at.say(&waiting, |waiting| grouped(&waiting.approvals), screen);
    while printed == Exit::SUCCESS {
        printed = match client.event(Some(Duration::from_secs(3600)))? {
            Some(Event::Pending(pending)) => at.say(&pending, |pending| question(&pending.0, 0), screen),
            Some(Event::Settled(settled)) => {
                let line = |settled: &crate::wire::rpc::SettledEvent| {
                    format!("{}  {}\n", settled.approval, became(&settled.settled))
                };
                at.say(&settled, line, screen)
            }
            _ => Exit::SUCCESS,
        };
    }
    Ok(printed)
}

/// What became of a question.
pub(super) fn became(settled: &Settled) -> String {
    match settled {
        Settled::Answered { answer: AnswerKind::Deny, by } => format!("denied by {}", shown(&by.name)),
        Settled::Answered { answer: AnswerKind::Session, by } => {
            format!("approved for the session by {}", shown(&by.name))
        }
        Settled::Answered { answer: AnswerKind::Always, by } => {
            format!("approved for good by {}", shown(&by.name))
        }
        Settled::Answered { by, .. } => format!("approved by {}", shown(&by.name)),
        Settled::Expired => "expired: nobody answered".to_owned(),
        Settled::Withdrawn => "withdrawn".to_owned(),
    }
}

/// Questions in lines; those that ask the same are one, which is the oldest.
fn grouped(approvals: &[Approval]) -> String {
    let mut out = String::new();
    for (index, approval) in approvals.iter().enumerate() {
        if approvals.iter().take(index).any(|before| before.asks_the_same(approval)) {
            continue;
        }
        let more = approvals.iter().filter(|other| other.asks_the_same(approval)).count() - 1;
        out.push_str(&question(approval, more));
    }
    out
}

/// A question in lines. What came from the requester is escaped, and what it says of itself is quoted as its words.
pub(super) fn question(approval: &Approval, more: usize) -> String {
    let mut out = format!(
        "\n{}  asked by {} (uid {}), until {}\n\n",
        approval.approval,
        shown(&approval.principal.name),
        approval.principal.uid,
        shown(&approval.expires)
    );
    out.push_str(&marked(&approval.command, &approval.findings));
    out.push_str(&listed(&approval.findings, true));
    let _ = writeln!(out, "  in {}, workspace {}", shown(&approval.cwd), shown(&approval.workspace));
    for script in &approval.scripts {
        let digest = script.sha256.get(..16).unwrap_or_default();
        let _ = writeln!(
            out,
            "  script {} ({} bytes, sha256 {digest}..) runs as it is now, or not at all; what it reads or starts is not held",
            shown(&script.path),
            script.size
        );
    }
    if let Some(label) = &approval.label {
        let _ = writeln!(out, "  the agent calls its session \"{}\"", shown(label));
    }
    if approval.separation == Separation::None {
        let _ = writeln!(out, "  separation: none: this requester could answer for itself");
    }
    if more > 0 {
        let _ = writeln!(out, "  {more} more wait that ask the same, each for an answer of its own");
    }
    let _ = writeln!(out, "  execward approvals approve {0} | deny {0}", approval.approval);
    out
}

/// What a standing answer would stand for, in lines.
pub(super) fn preview(preview: &Preview) -> String {
    let Preview { bound, expires_ms, excluded, past, past_in_all, looked_at, .. } = preview;
    let mut out = format!("\nA standing grant would cover:\n  {}\n", described(bound));
    let _ = writeln!(
        out,
        "  in {}, workspace {}, under {}",
        shown(&bound.cwd),
        shown(&bound.workspace),
        shown(&bound.backend)
    );
    let rules: Vec<String> = bound.rules.iter().map(|rule| shown(&rule.id)).collect();
    let _ = writeln!(out, "  while the rules that ask are no others than {}", rules.join(", "));
    for script in &bound.scripts {
        let _ = writeln!(out, "  while {} is as it is now", shown(&script.path));
    }
    let _ = writeln!(out, "  for {} where no other time is said", span(*expires_ms));
    let _ = writeln!(out, "Excluded stay:");
    for excluded in excluded {
        let _ = writeln!(out, "  {}", shown(excluded));
    }
    let _ =
        writeln!(out, "Of the last {looked_at} commands of this user it would have covered {past_in_all}:");
    for past in past {
        let _ = writeln!(
            out,
            "  {}  {}  {}  {}",
            past.seq,
            shown(&past.time),
            shown(&past.outcome),
            line(&past.command)
        );
    }
    out
}

/// One line of a text of others.
pub(super) fn line(text: &str) -> String {
    crate::gate::render(text)
}

fn span(ms: u64) -> String {
    let hours = ms / 3_600_000;
    match hours {
        0 => format!("{} min", ms / 60_000),
        1..48 => format!("{hours} h"),
        _ => format!("{} days", hours / 24),
    }
}

pub(super) fn grant(arguments: Grant, screen: Screen) -> Exit {
    done(do_grant(arguments, screen), screen)
}

fn do_grant(arguments: Grant, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Grant::List { at, all } => {
            let grants = at.connect(Socket::Operator)?.call(&ListGrants { all })?;
            Ok(at.say(&grants, |grants| grants.grants.iter().map(grant_line).collect(), screen))
        }
        Grant::Show { at, grant } => {
            let of = OfGrant { grant: grant_id(grant)? };
            let grant: GrantInfo = at.connect(Socket::Operator)?.ask("grant/show", &of)?;
            let text = serde_json::to_string_pretty(&grant).map_err(|error| error.to_string())?;
            // JSON escapes control characters; the rest is made safe to show here.
            let text = shown(&text) + "\n";
            Ok(if at.json {
                at.say(&grant, |_| String::new(), screen)
            } else {
                print(screen, &text, Exit::SUCCESS)
            })
        }
        Grant::Revoke { at, grant } => {
            let of = OfGrant { grant: grant_id(grant)? };
            let revoked: crate::wire::rpc::Done = at.connect(Socket::Operator)?.ask("grant/revoke", &of)?;
            Ok(at.say(&revoked, |_| String::new(), screen))
        }
    }
}

fn grant_line(grant: &GrantInfo) -> String {
    let scope = match grant.scope {
        crate::wire::rpc::Scope::Session => "session",
        crate::wire::rpc::Scope::Always => "always",
    };
    let over = grant
        .revoked
        .as_ref()
        .map(|revoked| format!("  revoked by {}", shown(&revoked.by)))
        .unwrap_or_default();
    format!(
        "{}  {scope:7}  uid {}  until {}  used {} times  by {}  {}{over}\n",
        grant.grant,
        grant.uid,
        shown(&grant.expires),
        grant.uses,
        shown(&grant.approver),
        described(&grant.bound),
    )
}

fn grant_id(text: String) -> Result<GrantId, String> {
    GrantId::try_from(text).map_err(|error| format!("the grant's id: {error}"))
}

pub(super) fn approval_id(text: String) -> Result<ApprovalId, String> {
    ApprovalId::try_from(text).map_err(|error| format!("the question's id: {error}"))
}
