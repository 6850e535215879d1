//! Clients that run commands of every kind, and the operator who answers what they ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::super::*;
use super::Random;

/// What clients know of what is being done: a refusal needs a reason.
pub(super) struct Signs {
    begun: Instant,
    stop: AtomicBool,
    /// When the disk was full last, in milliseconds from the beginning; 0 where it never was.
    full: AtomicU64,
    /// When there was no engine.
    no_engine: AtomicU64,
}

/// How long after it is over something may still be felt.
const FELT: Duration = Duration::from_secs(15);

impl Signs {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            full: AtomicU64::new(0),
            no_engine: AtomicU64::new(0),
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Has the clients stop when what this returns is dropped.
    pub(super) fn stop_at_the_end(&self) -> impl Drop + '_ {
        struct Stop<'a>(&'a Signs);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.stop();
            }
        }
        Stop(self)
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn disk_is_full(&self) {
        self.full.store(self.now(), Ordering::SeqCst);
    }

    pub(super) fn engine_is_gone(&self) {
        self.no_engine.store(self.now(), Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap() + 1
    }

    fn lately(&self, when: &AtomicU64) -> bool {
        let at = when.load(Ordering::SeqCst);
        at != 0 && self.now() - at < u64::try_from(FELT.as_millis()).unwrap()
    }
}

/// What a client was told of a command.
pub(super) struct Told {
    pub(super) request: String,
    /// It has run.
    pub(super) ran: bool,
    /// There was no room for a record of it, if nothing ran: the disk was full.
    pub(super) full: bool,
    /// The code that it was said to have ended with.
    pub(super) code: Option<i64>,
}

/// What came of one client.
#[derive(Default)]
pub(super) struct Came {
    pub(super) told: Vec<Told>,
    /// Commands and sessions that a client was told are lost: their runner was killed.
    pub(super) lost: u32,
    /// Commands that did not run, as nothing could be recorded: the disk was full.
    pub(super) unrecorded: u32,
    /// Sessions that could not be opened while there was no engine, or nothing could be written.
    pub(super) unopened: u32,
    pub(super) sessions: u32,
    pub(super) connections: u32,
    pub(super) by_kind: BTreeMap<&'static str, u32>,
}

/// What a command is there for, and what may come of it.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) command: fn(&str) -> Value,
    /// How it may end, with its code where it exits.
    pub(super) ends: &'static [(&'static str, i64)],
    /// Text that its standard output ends with, where it exited.
    pub(super) says: &'static str,
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "quick",
        command: |id| json!({"argv": ["echo", id, "end"]}),
        ends: &[("exited", 0)],
        says: "end\n",
    },
    Kind {
        name: "shell",
        command: |id| json!({"shell": format!("echo {id} >> ran; echo a | tr a b")}),
        ends: &[("exited", 0)],
        says: "b\n",
    },
    Kind {
        name: "much",
        command: |_| json!({"shell": "seq 1 30000"}),
        ends: &[("exited", 0)],
        says: "30000\n",
    },
    Kind {
        name: "fails",
        command: |_| json!({"shell": "echo on; exit 3"}),
        ends: &[("exited", 3)],
        says: "on\n",
    },
    Kind {
        name: "takes",
        command: |_| json!({"shell": "sleep 0.4; echo slept"}),
        ends: &[("exited", 0)],
        says: "slept\n",
    },
    Kind {
        name: "writes",
        command: |_| json!({"shell": "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.03; done"}),
        ends: &[("exited", 0)],
        says: "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
    },
    Kind {
        name: "denied",
        command: |_| json!({"argv": ["hostname", "x"]}),
        ends: &[("refused", 0)],
        says: "",
    },
    Kind {
        name: "asks",
        command: |_| json!({"argv": ["uname", "-s"]}),
        ends: &[("exited", 0), ("refused", 0)],
        says: "Linux\n",
    },
    Kind {
        name: "killed",
        command: |_| json!({"argv": ["sleep", "100"]}),
        ends: &[("cancelled", 0), ("refused", 0)],
        says: "",
    },
    Kind {
        name: "children",
        command: |_| json!({"shell": "sleep 100 & sleep 100 & echo left"}),
        ends: &[("exited", 0)],
        says: "left\n",
    },
];

pub(super) struct Worker<'a> {
    pub(super) run: PathBuf,
    pub(super) uid: u32,
    pub(super) workspace: String,
    /// The image of its containers, where it is not in the jail.
    pub(super) image: Option<&'static str>,
    pub(super) random: Random,
    pub(super) signs: &'a Signs,
    pub(super) client: Option<Client>,
    pub(super) session: Option<String>,
    pub(super) number: u64,
    pub(super) came: Came,
}

impl Worker<'_> {
    pub(super) fn work(mut self) -> Came {
        while !self.signs.is_over() {
            self.one();
        }
        if let Some(session) = self.session.clone() {
            let until = Instant::now() + PATIENCE;
            while self.ask("session/close", &json!({"session": session})).is_none() && Instant::now() < until
            {
            }
        }
        self.came
    }

    /// Says something, and waits for the reply. `None` where the connection is gone; the next call makes another.
    fn ask(&mut self, method: &str, params: &Value) -> Option<Result<Value, Value>> {
        if self.client.is_none() {
            // The daemon looks at the process that opens a session: that must be one of the user's own.
            let path = self.run.join("agent.sock");
            let opens = method == "session/open";
            let stream = if opens { connect(&path, self.uid) } else { connect_quickly(&path, self.uid) };
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(20));
                return None;
            };
            self.came.connections += 1;
            let mut client = Client::new(stream);
            say(&mut client, "hello", &json!({"protocol": 1}))?.ok()?;
            self.client = Some(client);
        }
        let said = say(self.client.as_mut()?, method, params);
        if said.is_none() {
            self.client = None;
        }
        said
    }

    fn open(&mut self) -> Option<String> {
        if let Some(session) = &self.session {
            return Some(session.clone());
        }
        self.client = None;
        let mut asked = json!({"workspace": self.workspace});
        if let Some(image) = self.image {
            asked["backend"] = "docker".into();
            asked["image"] = image.into();
        }
        let opened = match self.ask("session/open", &asked)? {
            Ok(opened) => opened,
            Err(error) => {
                let no_engine = self.image.is_some() && self.signs.lately(&self.signs.no_engine);
                let may = no_engine || self.signs.lately(&self.signs.full) || error["code"] == 1004;
                assert!(may, "no session: {error}");
                self.came.unopened += 1;
                self.client = None;
                std::thread::sleep(Duration::from_millis(100));
                return None;
            }
        };
        self.came.sessions += 1;
        self.session = Some(opened["session"].as_str().unwrap().to_owned());
        self.session.clone()
    }

    fn one(&mut self) {
        let Some(session) = self.open() else { return };
        self.number += 1;
        let id = format!("c{}", self.number);
        let kind = KINDS[usize::try_from(self.random.below(KINDS.len() as u64)).unwrap()];
        let start = json!({"session": session, "id": id, "command": (kind.command)(&id), "background": true});
        let began = self.ask("exec/start", &start);
        let request = match &began {
            Some(Ok(began)) => Some(began["request_id"].as_str().unwrap().to_owned()),
            Some(Err(error)) if error["code"] == 1300 => {
                assert!(kind.ends.iter().any(|(how, _)| *how == "refused"), "{}: {error}", kind.name);
                Some(error["data"]["request_id"].as_str().unwrap().to_owned())
            }
            // It was told to stop a moment ago; the next one takes it.
            Some(Err(error)) if error["code"] == 1004 => return self.client = None,
            // Nothing that cannot be recorded runs.
            Some(Err(error)) if error["code"] == 1501 => return self.unrecorded(error),
            // The session is over, as its runner was killed.
            Some(Err(error)) => return self.session_is_over(&session, error),
            // It may have begun, or not.
            None => None,
        };
        if self.random.below(8) == 0 {
            // A client that dies, and another that comes for it.
            self.client = None;
        }
        if kind.name == "killed" {
            std::thread::sleep(Duration::from_millis(self.random.below(150)));
            let _ = self.ask("exec/kill", &json!({"session": session, "id": id}));
        }
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "{}: {id} does not end", kind.name);
            match self.ask("exec/wait", &json!({"session": session, "id": id, "wait_ms": 2000})) {
                None => {}
                Some(Ok(waited)) if !waited["report"].is_null() => return self.ended(kind, request, &waited),
                Some(Ok(_)) if kind.name == "killed" => {
                    let _ = self.ask("exec/kill", &json!({"session": session, "id": id}));
                }
                Some(Ok(_)) => {}
                // Nothing was said of it to anybody.
                Some(Err(error)) if request.is_none() && error["code"] == 1101 => return,
                // It was refused as the disk was full, and its daemon was killed before that was said.
                Some(Err(error)) if error["code"] == 1101 && self.signs.lately(&self.signs.full) => {
                    return self.unrecorded(&error);
                }
                Some(Err(error)) => return self.session_is_over(&session, &error),
            }
        }
    }

    fn unrecorded(&mut self, why: &Value) {
        assert!(self.signs.lately(&self.signs.full), "there was room on the disk: {why}");
        self.came.unrecorded += 1;
        std::thread::sleep(Duration::from_millis(50));
    }

    /// That is no surprise where its runner was killed.
    fn session_is_over(&mut self, session: &str, why: &Value) {
        let until = Instant::now() + PATIENCE;
        loop {
            // Its end may be on its way.
            let listed =
                self.ask("session/list", &json!({})).map(|listed| listed.unwrap()["sessions"].take());
            let there = |all: &Value| all.as_array().unwrap().iter().any(|it| it["session"] == session);
            match listed {
                Some(all) if !there(&all) => break,
                _ => assert!(Instant::now() < until, "a session that is there says: {why}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.session = None;
        self.came.lost += 1;
    }

    fn ended(&mut self, kind: Kind, request: Option<String>, waited: &Value) {
        let report = &waited["report"];
        let (how, code) = (report["outcome"].as_str().unwrap(), report["code"].as_i64());
        let request = request.or_else(|| report["request_id"].as_str().map(str::to_owned));
        if how == "failed" && report["error"].as_str().is_some_and(|error| error.contains("audit log")) {
            return self.unrecorded(report);
        }
        if how == "failed" || (how == "signaled" && report["signal"] == 9) {
            // Its runner was killed, and it with that.
            self.came.lost += 1;
        } else {
            let fits = |(as_how, as_code): &(&str, i64)| {
                *as_how == how && (how != "exited" || code == Some(*as_code))
            };
            assert!(kind.ends.iter().any(fits), "{}: {waited}", kind.name);
            if how == "exited" {
                let text = waited["stdout"]["text"].as_str().unwrap_or_default();
                assert!(text.ends_with(kind.says), "{}: {waited}", kind.name);
            }
            *self.came.by_kind.entry(kind.name).or_default() += 1;
        }
        if let Some(request) = request {
            let ran = matches!(how, "exited" | "signaled");
            let full = self.signs.lately(&self.signs.full);
            self.came.told.push(Told { request, ran, full, code: code.filter(|_| ran) });
        }
    }
}

/// One call; `None` where the connection is gone.
pub(super) fn say(client: &mut Client, method: &str, params: &Value) -> Option<Result<Value, Value>> {
    let line = client.line(method, params);
    let id = client.last;
    client.stream.write_all(line.as_bytes()).ok()?;
    loop {
        let mut message = client.receive()?;
        if message["id"] == id {
            let error = message["error"].take();
            return Some(if error.is_null() { Ok(message["result"].take()) } else { Err(error) });
        }
    }
}

/// Answers what is asked, with yes or no.
pub(super) fn answer(run: &Path, mut random: Random, signs: &Signs) -> u32 {
    let (mut client, mut answered) = (None::<Client>, 0);
    while !signs.is_over() {
        std::thread::sleep(Duration::from_millis(20));
        if client.is_none() {
            let stream = connect_quickly(&run.join("operator.sock"), me());
            client = stream.ok().map(Client::new);
            if let Some(new) = &mut client
                && say(new, "hello", &json!({"protocol": 1})).is_none()
            {
                client = None;
            }
        }
        let Some(operator) = &mut client else { continue };
        let Some(Ok(listed)) = say(operator, "approval/list", &json!({})) else {
            client = None;
            continue;
        };
        for pending in listed["approvals"].as_array().unwrap() {
            let answer = if random.below(4) == 0 { "deny" } else { "once" };
            let said =
                say(operator, "approval/answer", &json!({"approval": pending["approval"], "answer": answer}));
            answered += u32::from(matches!(said, Some(Ok(_))));
        }
    }
    answered
}
