//! `execward status`: how the daemon is, and what happens in it.

use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use super::session::{At, Trouble, done};
use crate::client::Client;
use crate::wire::rpc::{Done, Event, Happened, Happening, Nothing, Separation, Sessions, Socket, Status};

/// How the daemon is.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: At,
    /// Go on, and print what happens; for auditors
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn status(arguments: &Arguments, screen: Screen) -> Exit {
    done(ask(arguments, screen), screen)
}

fn ask(Arguments { at, follow }: &Arguments, screen: Screen) -> Result<Exit, Trouble> {
    let mut client = at.connect(Socket::Operator)?;
    let status: Status = client.ask("status/show", &Nothing {})?;
    let sessions: Sessions = client.ask("session/list", &Nothing {})?;
    let exit = if at.json {
        let line = serde_json::to_string(&status).unwrap_or_default() + "\n";
        print(screen, &line, Exit::SUCCESS)
    } else {
        print(screen, &words(&status, &sessions), Exit::SUCCESS)
    };
    if !follow || exit != Exit::SUCCESS {
        return Ok(exit);
    }
    self::follow(&mut client, at.json, screen)
}

fn follow(client: &mut Client, json: bool, screen: Screen) -> Result<Exit, Trouble> {
    let _: Done = client.ask("event/watch", &Nothing {})?;
    loop {
        let Some(Event::Happened(happened)) = client.event(Some(Duration::from_secs(3600)))? else {
            continue;
        };
        let line = if json { serde_json::to_string(&happened).unwrap_or_default() } else { line(&happened) };
        let exit = print(screen, &(line + "\n"), Exit::SUCCESS);
        if exit != Exit::SUCCESS {
            return Ok(exit);
        }
    }
}

fn words(status: &Status, sessions: &Sessions) -> String {
    let separation = match status.separation {
        Separation::None => "none: agents and those who approve are one user",
        _ => "by user id",
    };
    let decisions: Vec<String> =
        status.decisions.iter().map(|count| format!("{} {}", count.count, count.of)).collect();
    let engine = match &status.engine {
        None => "none".to_owned(),
        Some(engine) => match &engine.error {
            None => format!("{}, answers", shown(&engine.socket)),
            Some(error) => format!("{}: {}", shown(&engine.socket), shown(error)),
        },
    };
    let jobs = &status.jobs;
    let mut text = format!(
        "execward {}, process {}, since {} ({})\n",
        status.version,
        status.pid,
        status.started,
        lasted(status.uptime_ms)
    );
    for (name, what) in [
        ("separation", separation.to_owned()),
        ("policy", shown(&status.policy)),
        ("decisions", decisions.join(", ")),
        ("sessions", format!("{}, with {} commands running", status.sessions, status.running)),
        ("approvals", format!("{} pending", status.pending)),
        (
            "jobs",
            format!(
                "{}: {} running, {} overdue, {} failing, {} dead letters",
                jobs.all, jobs.running, jobs.overdue, jobs.failing, jobs.dead_letters
            ),
        ),
        ("engine", engine),
    ] {
        text.push_str(&format!("{name:11} {what}\n"));
    }
    for session in &sessions.sessions {
        text.push_str(&format!(
            "  {} {} {} running {}\n",
            session.session,
            shown(&session.principal.name),
            session.running,
            shown(&session.workspace)
        ));
    }
    text
}

fn lasted(ms: u64) -> String {
    let minutes = ms / 60_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", ms / 1000),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn line(happened: &Happened) -> String {
    let what = match &happened.what {
        Happening::Decision { request, uid, outcome, rules, command, .. } => {
            format!("{outcome} uid {uid} {request} [{}] {}", rules.join(" "), command)
        }
        Happening::CommandEnded { request, how, wall_ms, masked, .. } => {
            format!("ended {request} {how} after {wall_ms} ms, {masked} masked")
        }
        Happening::SessionOpened { session, uid, workspace } => {
            format!("opened {session} uid {uid} {workspace}")
        }
        Happening::SessionClosed { session } => format!("closed {session}"),
        Happening::ApprovalPending { approval, session, uid } => {
            format!("asks {approval} uid {uid} {session}")
        }
        Happening::ApprovalSettled { approval, how, waited_ms } => {
            format!("settled {approval} {how} after {waited_ms} ms")
        }
        Happening::Missed { count } => format!("missed {count}: more happened than was read"),
    };
    format!("{} {}", shown(&happened.time), shown(&what))
}
