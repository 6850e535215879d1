//! The operator's console: the questions that wait, one of them in full, and keys to answer it; and what is under way, session by
//! session.
//!
//! It needs 80 columns, 24 lines and no colour. An answer goes to the question that is shown and to no other: the choice
//! stays with its question when others come and go, and when the chosen one goes away by itself, no key answers the next
//! one before there was time to see it.

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};

mod live;

use self::live::Live;
use super::approvals::{became, line, plain, preview, question};
use super::exit::Exit;
use super::screen::Screen;
use super::session::{Trouble, words};
use crate::client::{Client, ClientError};
use crate::wire::rpc::{
    AnswerApproval, AnswerKind, Approval, ApprovalId, Approvals, Event, Narrower, Nothing, Preview,
    PreviewApproval, Settled, Width, Words,
};

/// How long the daemon is listened to between two looks at the keyboard.
const TICK: Duration = Duration::from_millis(80);

/// How long a question must have been shown before a key answers it, where nobody chose it.
const SEEN: Duration = Duration::from_millis(700);

const KEYS: &str = "a once  n once, offline, read-only  s session  w always  d deny  arrows choose  PgUp/PgDn scroll  l live  q quit";

/// What the console shows.
#[derive(Debug, Default)]
struct Console {
    waiting: Vec<Approval>,
    chosen: Option<ApprovalId>,
    /// When the chosen one became so without a key.
    since: Option<Instant>,
    scroll: u16,
    asking: Asking,
    status: String,
    /// What is under way, where that is shown in place of the questions.
    live: Option<Live>,
}

/// What is being typed or confirmed.
#[derive(Debug, Default)]
enum Asking {
    #[default]
    Nothing,
    /// Words for the requester, with a no.
    Reason(String),
    /// Whether a standing grant is meant.
    Grant(AnswerKind, Width, Box<Preview>),
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
enum Act {
    Nothing,
    Quit,
    Answer(AnswerApproval),
    Look(AnswerKind, Width),
}

pub(super) fn watch(mut client: Client, screen: Screen) -> Result<Exit, Trouble> {
    let waiting: Approvals = client.ask("approval/watch", &Nothing {})?;
    let mut console = Console::default();
    for approval in waiting.approvals {
        console.put(approval);
    }
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return Err(format!("the terminal: {error}; --plain prints lines").into()),
    };
    let ended = run(&mut client, &mut console, &mut terminal);
    ratatui::restore();
    match ended {
        Ok(()) => Ok(Exit::SUCCESS),
        Err(Stopped::Client(error)) => Err(error.into()),
        Err(Stopped::Terminal(error)) => {
            screen.error(format_args!("the terminal: {error}"));
            Ok(Exit::USAGE)
        }
    }
}

enum Stopped {
    Client(ClientError),
    Terminal(io::Error),
}

impl From<ClientError> for Stopped {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

fn run(client: &mut Client, console: &mut Console, terminal: &mut DefaultTerminal) -> Result<(), Stopped> {
    loop {
        terminal.draw(|frame| console.draw(frame))?;
        while event::poll(Duration::ZERO)? {
            let Input::Key(key) = event::read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            let act = match (key.code, key.modifiers) {
                (KeyCode::Char('c'), KeyModifiers::CONTROL) => Act::Quit,
                (code, _) => console.key(code),
            };
            match act {
                Act::Nothing => {}
                Act::Quit => return Ok(()),
                Act::Look(answer, width) => console.look(client, answer, width)?,
                Act::Answer(answer) => {
                    // Others may have been faster: that is no end of the console.
                    match client.call(&answer) {
                        Ok(_) => {}
                        Err(ClientError::Refused(error)) => console.status = line(&error.to_string()),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            terminal.draw(|frame| console.draw(frame))?;
        }
        if let Some(live) = &mut console.live {
            live.look(client)?;
        }
        match client.event(Some(TICK))? {
            Some(Event::Pending(pending)) => console.put(pending.0),
            Some(Event::Settled(settled)) => console.settle(&settled.approval, &settled.settled),
            _ => {}
        }
    }
}

impl Console {
    fn put(&mut self, approval: Approval) {
        if self.waiting.iter().any(|other| other.approval == approval.approval) {
            return;
        }
        self.waiting.push(approval);
        if self.chosen.is_none() {
            self.choose(0, false);
        }
    }

    fn settle(&mut self, id: &ApprovalId, settled: &Settled) {
        let Some(at) = self.waiting.iter().position(|approval| approval.approval == *id) else { return };
        let gone = self.waiting.remove(at);
        self.status = format!("{}: {}", line(&gone.display), became(settled));
        if self.chosen.as_ref() == Some(id) {
            self.chosen = None;
            self.choose(at.min(self.waiting.len().saturating_sub(1)), false);
        }
    }

    fn choose(&mut self, at: usize, by_key: bool) {
        self.chosen = self.waiting.get(at).map(|approval| approval.approval.clone());
        self.since = (!by_key).then(Instant::now);
        self.scroll = 0;
        self.asking = Asking::Nothing;
    }

    fn at(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.waiting.iter().position(|approval| approval.approval == *chosen)
    }

    fn look(&mut self, client: &mut Client, answer: AnswerKind, width: Width) -> Result<(), ClientError> {
        let Some(approval) = self.chosen.clone() else { return Ok(()) };
        match client.call(&PreviewApproval { approval, answer, width }) {
            Ok(preview) => {
                self.scroll = 0;
                self.asking = Asking::Grant(answer, width, Box::new(preview));
            }
            Err(ClientError::Refused(error)) => self.status = line(&error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn key(&mut self, code: KeyCode) -> Act {
        if let Some(live) = &mut self.live {
            match code {
                KeyCode::Char('q') => return Act::Quit,
                // No other key: nothing is answered that is not seen.
                KeyCode::Char('l') | KeyCode::Esc => self.leave_live(),
                code => live.key(code),
            }
            return Act::Nothing;
        }
        match std::mem::take(&mut self.asking) {
            Asking::Reason(text) => return self.reason(text, code),
            Asking::Grant(answer, width, preview) => return self.confirm(answer, width, preview, code),
            Asking::Nothing => {}
        }
        let at = self.at();
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Act::Quit,
            KeyCode::Down | KeyCode::Char('j') => {
                self.choose(at.map_or(0, |at| (at + 1).min(self.waiting.len() - 1)), true);
            }
            KeyCode::Up | KeyCode::Char('k') => self.choose(at.map_or(0, |at| at.saturating_sub(1)), true),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(8),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(8),
            KeyCode::Char('l') => self.live = Some(Live::default()),
            KeyCode::Char(letter) => return self.letter(letter),
            _ => {}
        }
        Act::Nothing
    }

    /// Goes back to the questions: the one that is shown then has not been seen yet.
    fn leave_live(&mut self) {
        self.live = None;
        self.since = Some(Instant::now());
    }

    fn letter(&mut self, letter: char) -> Act {
        let Some(approval) = self.at().and_then(|at| self.waiting.get(at)) else { return Act::Nothing };
        if self.since.is_some_and(|since| since.elapsed() < SEEN) {
            self.status = "another question is shown now: look at it first".to_owned();
            return Act::Nothing;
        }
        let id = approval.approval.clone();
        let open = |kind| approval.answers.contains(&kind);
        match letter {
            'a' => Act::Answer(plain(id, AnswerKind::Once)),
            'n' => {
                let narrower = Some(Narrower { offline: true, read_only: true, ..Narrower::default() });
                Act::Answer(AnswerApproval { narrower, ..plain(id, AnswerKind::Once) })
            }
            's' if open(AnswerKind::Session) => Act::Look(AnswerKind::Session, Width::Exact),
            'w' if open(AnswerKind::Always) => Act::Look(AnswerKind::Always, Width::Exact),
            's' | 'w' => {
                self.status = "that answer is not open for this question".to_owned();
                Act::Nothing
            }
            'd' => {
                self.asking = Asking::Reason(String::new());
                Act::Nothing
            }
            _ => Act::Nothing,
        }
    }

    /// Types the words for the requester.
    fn reason(&mut self, mut text: String, code: KeyCode) -> Act {
        match code {
            KeyCode::Esc => return Act::Nothing,
            KeyCode::Enter => {
                let Some(id) = self.chosen.clone() else { return Act::Nothing };
                let reason = Some(text).filter(|text| !text.trim().is_empty());
                return match reason.map(words).transpose() {
                    Ok(reason) => Act::Answer(AnswerApproval { reason, ..plain(id, AnswerKind::Deny) }),
                    Err(error) => {
                        self.status = error;
                        Act::Nothing
                    }
                };
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) if text.len() + letter.len_utf8() <= Words::MAX => text.push(letter),
            _ => {}
        }
        self.asking = Asking::Reason(text);
        Act::Nothing
    }

    /// Takes the yes to what a standing grant would stand for.
    fn confirm(&mut self, answer: AnswerKind, width: Width, preview: Box<Preview>, code: KeyCode) -> Act {
        let other = if width == Width::Exact { Width::Paths } else { Width::Exact };
        match code {
            KeyCode::Char('y') => {
                let Some(id) = self.chosen.clone() else { return Act::Nothing };
                let seen = words(preview.seen).ok();
                return Act::Answer(AnswerApproval { width, seen, ..plain(id, answer) });
            }
            KeyCode::Char('p') => {
                self.asking = Asking::Grant(answer, width, preview);
                return Act::Look(answer, other);
            }
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(8),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(8),
            _ => return Act::Nothing,
        }
        self.asking = Asking::Grant(answer, width, preview);
        Act::Nothing
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        if let Some(live) = &self.live {
            return live.draw(frame, self.waiting.len());
        }
        let rows = u16::try_from(self.waiting.len()).unwrap_or(u16::MAX).clamp(1, (area.height / 4).max(1));
        let [list, detail, status, keys] = Layout::vertical([
            Constraint::Length(rows + 1),
            Constraint::Min(3),
            Constraint::Length(1),
            Constraint::Length(2),
        ])
        .areas(area);
        frame.render_widget(self.list(usize::from(rows)), list);
        let (title, text) = self.detail();
        let text: Vec<Line<'_>> = text.lines().map(Line::raw).collect();
        let text = Paragraph::new(text)
            .wrap(Wrap { trim: false })
            .scroll((self.scroll, 0))
            .block(Block::new().borders(Borders::TOP).title(title));
        frame.render_widget(text, detail);
        frame.render_widget(Paragraph::new(self.status.as_str()), status);
        frame.render_widget(Paragraph::new(self.keys()).wrap(Wrap { trim: true }), keys);
    }

    fn list(&self, rows: usize) -> Paragraph<'_> {
        let mut lines = vec![Line::raw(format!("execward: {} waiting", self.waiting.len()))];
        let chosen = self.at().unwrap_or(0);
        // The chosen one is always among those that are shown.
        let first = chosen.saturating_sub(rows.saturating_sub(1));
        for (index, approval) in self.waiting.iter().enumerate().skip(first).take(rows) {
            let same = self.waiting.iter().filter(|other| other.asks_the_same(approval)).count();
            let same = if same > 1 { format!(" [{same} alike]") } else { String::new() };
            let mark = if index == chosen { '>' } else { ' ' };
            let text =
                format!("{mark} {}{same}  {}", line(&approval.principal.name), line(&approval.display));
            let style =
                if index == chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            lines.push(Line::styled(text, style));
        }
        Paragraph::new(lines)
    }

    fn detail(&self) -> (&'static str, String) {
        match (&self.asking, self.at().and_then(|at| self.waiting.get(at))) {
            (Asking::Grant(_, _, seen), _) => (" a standing grant ", preview(seen)),
            (_, Some(approval)) => {
                let more = self.waiting.iter().filter(|other| other.asks_the_same(approval)).count() - 1;
                (" the question ", question(approval, more))
            }
            (_, None) => (" nothing waits ", String::new()),
        }
    }

    fn keys(&self) -> String {
        match &self.asking {
            Asking::Nothing => KEYS.to_owned(),
            Asking::Reason(text) => format!("why not (Enter sends, Esc goes back): {}_", line(text)),
            Asking::Grant(..) => {
                "y give this grant  p other paths or only this  PgUp/PgDn scroll  any other key goes back"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests;
