use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::gate::Command;
use crate::wire::rpc::{ExecId, Principal, RequestId, Separation, SessionId};

fn approval(id: u8, text: &str) -> Approval {
    Approval {
        approval: ApprovalId::from_random([id; 16]),
        request_id: RequestId::from_random([id; 16]),
        principal: Principal { uid: 7, gid: 7, name: "ann\x1b[2J".into() },
        session: SessionId::from_random([1; 16]),
        label: Some("trust me \u{202e}".into()),
        id: ExecId::try_from("x".to_owned()).expect("a name"),
        command: Command::Shell(text.into()),
        display: text.into(),
        cwd: "/w".into(),
        workspace: "/w".into(),
        findings: Vec::new(),
        scripts: Vec::new(),
        separation: Separation::Uid,
        asked: "2026-01-01T00:00:00Z".into(),
        expires: "2026-01-01T00:01:00Z".into(),
        answers: vec![AnswerKind::Once, AnswerKind::Session, AnswerKind::Deny],
    }
}

fn screen(console: &Console) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
    terminal.draw(|frame| console.draw(frame)).expect("drawn");
    let buffer = terminal.backend().buffer().clone();
    let row = |row: u16| (0..80).map(|column| buffer[(column, row)].symbol().to_owned()).collect::<String>();
    (0..24).map(|at| row(at).trim_end().to_owned() + "\n").collect()
}

fn console(texts: &[&str]) -> Console {
    let mut console = Console::default();
    for (id, text) in texts.iter().enumerate() {
        console.put(approval(u8::try_from(id).expect("few"), text));
    }
    console.since = None;
    console
}

fn settled() -> Settled {
    Settled::Expired
}

#[test]
fn a_question_is_shown_in_80_by_24_with_nothing_that_deceives() {
    let console = console(&["rm -rf x \x1b[1m\u{200b}", "make"]);
    let screen = screen(&console);
    assert!(screen.contains("execward: 2 waiting"), "{screen}");
    assert!(screen.contains("rm -rf x \\u{1b}[1m\\u{200b}"), "{screen}");
    assert!(screen.contains("the agent calls its session"), "{screen}");
    assert!(screen.contains("a once"), "{screen}");
    assert!(
        !screen.chars().any(|c| (c.is_control() && c != '\n') || "\u{202e}\u{200b}".contains(c)),
        "{screen}"
    );
}

#[test]
fn an_answer_goes_to_the_question_that_was_chosen() {
    let mut console = console(&["one", "two", "three"]);
    assert_eq!(console.key(KeyCode::Down), Act::Nothing);
    console.settle(&ApprovalId::from_random([0; 16]), &settled());
    let Act::Answer(answer) = console.key(KeyCode::Char('a')) else { panic!("it answers") };
    assert_eq!(answer.approval, ApprovalId::from_random([1; 16]));
    // The chosen one goes away by itself: no key in flight answers the next.
    console.settle(&ApprovalId::from_random([1; 16]), &settled());
    assert_eq!(console.key(KeyCode::Char('a')), Act::Nothing);
    assert!(console.status.contains("look at it first"));
    console.since = None;
    let Act::Answer(answer) = console.key(KeyCode::Char('a')) else { panic!("it answers") };
    assert_eq!(answer.approval, ApprovalId::from_random([2; 16]));
    console.settle(&ApprovalId::from_random([2; 16]), &settled());
    assert_eq!(console.key(KeyCode::Char('a')), Act::Nothing, "nothing waits");
    assert_eq!(console.key(KeyCode::Down), Act::Nothing);
}

#[test]
fn a_no_takes_words_and_escape_takes_it_back() {
    let mut console = console(&["one"]);
    assert_eq!(console.key(KeyCode::Char('d')), Act::Nothing);
    for letter in "nox".chars() {
        assert_eq!(console.key(KeyCode::Char(letter)), Act::Nothing);
    }
    console.key(KeyCode::Backspace);
    assert!(screen(&console).contains("why not (Enter sends, Esc goes back): no_"));
    let Act::Answer(answer) = console.key(KeyCode::Enter) else { panic!("it answers") };
    assert_eq!((answer.answer, answer.reason.map(String::from).as_deref()), (AnswerKind::Deny, Some("no")));
    console.key(KeyCode::Char('d'));
    assert_eq!(console.key(KeyCode::Esc), Act::Nothing);
    assert!(matches!(console.asking, Asking::Nothing));
}

#[test]
fn a_standing_answer_is_open_only_where_the_daemon_says_so() {
    let mut console = console(&["one"]);
    assert_eq!(console.key(KeyCode::Char('s')), Act::Look(AnswerKind::Session, Width::Exact));
    assert_eq!(console.key(KeyCode::Char('w')), Act::Nothing);
    assert!(console.status.contains("not open"));
}

fn session(label: Option<&str>) -> crate::wire::rpc::Session {
    crate::wire::rpc::Session {
        session: SessionId::from_random([1; 16]),
        principal: Principal { uid: 7, gid: 7, name: "ann\x1b[2J".into() },
        workspace: "/srv/\u{202e}w".into(),
        cwd: "/srv/w".into(),
        label: label.map(str::to_owned),
        opened: "2026-01-01T00:00:00Z".into(),
        running: 1,
        started: 2,
        connections: 1,
        receipt: crate::wire::runner::Receipt::default(),
    }
}

fn command(text: &str, state: crate::wire::rpc::State) -> crate::wire::rpc::Exec {
    crate::wire::rpc::Exec {
        id: ExecId::try_from("x".to_owned()).expect("a name"),
        request_id: RequestId::from_random([2; 16]),
        command: text.into(),
        state,
        background: false,
        started: "2026-01-01T00:00:01Z".into(),
        last_seq: 0,
    }
}

#[test]
fn what_is_under_way_is_shown_by_session_and_no_key_there_answers_a_question() {
    use crate::wire::rpc::State;
    let mut console = console(&["one"]);
    assert_eq!(console.key(KeyCode::Char('l')), Act::Nothing);
    assert!(screen(&console).contains("a moment"), "{}", screen(&console));
    let live = console.live.as_mut().expect("it is shown");
    let commands = vec![
        command("make \x1b[2J all", State::Running),
        command("rm -rf x", State::Waiting),
        command("long ago", State::Ended),
    ];
    let closed = Err("there is no session with that name".to_owned());
    live.put(vec![(session(Some("trust me")), Ok(commands)), (session(None), closed)]);
    let shown = screen(&console);
    for part in
        ["runs since", "make \\u{1b}[2J all", "waits since", "rm -rf x", "there is no session", "1 waiting"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("long ago"), "{shown}");
    assert!(!shown.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{shown}");
    for key in ['a', 'n', 's', 'w', 'd', 'y'] {
        assert_eq!(console.key(KeyCode::Char(key)), Act::Nothing, "{key}");
    }
    // And the question that is there again has to be seen first.
    assert_eq!(console.key(KeyCode::Esc), Act::Nothing);
    assert!(screen(&console).contains("the question"));
    assert_eq!(console.key(KeyCode::Char('a')), Act::Nothing);
    console.since = None;
    assert!(matches!(console.key(KeyCode::Char('a')), Act::Answer(_)));
}
