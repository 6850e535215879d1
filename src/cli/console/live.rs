//! What is under way: every session, and the commands in it that have not ended.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::cli::approvals::line;
use crate::client::{Client, ClientError};
use crate::wire::rpc::{Exec, Execs, Nothing, OfSession, Session, Sessions, State};

/// How old what is shown may be.
const FRESH: Duration = Duration::from_secs(1);

/// Sessions whose commands are asked for: more than fit on a screen, and few enough to be asked for in a moment.
const MOST: usize = 64;

const KEYS: &str = "arrows and PgUp/PgDn scroll  l or Esc back to the questions  q quit";

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Live {
    sessions: Vec<(Session, Commands)>,
    /// Sessions that are there besides.
    more: usize,
    /// When that was so.
    at: Option<Instant>,
    scroll: u16,
}

/// The commands of a session that have not ended, or why they are not shown.
type Commands = Result<Vec<Exec>, String>;

impl Live {
    /// Asks the daemon, unless that was a moment ago.
    pub(super) fn look(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(());
        }
        let Sessions { sessions } = client.ask("session/list", &Nothing {})?;
        let mut seen = Vec::new();
        self.more = sessions.len().saturating_sub(MOST);
        for session in sessions.into_iter().take(MOST) {
            let commands =
                match client.ask("exec/list", &OfSession { session: Some(session.session.clone()) }) {
                    Ok(Execs { execs }) => Ok(execs),
                    // It has been closed meanwhile, or its commands are not for whoever looks.
                    Err(ClientError::Refused(error)) => Err(error.to_string()),
                    Err(error) => return Err(error),
                };
            seen.push((session, commands));
        }
        self.put(seen);
        Ok(())
    }

    pub(super) fn put(&mut self, seen: Vec<(Session, Commands)>) {
        let under_way =
            |commands: Vec<Exec>| commands.into_iter().filter(|exec| exec.state != State::Ended).collect();
        self.sessions =
            seen.into_iter().map(|(session, commands)| (session, commands.map(under_way))).collect();
        self.at = Some(Instant::now());
    }

    pub(super) fn key(&mut self, code: KeyCode) {
        let by = match code {
            KeyCode::PageDown | KeyCode::PageUp => 8,
            _ => 1,
        };
        match code {
            KeyCode::Down | KeyCode::Char('j') | KeyCode::PageDown => {
                let last = u16::try_from(self.lines().len().saturating_sub(1)).unwrap_or(u16::MAX);
                self.scroll = self.scroll.saturating_add(by).min(last);
            }
            KeyCode::Up | KeyCode::Char('k') | KeyCode::PageUp => {
                self.scroll = self.scroll.saturating_sub(by);
            }
            _ => {}
        }
    }

    /// `waiting`: how many questions there are meanwhile.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, waiting: usize) {
        let [list, status, keys] =
            Layout::vertical([Constraint::Min(3), Constraint::Length(1), Constraint::Length(1)])
                .areas(frame.area());
        let title = if self.at.is_some() { " under way " } else { " a moment " };
        let lines: Vec<Line<'_>> = self.lines().into_iter().map(Line::raw).collect();
        let text = Paragraph::new(lines)
            .scroll((self.scroll, 0))
            .block(Block::new().borders(Borders::TOP).title(title));
        frame.render_widget(text, list);
        let said = match waiting {
            0 => String::new(),
            waiting => format!("{waiting} waiting for an answer"),
        };
        frame.render_widget(Paragraph::new(said), status);
        frame.render_widget(Paragraph::new(KEYS), keys);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.sessions.is_empty() && self.at.is_some() {
            lines.push("no session is open".to_owned());
        }
        for (session, commands) in &self.sessions {
            let mut head = format!(
                "{}  {}  {}, {} under way, {} so far, since {}",
                session.session,
                line(&session.principal.name),
                line(&session.workspace),
                session.running,
                session.started,
                line(&session.opened)
            );
            if let Some(label) = &session.label {
                // Its own words, and so marked.
                let _ = write!(head, ", called \"{}\"", line(label));
            }
            lines.push(head);
            match commands {
                Ok(commands) => lines.extend(commands.iter().map(command)),
                Err(why) => lines.push(format!("    {}", line(why))),
            }
        }
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        lines
    }
}

fn command(exec: &Exec) -> String {
    let state = match exec.state {
        State::Waiting => "waits",
        State::Running => "runs",
        State::Ended => "ended",
    };
    let behind = if exec.background { " behind" } else { "" };
    format!("    {state}{behind} since {}  {}", line(&exec.started), line(&exec.command))
}
