//! The state machines of connections, sessions and commands, driven by bytes: what is sent, in which pieces, what the
//! runner says, who comes and goes. No process is started and no socket opened.
//!
//! The mechanism under test decides by the table of `wire::dialog`; beside it an oracle that knows no table says from plain
//! rules what must come out. The fuzz target `wire_dialog` and a property test share this file.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use execward::wire::dialog::{
    Calls, Command, Dialog, Facts, Found, Member, Phase, Register, Roster, Session, Step, UNASKED,
};
use execward::wire::rpc::{AgentCall, Code, Error, ExecId, OperatorCall, SessionId, StartExec, State};
use serde_json::{Value, json};

/// Commands of a session under way, and all that are kept: few, so that both ends are met.
const UNDER_WAY: usize = 3;
const KEPT: usize = 5;

/// Who connects: two of the first user, one of the second, and an operator.
const PEERS: [(u32, bool); 4] = [(1, false), (1, false), (2, false), (9, true)];

/// Descriptors that are open.
type Open = Rc<Cell<i64>>;

/// A descriptor.
#[derive(Debug)]
pub struct Fd(Open);

impl Fd {
    fn open(open: &Open) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A session without a sandbox.
#[derive(Debug)]
struct Room {
    id: SessionId,
    owner: u32,
    over: Cell<bool>,
    commands: RefCell<Roster<Running>>,
}

/// A command without a process.
#[derive(Debug)]
struct Exec {
    id: ExecId,
    asked: Vec<u8>,
    kind: Facts,
    state: Cell<State>,
}

#[derive(Debug, Clone)]
struct Place(Rc<Room>);

impl Session for Place {
    type Command = Running;

    fn owner(&self) -> u32 {
        self.0.owner
    }

    fn is_over(&self) -> bool {
        self.0.over.get()
    }

    fn command(&self, id: &ExecId) -> Option<Running> {
        self.0.commands.borrow().get(id)
    }
}

#[derive(Debug, Clone)]
struct Running(Rc<Exec>);

impl Command for Running {
    fn facts(&self) -> Facts {
        Facts { state: self.0.state.get(), ..self.0.kind }
    }
}

impl Member for Running {
    type Asked = Vec<u8>;

    fn asked(&self) -> Vec<u8> {
        self.0.asked.clone()
    }

    fn state(&self) -> State {
        self.0.state.get()
    }
}

enum Line {
    Agent(Dialog<AgentCall, Fd>),
    Operator(Dialog<OperatorCall, Fd>),
}

struct Peer {
    uid: u32,
    operator: bool,
    line: Line,
    opened: Vec<Place>,
    /// What the oracle knows of the connection.
    greeted: bool,
    ended: bool,
    unasked: u64,
}

impl Peer {
    fn new((uid, operator): (u32, bool)) -> Self {
        let line = if operator { Line::Operator(Dialog::default()) } else { Line::Agent(Dialog::default()) };
        Self { uid, operator, line, opened: Vec::new(), greeted: false, ended: false, unasked: 0 }
    }

    fn held(&self) -> usize {
        match &self.line {
            Line::Agent(dialog) => dialog.held(),
            Line::Operator(dialog) => dialog.held(),
        }
    }

    fn phase(&self) -> Phase {
        match &self.line {
            Line::Agent(dialog) => dialog.phase(),
            Line::Operator(dialog) => dialog.phase(),
        }
    }
}

/// What came of a line: `Ok`, or the code of the error and whether the connection ended with it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Ok,
    Refused(Code),
    Last(Code),
}

/// The session that a line names.
#[derive(Debug, Clone, Copy)]
enum Which {
    Unnamed,
    /// One of those that ever were, whosever.
    Known(usize),
    Invented,
}

/// A line, as the oracle understands it.
#[derive(Debug, Clone)]
enum Ask {
    Hello(u64),
    Open,
    Close(Which),
    List,
    Get(Which),
    Start(Which, usize, Start, usize),
    /// `exec/read`, `range`, `write`, `signal`, `resize`, `wait`, `kill`.
    About(usize, Which, usize),
    Execs(Which),
    Check(Which),
    Kill(Which),
    /// A method that the socket has not.
    Unknown,
    /// Parameters that do not fit, of a method that the socket has.
    BadParameters,
    /// No id; or a field that requests do not have.
    NotARequest,
    /// A key twice, or too deep, or no JSON.
    Unreadable(usize),
}

/// How a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    other: bool,
    stdin: bool,
    poll: bool,
    pty: bool,
    fds: usize,
}

const ABOUT: [&str; 7] =
    ["exec/read", "exec/range", "exec/write", "exec/signal", "exec/resize", "exec/wait", "exec/kill"];

/// What the oracle knows of a session and its commands.
#[derive(Debug)]
struct Known {
    id: String,
    owner: u32,
    over: bool,
    /// Name, how it was started, how far it is; oldest first.
    commands: Vec<(usize, Start, State)>,
}

/// Bytes that decide everything; zeros when they are used up.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.byte() % limit.max(1)
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (now, rest) = self.0.split_at(self.0.len().min(most));
        self.0 = rest;
        now
    }
}

/// Everything: connections, sessions, and what the oracle knows of them.
pub struct World {
    peers: Vec<Peer>,
    register: Register<Place>,
    stopping: bool,
    open: Open,
    known: Vec<Known>,
    /// A line came whose meaning the oracle does not know: from then on only what always holds is demanded.
    lost: bool,
    /// Everything that was answered.
    pub transcript: Vec<String>,
    piece: usize,
    next: u64,
}

/// Runs a script; lines are handed over in pieces of `piece` bytes.
pub fn run(script: &[u8], piece: usize) -> World {
    let mut world = World {
        peers: PEERS.into_iter().map(Peer::new).collect(),
        register: Register::default(),
        stopping: false,
        open: Open::default(),
        known: Vec::new(),
        lost: false,
        transcript: Vec::new(),
        piece: piece.max(1),
        next: 0,
    };
    let mut script = Script(script);
    while !script.0.is_empty() {
        world.turn(&mut script);
        world.what_always_holds();
    }
    let World { peers, open, .. } = &mut world;
    peers.clear();
    assert_eq!(open.get(), 0, "a descriptor is left open");
    world
}

impl World {
    fn turn(&mut self, script: &mut Script<'_>) {
        let peer = script.below(PEERS.len());
        match script.below(16) {
            0 => {
                // Whatever it is, it is one line.
                let size = script.byte();
                let mut line = script.bytes(size).to_vec();
                line.retain(|&byte| byte != b'\n');
                line.push(b'\n');
                let fds = script.below(6);
                self.wild(peer, &line, fds);
            }
            1 => self.runner(script),
            2 => self.runner(script),
            3 => self.peers[peer] = Peer::new(PEERS[peer]),
            4 if script.below(8) == 0 => self.stopping = true,
            _ => {
                let ask = self.ask(script, peer);
                let fds = match &ask {
                    Ask::Start(_, _, _, fds) => *fds,
                    _ if script.below(8) == 0 => script.below(5),
                    _ => 0,
                };
                self.say(peer, &ask, fds);
            }
        }
    }

    /// A command goes on, as its runner and those who are asked say.
    fn runner(&mut self, script: &mut Script<'_>) {
        let places = self.register.all();
        if places.is_empty() {
            return;
        }
        let place = &places[script.below(places.len())];
        let commands = place.0.commands.borrow().all();
        if commands.is_empty() {
            return;
        }
        let exec = &commands[script.below(commands.len())];
        let to = match (exec.0.state.get(), script.below(3)) {
            (State::Waiting, 0) => State::Running,
            (_, 1) => State::Ended,
            (state, _) => state,
        };
        exec.0.state.set(to);
        let (id, name) = (place.0.id.as_str(), exec.0.id.as_str());
        for known in self.known.iter_mut().filter(|known| known.id == id) {
            for (_, _, state) in known.commands.iter_mut().filter(|(n, ..)| format!("e{n}") == name) {
                *state = to;
            }
        }
    }

    /// A line of the script's choice.
    fn ask(&self, script: &mut Script<'_>, peer: usize) -> Ask {
        let which = |script: &mut Script<'_>| match script.below(4) {
            0 | 1 => Which::Unnamed,
            2 if !self.known.is_empty() => Which::Known(script.below(self.known.len())),
            _ => Which::Invented,
        };
        if self.peers[peer].operator {
            return match script.below(12) {
                0..3 => Ask::Hello(1 + u64::from(script.below(8) == 0)),
                3 => Ask::List,
                4..7 if !self.known.is_empty() => Ask::Kill(Which::Known(script.below(self.known.len()))),
                7 => Ask::Kill(Which::Invented),
                8 => Ask::BadParameters,
                9 | 10 => Ask::Execs(which(script)),
                _ => Ask::Unknown,
            };
        }
        match script.below(24) {
            0..3 => Ask::Hello(1 + u64::from(script.below(8) == 0)),
            3..5 => Ask::Open,
            5 => Ask::Close(which(script)),
            6 => Ask::List,
            7 => Ask::Get(which(script)),
            8..13 => {
                let bits = script.byte();
                let start = Start {
                    other: bits & 1 != 0,
                    stdin: bits & 2 != 0,
                    poll: bits & 4 != 0,
                    pty: bits & 8 != 0,
                    fds: (bits >> 4) % 4,
                };
                // As many as are named, one fewer, or one more.
                let fds = (start.fds + [0, 0, 0, 3, 1][script.below(5)]) % 4;
                Ask::Start(which(script), script.below(7), start, fds)
            }
            13..19 => Ask::About(script.below(ABOUT.len()), which(script), script.below(7)),
            19 => Ask::Execs(which(script)),
            20 => Ask::Check(which(script)),
            21 => Ask::Unknown,
            22 => Ask::BadParameters,
            _ if script.below(2) == 0 => Ask::NotARequest,
            _ => Ask::Unreadable(script.below(4)),
        }
    }

    fn line(&self, ask: &Ask, operator: bool) -> Vec<u8> {
        let with = |which: &Which, mut params: Value| {
            match which {
                Which::Unnamed => {}
                Which::Known(at) => params["session"] = json!(self.known[*at].id),
                Which::Invented => params["session"] = json!("f".repeat(32)),
            }
            params
        };
        let (method, params) = match ask {
            Ask::Hello(version) => ("hello", json!({ "protocol": version })),
            Ask::Open => ("session/open", json!({"workspace": "/w"})),
            Ask::Close(which) => ("session/close", with(which, json!({}))),
            Ask::List => ("session/list", json!({})),
            Ask::Get(which) => ("session/get", with(which, json!({}))),
            Ask::Start(which, name, start, _) => {
                let fds = &["stdin", "stdout", "stderr"][..start.fds];
                let mut params = json!({"id": format!("e{name}"), "fds": fds,
                    "command": {"argv": [if start.other { "b" } else { "a" }]},
                    "stdin": if start.stdin { "pipe" } else { "none" },
                    "output": {"mode": if start.poll { "poll" } else { "collect" }}});
                if start.pty {
                    params["pty"] = json!({"rows": 24, "cols": 80});
                }
                ("exec/start", with(which, params))
            }
            Ask::About(at, which, name) => {
                let mut params = json!({"id": format!("e{name}")});
                match ABOUT[*at] {
                    "exec/range" => params["stream"] = json!("stdout"),
                    "exec/write" => params["text"] = json!("x"),
                    "exec/signal" => params["signal"] = json!("TERM"),
                    "exec/resize" => {
                        params["rows"] = json!(1);
                        params["cols"] = json!(4096);
                    }
                    _ => {}
                }
                (ABOUT[*at], with(which, params))
            }
            Ask::Execs(which) => ("exec/list", with(which, json!({}))),
            Ask::Check(which) => ("gate/check", with(which, json!({"command": {"shell": "ls"}}))),
            Ask::Kill(which) => ("session/kill", with(which, json!({}))),
            Ask::Unknown if operator => ("exec/wait", json!({})),
            Ask::Unknown => ("approval/list", json!({})),
            Ask::BadParameters => ("session/list", json!({"x": 1})),
            Ask::NotARequest => return b"{\"jsonrpc\":\"2.0\",\"method\":\"session/list\"}\n".to_vec(),
            Ask::Unreadable(kind) => {
                let bad: [&[u8]; 4] = [
                    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"hello\"}",
                    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                    b"\xff{}",
                    b"",
                ];
                return [bad[*kind], b"\n"].concat();
            }
        };
        let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        format!("{request}\n").into_bytes()
    }

    /// Sends a line that the oracle understands, and holds what comes against what it says.
    fn say(&mut self, peer: usize, ask: &Ask, fds: usize) {
        let line = self.line(ask, self.peers[peer].operator);
        let expected = self.expect(peer, ask, fds);
        let came = self.send(peer, &line, fds);
        self.transcript.push(format!("{peer} {ask:?} {came:?}"));
        if !self.lost {
            assert_eq!(came, expected, "{ask:?} of peer {peer} with {fds} descriptors");
        }
    }

    /// Sends a line of any bytes.
    fn wild(&mut self, peer: usize, line: &[u8], fds: usize) {
        let before = self.peers[peer].ended;
        let came = self.send(peer, line, fds);
        self.transcript.push(format!("{peer} ? {came:?}"));
        if before {
            assert_eq!(came, []);
        }
        // It may have made sense after all, or brought descriptors that the oracle has not counted.
        self.lost |= came.contains(&Came::Ok) || fds > 0;
        let peer = &mut self.peers[peer];
        peer.ended = peer.phase() == Phase::Ended;
    }

    /// Hands over bytes in pieces, and answers whatever comes of them.
    fn send(&mut self, peer: usize, line: &[u8], fds: usize) -> Vec<Came> {
        let mut came = Vec::new();
        let (first, rest) = line.split_at(1);
        let mut fds: Vec<Fd> = (0..fds).map(|_| Fd::open(&self.open)).collect();
        for piece in std::iter::once(first).chain(rest.chunks(self.piece)) {
            let with = std::mem::take(&mut fds);
            let cut = with.len() > 4;
            match &mut self.peers[peer].line {
                Line::Agent(dialog) => dialog.receive(piece, with, cut),
                Line::Operator(dialog) => dialog.receive(piece, with, cut),
            }
            while let Some(one) = self.step(peer) {
                came.push(one);
            }
        }
        came
    }

    fn step(&mut self, peer: usize) -> Option<Came> {
        let before = self.peers[peer].phase();
        let came = match &mut self.peers[peer].line {
            Line::Agent(dialog) => match dialog.step() {
                Step::Starved => return None,
                Step::Hello { .. } => Ok(true),
                Step::Call { call, fds, .. } => self.agent(peer, call, fds).map(|()| false),
                Step::Refused { error, .. } => Err(Came::Refused(error.code)),
                Step::Last { error, .. } => Err(Came::Last(error.code)),
            },
            Line::Operator(dialog) => match dialog.step() {
                Step::Starved => return None,
                Step::Hello { .. } => Ok(true),
                Step::Call { call, .. } => self.operator(peer, &call).map(|()| false),
                Step::Refused { error, .. } => Err(Came::Refused(error.code)),
                Step::Last { error, .. } => Err(Came::Last(error.code)),
            },
        };
        let after = self.peers[peer].phase();
        match &came {
            Ok(true) => assert_eq!((before, after), (Phase::Connected, Phase::Greeted), "hello comes once"),
            Ok(false) | Err(Came::Refused(_)) => {
                assert_eq!((before, after), (Phase::Greeted, Phase::Greeted));
            }
            Err(_) => assert!(before != Phase::Ended && after == Phase::Ended),
        }
        Some(came.map_or_else(|came| came, |_| Came::Ok))
    }

    /// What a daemon does about a request, with no process.
    fn agent(&mut self, peer: usize, call: AgentCall, fds: Vec<Fd>) -> Result<(), Came> {
        assert!(fds.len() <= call.descriptors(), "more came through than are named");
        let code = |error: Error| Came::Refused(error.code);
        let Peer { uid, opened, .. } = &self.peers[peer];
        let by_name = |id: &SessionId| self.register.by_name(id);
        let found = Found::look_up(&call, *uid, by_name, opened).map_err(code)?;
        if let Found::Session(place) | Found::Command(place, _) = &found {
            assert_eq!(place.owner(), *uid, "somebody else's session");
            assert!(!place.is_over(), "a session that has ended");
        }
        match call {
            AgentCall::Hello(_) => panic!("hello is no request like others"),
            AgentCall::SessionOpen(_) => {
                if self.stopping {
                    return Err(Came::Refused(Code::Stopping));
                }
                self.next += 1;
                let mut id = [0; 16];
                id[8..].copy_from_slice(&self.next.to_be_bytes());
                let id = SessionId::from_random(id);
                let owner = *uid;
                self.known.push(Known { id: id.to_string(), owner, over: false, commands: Vec::new() });
                let place =
                    Room { id: id.clone(), owner, over: Cell::default(), commands: RefCell::default() };
                let place = Place(Rc::new(place));
                self.register.insert(id, place.clone());
                self.peers[peer].opened.push(place);
            }
            AgentCall::SessionClose(_) => self.close(&found.session().map_err(code)?),
            AgentCall::SessionList(_) => {
                assert!(self.register.of(*uid).iter().all(|place| place.owner() == *uid && !place.is_over()));
            }
            AgentCall::ExecStart(asked) => {
                self.start(&found.session().map_err(code)?, &asked, &fds).map_err(code)?;
            }
            AgentCall::ExecSignal(_) | AgentCall::ExecResize(_) => {
                assert_eq!(found.command().map_err(code)?.0.state.get(), State::Running);
            }
            AgentCall::ExecWrite(_) => {
                assert_ne!(found.command().map_err(code)?.0.state.get(), State::Ended);
            }
            AgentCall::ExecKill(_) => drop(found.command().map_err(code)?),
            AgentCall::ExecRead(_) | AgentCall::ExecRange(_) | AgentCall::ExecWait(_) => {
                drop(found.command().map_err(code)?);
            }
            AgentCall::SessionGet(_) | AgentCall::ExecList(_) => drop(found.session().map_err(code)?),
            AgentCall::GateCheck(_) | AgentCall::ScanPath(_) => {}
        }
        Ok(())
    }

    fn operator(&mut self, peer: usize, call: &OperatorCall) -> Result<(), Came> {
        let by_name = |id: &SessionId| self.register.by_name(id);
        let found: Found<Place, Running> = Found::look_up(call, self.peers[peer].uid, by_name, &[])
            .map_err(|error| Came::Refused(error.code))?;
        let session = || found.session().map_err(|error| Came::Refused(error.code));
        match call {
            OperatorCall::SessionKill(_) => self.close(&session()?),
            OperatorCall::ExecList(_) => drop(session()?),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, place: &Place) {
        for exec in place.0.commands.borrow().all() {
            exec.0.state.set(State::Ended);
        }
        place.0.over.set(true);
        self.register.remove(&place.0.id);
    }

    fn start(&self, place: &Place, asked: &StartExec, fds: &[Fd]) -> Result<(), Error> {
        let mut commands = place.0.commands.borrow_mut();
        let plain = serde_json::to_vec(&StartExec { session: None, ..asked.clone() }).unwrap();
        if commands.again(&asked.id, &plain)?.is_some() {
            return Ok(());
        }
        if fds.len() != asked.fds.len() {
            return Err(Error::new(Code::Descriptors, ""));
        }
        if self.stopping {
            return Err(Error::new(Code::Stopping, ""));
        }
        commands.room(UNDER_WAY)?;
        let gone = commands.evict(KEPT);
        assert!(
            gone.iter().all(|exec| exec.0.state.get() == State::Ended),
            "one that has not ended is forgotten"
        );
        let started = commands.started();
        assert_eq!(commands.next_number(), started + 1);
        let state = Cell::new(State::Waiting);
        let exec = Exec { id: asked.id.clone(), asked: plain, kind: Facts::of(asked), state };
        commands.insert(asked.id.clone(), Running(Rc::new(exec)));
        Ok(())
    }

    // The oracle.

    /// What must come of a line, by rules that know no table.
    fn expect(&mut self, peer: usize, ask: &Ask, fds: usize) -> Vec<Came> {
        let Peer { uid, operator, greeted, ended, unasked, .. } = self.peers[peer];
        if ended {
            return Vec::new();
        }
        if unasked > UNASKED {
            self.peers[peer].ended = true;
            return vec![Came::Last(Code::Descriptors)];
        }
        let came = match ask {
            Ask::Unreadable(_) => Came::Last(Code::Unreadable),
            Ask::NotARequest if greeted => Came::Refused(Code::NotARequest),
            Ask::NotARequest => Came::Last(Code::NotARequest),
            Ask::Hello(_) if greeted => Came::Refused(Code::Hello),
            Ask::Hello(1) => Came::Ok,
            Ask::Hello(_) => Came::Last(Code::Version),
            _ if !greeted => Came::Last(Code::Hello),
            Ask::Unknown => Came::Refused(Code::UnknownMethod),
            Ask::BadParameters => Came::Refused(Code::BadParameters),
            ask => match self.does(peer, uid, operator, ask, fds) {
                Ok(()) => Came::Ok,
                Err(code) => Came::Refused(code),
            },
        };
        let peer = &mut self.peers[peer];
        peer.greeted |= matches!((ask, &came), (Ask::Hello(_), Came::Ok));
        peer.ended = matches!(came, Came::Last(_));
        // Descriptors count against the peer where nobody asked for them; a line with which it ends, it has not survived.
        let named = match ask {
            Ask::Start(_, _, start, _) if peer.greeted => start.fds,
            _ => 0,
        };
        let surplus = if fds > named { fds as u64 } else { 0 };
        let mut all = vec![came];
        if !peer.ended {
            peer.unasked += surplus;
            if peer.unasked > UNASKED {
                peer.ended = true;
                all.push(Came::Last(Code::Descriptors));
            }
        }
        all
    }

    fn meant(&self, peer: usize, uid: u32, which: Which) -> Result<usize, Code> {
        match which {
            Which::Invented => Err(Code::UnknownSession),
            Which::Known(at) => {
                let known = &self.known[at];
                if known.owner == uid && !known.over { Ok(at) } else { Err(Code::UnknownSession) }
            }
            Which::Unnamed => {
                let ids: Vec<&str> =
                    self.peers[peer].opened.iter().map(|place| place.0.id.as_str()).collect();
                let mut own = (0..self.known.len())
                    .filter(|at| !self.known[*at].over && ids.contains(&self.known[*at].id.as_str()));
                match (own.next(), own.next()) {
                    (Some(at), None) => Ok(at),
                    _ => Err(Code::UnknownSession),
                }
            }
        }
    }

    fn does(&mut self, peer: usize, uid: u32, operator: bool, ask: &Ask, fds: usize) -> Result<(), Code> {
        match *ask {
            Ask::Open if self.stopping => Err(Code::Stopping),
            Ask::Open | Ask::List => Ok(()),
            Ask::Kill(Which::Known(at)) if operator && !self.known[at].over => {
                self.over(at);
                Ok(())
            }
            Ask::Kill(_) => Err(Code::UnknownSession),
            Ask::Close(which) => {
                let at = self.meant(peer, uid, which)?;
                self.over(at);
                Ok(())
            }
            // Any that is there, and none by leaving it out.
            Ask::Execs(Which::Known(at)) if operator && !self.known[at].over => Ok(()),
            Ask::Execs(_) if operator => Err(Code::UnknownSession),
            Ask::Get(which) | Ask::Execs(which) => self.meant(peer, uid, which).map(drop),
            Ask::Check(Which::Unnamed) => Ok(()),
            Ask::Check(which) => self.meant(peer, uid, which).map(drop),
            Ask::Start(which, name, start, _) => {
                let at = self.meant(peer, uid, which)?;
                let stopping = self.stopping;
                let commands = &mut self.known[at].commands;
                if let Some((_, known, _)) = commands.iter().find(|(n, ..)| *n == name) {
                    return if *known == start { Ok(()) } else { Err(Code::IdInUse) };
                }
                // Where more come than are named, none is taken.
                let came = if fds > start.fds { 0 } else { fds };
                if came != start.fds {
                    return Err(Code::Descriptors);
                }
                if stopping {
                    return Err(Code::Stopping);
                }
                if commands.iter().filter(|(_, _, state)| *state != State::Ended).count() >= UNDER_WAY {
                    return Err(Code::Limit);
                }
                while commands.len() >= KEPT {
                    let ended = commands.iter().position(|(_, _, state)| *state == State::Ended);
                    commands.remove(ended.expect("not all of them are under way"));
                }
                commands.push((name, start, State::Waiting));
                Ok(())
            }
            Ask::About(method, which, name) => {
                let at = self.meant(peer, uid, which)?;
                let found = self.known[at].commands.iter().find(|(n, ..)| *n == name);
                let (_, start, state) = *found.ok_or(Code::UnknownExec)?;
                let Start { stdin, poll, pty, fds, .. } = start;
                match ABOUT[method] {
                    "exec/read" if !poll || fds == 3 || (fds == 2 && pty) => Err(Code::NotReadable),
                    "exec/range" if poll || fds == 3 || (fds == 2 && pty) => Err(Code::NotReadable),
                    "exec/write" if !stdin || fds > 0 || state == State::Ended => Err(Code::StdinClosed),
                    "exec/resize" if !pty => Err(Code::NoTerminal),
                    "exec/signal" | "exec/resize" if state != State::Running => Err(Code::NotRunning),
                    _ => Ok(()),
                }
            }
            _ => unreachable!("answered before"),
        }
    }

    fn over(&mut self, at: usize) {
        self.known[at].over = true;
        self.known[at].commands.iter_mut().for_each(|(_, _, state)| *state = State::Ended);
    }

    fn what_always_holds(&self) {
        let held: usize = self.peers.iter().map(Peer::held).sum();
        assert_eq!(self.open.get(), i64::try_from(held).unwrap(), "a descriptor is neither held nor closed");
        for peer in &self.peers {
            assert!(peer.held() <= 4, "{} descriptors wait", peer.held());
        }
        for place in self.register.all() {
            let commands = place.0.commands.borrow().all();
            let under_way = commands.iter().filter(|exec| exec.0.state.get() != State::Ended).count();
            assert!(under_way <= UNDER_WAY && commands.len() <= KEPT);
        }
        if self.lost {
            return;
        }
        for known in &self.known {
            let place = self.register.all().into_iter().find(|place| place.0.id.as_str() == known.id);
            assert_eq!(place.is_none(), known.over);
            let names = |place: Place| {
                let all = place.0.commands.borrow().all();
                all.iter().map(|exec| (exec.0.id.as_str().to_owned(), exec.0.state.get())).collect::<Vec<_>>()
            };
            let oracle =
                known.commands.iter().map(|(n, _, state)| (format!("e{n}"), *state)).collect::<Vec<_>>();
            assert!(place.is_none_or(|place| names(place) == oracle), "{known:?}");
        }
    }
}
