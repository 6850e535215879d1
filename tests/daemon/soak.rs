//! Everything at once, for as long as is asked: clients with work of every kind, questions, jobs, reloads with and without mistakes,
//! and random kills of the daemon, of runners and of connections. At the end nothing is lost, and nothing is left over.
//!
//! `EXECWARD_TEST_SOAK` says how long (`10m`), `EXECWARD_TEST_SEED` what comes when; the seed of a run is printed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[approval]\ntimeout = \"20s\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }]\n[[rule]]\nid = \"deny.hostname\"\n\
    program = \"hostname\"\ndecision = \"deny\"\nreason = \"a test\"\nexamples = [{ command = \"hostname x\", expect = \"deny\" }]\n";

/// Private memory of a daemon whose sessions have all gone, in KiB, however long it ran. What it has freed it does not give back
/// wholly: `docs/soak.md` says how far that goes.
const EMPTY: u64 = 96 << 10;

/// How long it takes in all; half of it where it is done twice.
fn length() -> Duration {
    let asked = std::env::var("EXECWARD_TEST_SOAK").ok();
    let asked =
        asked.map(|text| execward::policy::parse_duration(&text).expect("EXECWARD_TEST_SOAK is a time"));
    let all = asked.unwrap_or(Duration::from_secs(24));
    if crate::support::is_root() { all / 2 } else { all }
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let asked = std::env::var("EXECWARD_TEST_SEED").ok();
    asked.map_or_else(
        || u64::try_from(now()).unwrap(),
        |text| text.parse().expect("EXECWARD_TEST_SEED is a number"),
    )
}

/// SplitMix64: the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a client was told of a command.
struct Told {
    request: String,
    /// It has run.
    ran: bool,
    /// The code that it was said to have ended with.
    code: Option<i64>,
}

/// What came of one client.
#[derive(Default)]
struct Came {
    told: Vec<Told>,
    /// Commands and sessions that a client was told are lost: their runner was killed.
    lost: u32,
    sessions: u32,
    connections: u32,
    by_kind: BTreeMap<&'static str, u32>,
}

/// What a command is there for, and what may come of it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    command: fn(&str) -> Value,
    /// How it may end, with its code where it exits.
    ends: &'static [(&'static str, i64)],
    /// Text that its standard output ends with, where it exited.
    says: &'static str,
}

const KINDS: &[Kind] = &[
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

struct Worker<'a> {
    run: PathBuf,
    uid: u32,
    workspace: String,
    random: Random,
    stop: &'a AtomicBool,
    client: Option<Client>,
    session: Option<String>,
    number: u64,
    came: Came,
}

impl Worker<'_> {
    fn work(mut self) -> Came {
        while !self.stop.load(Ordering::Relaxed) {
            self.one();
        }
        if let Some(session) = self.session.clone() {
            while self.ask("session/close", &json!({"session": session})).is_none()
                && self.came.connections < 1_000_000
            {}
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
        let opened = self.ask("session/open", &json!({"workspace": self.workspace}))?;
        let opened = opened.unwrap_or_else(|error| panic!("no session: {error}"));
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
                Some(Err(error)) => return self.session_is_over(&session, &error),
            }
        }
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
            self.came.told.push(Told { request, ran, code: code.filter(|_| ran) });
        }
    }
}

/// One call; `None` where the connection is gone.
fn say(client: &mut Client, method: &str, params: &Value) -> Option<Result<Value, Value>> {
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
fn answer(run: &Path, mut random: Random, stop: &AtomicBool) -> u32 {
    let (mut client, mut answered) = (None::<Client>, 0);
    while !stop.load(Ordering::Relaxed) {
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

/// What is done to the daemon, and how often.
#[derive(Default, Debug)]
struct Done {
    killed: u32,
    stopped: u32,
    again: u32,
    runners: u32,
    reloads: u32,
    mistakes: u32,
}

fn disturb(daemon: &mut Daemon, random: &mut Random, done: &mut Done, gently: bool) {
    let policy = daemon.path().join("policy.toml");
    match random.below(if gently { 2 } else { 6 }) {
        0 => {
            fs::write(&policy, format!("{POLICY}[[rule]\n")).unwrap();
            let refused = daemon.operator().call("policy/reload", json!({}));
            assert!(refused.is_err(), "a mistake is no policy");
            fs::write(&policy, POLICY).unwrap();
            done.mistakes += 1;
        }
        1 => {
            daemon.operator().call("policy/reload", json!({})).unwrap();
            done.reloads += 1;
        }
        2 => {
            daemon.crash();
            done.killed += 1;
        }
        3 => {
            daemon.signal(libc::SIGTERM);
            assert_eq!(daemon.ended(), Some(0));
            daemon.crash();
            done.stopped += 1;
        }
        4 => {
            let started = |daemon: &Daemon| {
                daemon.operator().call("status/show", json!({})).unwrap()["started"].clone()
            };
            let (before, pid) = (started(daemon), daemon.pid());
            std::thread::sleep(Duration::from_millis(5));
            daemon.signal(libc::SIGUSR2);
            until("it is executed anew", || {
                let Ok(stream) = connect_quickly(&daemon.socket("operator"), me()) else { return false };
                let mut client = Client::new(stream);
                let hello = say(&mut client, "hello", &json!({"protocol": 1}));
                let status = hello.and_then(|_| say(&mut client, "status/show", &json!({})));
                matches!(status, Some(Ok(status)) if status["started"] != before)
            });
            assert_eq!(daemon.pid(), pid);
            done.again += 1;
        }
        _ => {
            let runners = runners(daemon.path());
            if !runners.is_empty() {
                let pid = runners[usize::try_from(random.below(runners.len() as u64)).unwrap()];
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
                done.runners += 1;
            }
        }
    }
}

/// Processes in whose mounts this directory is, and not in ours: sandboxes.
fn inside(directory: &Path) -> Vec<i32> {
    let name = directory.file_name().unwrap().to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|text| text.contains(name))
    };
    pids.filter(has).filter(|pid| is_there(*pid)).collect()
}

/// Runners among them: of sessions and of commands.
fn runners(directory: &Path) -> Vec<i32> {
    let is = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"runner")
    };
    inside(directory).into_iter().filter(is).collect()
}

/// Control groups of runners that are gone.
fn orphaned_groups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for root in ["/sys/fs/cgroup/execward", "/sys/fs/cgroup/memory/execward", "/sys/fs/cgroup/pids/execward"]
    {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let pid = name.split_once('-').and_then(|(pid, _)| pid.parse::<i32>().ok());
            if pid.is_some_and(|pid| !is_there(pid)) {
                found.insert(entry.path());
            }
        }
    }
    found
}

fn records(daemon: &Daemon) -> Vec<Value> {
    let mut all = Vec::new();
    for entry in fs::read_dir(daemon.path().join("state/audit")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read_to_string(entry.path()).unwrap();
            all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    all
}

/// All texts in a value.
fn texts<'a>(value: &'a Value, into: &mut HashSet<&'a str>) {
    match value {
        Value::String(text) => drop(into.insert(text)),
        Value::Array(all) => all.iter().for_each(|value| texts(value, into)),
        Value::Object(all) => all.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

fn put_jobs(daemon: &Daemon) {
    for name in ["jobs", "told"] {
        let path = daemon.path().join(name);
        fs::create_dir(&path).unwrap();
        give(&path);
    }
    let workspace = daemon.workspace(me(), "jobs");
    let told = daemon.path().join("told").display().to_string();
    // The history that can be asked for holds all of them.
    let every = (length().as_secs() / 400).max(1);
    for (name, command) in [("well", "date +%s.%N >> ran"), ("fails", "exit 3")] {
        let text = format!(
            "shell = \"{command}\"\nworkspace = \"{workspace}\"\n[schedule]\nevery = \"{every}s\"\nlate = \"1h\"\ncatch_up = \"once\"\n\
             [[deliver]]\nfile = \"{told}/{name}\"\n"
        );
        let path = daemon.path().join(format!("jobs/{name}.toml"));
        put(&path, &text);
        give(&path);
    }
    daemon.operator().call("policy/reload", json!({})).unwrap();
}

/// Each run has ended, and has been told of; none has run twice.
fn account_for_jobs(daemon: &Daemon) -> usize {
    let mut operator = daemon.operator();
    for name in ["well", "fails"] {
        operator.call("job/switch", json!({"job": name, "on": false})).unwrap();
    }
    let mut runs = Vec::new();
    until("no run is open", || {
        runs.clear();
        for name in ["well", "fails"] {
            let asked = json!({"job": name, "most": 1000});
            let of_it = operator.call("job/history", asked).unwrap()["runs"].take();
            runs.extend(of_it.as_array().unwrap().clone());
        }
        !runs.iter().any(|run| run["state"] == "scheduled" || run["state"] == "running")
    });
    let told = |name: &str| -> HashSet<Value> {
        let text = fs::read_to_string(daemon.path().join("told").join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["run"].take()).collect()
    };
    for run in &runs {
        let name = run["job"].as_str().unwrap();
        let may: &[&str] = if name == "well" {
            &["ok", "missed", "unknown", "failed"]
        } else {
            &["failed", "missed", "unknown"]
        };
        assert!(may.contains(&run["state"].as_str().unwrap()), "{run}");
        until("it is told", || told(name).contains(&run["run"]));
    }
    let ran = fs::read_to_string(Path::new(&daemon.workspace(me(), "jobs")).join("ran")).unwrap();
    let of_well =
        |state: &str| runs.iter().filter(|run| run["job"] == "well" && run["state"] == state).count();
    let (lines, ok, begun) =
        (ran.lines().count(), of_well("ok"), of_well("ok") + of_well("unknown") + of_well("failed"));
    assert!((ok..=begun).contains(&lines), "{lines} lines of {ok} runs that ended well, of {begun}");
    let jobs = operator.call("job/list", json!({})).unwrap();
    assert_eq!(jobs["dead_letters"], 0, "{jobs}");
    runs.len()
}

#[test]
fn nothing_is_lost_and_nothing_is_left_over() {
    as_both(|| {
        let seed = seed();
        eprintln!("-- the seed is {seed} (EXECWARD_TEST_SEED)");
        let mut random = Random(seed);
        let groups_before = orphaned_groups();
        let config = "[daemon]\nalone = \"60s\"\n[limits]\nsessions = 64\n";
        let Some(mut daemon) = Daemon::start(Setup { config, policy: POLICY }) else { return };
        put_jobs(&daemon);
        let users = if is_root() { vec![ANN, BEN, CAY, ANN] } else { vec![me(); 3] };
        let (stop, begun, length) = (AtomicBool::new(false), Instant::now(), length());
        let (mut done, mut memory, mut descriptors) = (Done::default(), [0; 2], [0; 2]);
        let (came, answered) = std::thread::scope(|scope| {
            let owner = OWNER.with_borrow(Clone::clone);
            let (stop, run) = (&stop, daemon.path().join("run"));
            let mut workers = Vec::new();
            for (index, uid) in users.iter().copied().enumerate() {
                let workspace = daemon.workspace(uid, &format!("w{index}"));
                let random = Random(random.below(u64::MAX));
                let (run, owner) = (run.clone(), owner.clone());
                workers.push(scope.spawn(move || {
                    OWNER.set(owner);
                    let came = Came::default();
                    Worker { run, uid, workspace, random, stop, client: None, session: None, number: 0, came }
                        .work()
                }));
            }
            let answers = Random(random.below(u64::MAX));
            let to = run.clone();
            let answering = scope.spawn(move || {
                OWNER.set(owner);
                answer(&to, answers, stop)
            });
            // Kills at first, and then none: only a daemon that goes on can grow.
            while begun.elapsed() < length && !workers.iter().any(std::thread::ScopedJoinHandle::is_finished)
            {
                let gently = begun.elapsed() > length * 2 / 3;
                if gently && memory[0] == 0 {
                    (memory[0], descriptors[0]) = (daemon.private_kib(), daemon.descriptors());
                }
                std::thread::sleep(Duration::from_millis(100 + random.below(1200)));
                disturb(&mut daemon, &mut random, &mut done, gently);
            }
            (memory[1], descriptors[1]) = (daemon.private_kib(), daemon.descriptors());
            assert!(!inside(daemon.path()).is_empty(), "what is to be gone at the end can be seen");
            stop.store(true, Ordering::Relaxed);
            let came: Vec<Came> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            (came, answering.join().unwrap())
        });
        let runs = account_for_jobs(&daemon);
        until("its descriptors are given back", || {
            daemon.descriptors() <= descriptors[0].max(descriptors[1])
        });
        until("no session is left", || {
            let open = daemon.operator().call("status/show", json!({})).unwrap();
            open["sessions"] == 0 && open["running"] == 0
        });
        let empty = daemon.private_kib();
        assert!(empty <= EMPTY, "{empty} KiB are private without a session, and were {memory:?} with them");
        until("no sandbox is left", || inside(daemon.path()).is_empty());
        until("no process is left", || daemon.descendants().is_empty());
        daemon.signal(libc::SIGINT);
        assert_eq!(daemon.ended(), Some(0));
        assert_eq!(fs::read_dir(daemon.path().join("run/sessions")).map_or(0, Iterator::count), 0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(daemon.path().to_str().unwrap()), "{mounts}");
        // Whoever makes the next session sweeps what killed runners have left.
        daemon.crash();
        let mut client = daemon.client(users[0]);
        client.open(&daemon.workspace(users[0], "w0"));
        client.call("session/close", json!({})).unwrap();
        let mine = || orphaned_groups().difference(&groups_before).count();
        until("no control group is left", || mine() == 0);
        let never = account(&daemon, &came);
        let ends = (done.killed + done.stopped + done.again) as usize;
        assert!(
            never <= ends,
            "{never} commands were recorded and never let go, and a daemon ended {ends} times"
        );
        daemon.verify_log();
        let sum = |of: &dyn Fn(&Came) -> u32| came.iter().map(of).sum::<u32>();
        let mut kinds = BTreeMap::<&str, u32>::new();
        came.iter()
            .flat_map(|came| &came.by_kind)
            .for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
        eprintln!(
            "-- {:?}: {} results, {} lost with a killed runner, {} sessions, {} connections, {answered} answers, {runs} runs of jobs, \
             {} records; {done:?}; private memory {} to {} KiB, \
             {empty} without sessions, {} to {} descriptors; {kinds:?}",
            begun.elapsed(),
            came.iter().map(|came| came.told.len()).sum::<usize>(),
            sum(&|came| came.lost),
            sum(&|came| came.sessions),
            sum(&|came| came.connections),
            records(&daemon).len(),
            memory[0],
            memory[1],
            descriptors[0],
            descriptors[1],
        );
        assert!(kinds.len() >= KINDS.len() - 2, "{kinds:?}");
    });
}

/// Everything that a client was told is in the log as it was told, and every command that was let go has one end.
fn account(daemon: &Daemon, came: &[Came]) -> usize {
    let all = records(daemon);
    let (mut ends, mut by_decision) = (HashMap::<&str, &Value>::new(), HashMap::<u64, u32>::new());
    let (mut let_go, mut said, mut last) = (Vec::new(), HashSet::new(), HashMap::<&str, u64>::new());
    for record in &all {
        texts(&record["body"], &mut said);
        if let ("decision", Some(id)) = (record["kind"].as_str().unwrap(), record["body"]["id"].as_str()) {
            last.insert(id, record["seq"].as_u64().unwrap());
        }
        match record["kind"].as_str() {
            Some("end") => {
                *by_decision.entry(record["body"]["decision"].as_u64().unwrap()).or_default() += 1;
                if let Some(before) = ends.insert(record["body"]["id"].as_str().unwrap(), record) {
                    panic!("two ends: {before}\n{record}");
                }
            }
            Some("decision") if record["body"]["outcome"] == "run" => let_go.push(record),
            _ => {}
        }
    }
    for told in came.iter().flat_map(|came| &came.told) {
        assert!(said.contains(told.request.as_str()), "{} is not recorded", told.request);
        if told.ran {
            let end = ends.get(told.request.as_str());
            let end = end.unwrap_or_else(|| panic!("{} has no end", told.request));
            if let Some(code) = told.code {
                assert!(end["body"]["end"].to_string().contains(&code.to_string()), "told {code}: {end}");
            }
        }
    }
    let told: HashSet<&str> =
        came.iter().flat_map(|came| &came.told).map(|told| told.request.as_str()).collect();
    let mut never = 0;
    for record in let_go {
        // A job ends with its daemon: where that was killed, the run is known as such, and nobody saw the command's end.
        let of_job = record["body"]["facts"]["cwd"]
            .as_str()
            .is_some_and(|cwd| cwd.ends_with(&format!("/jobs-{}", me())));
        let seq = record["seq"].as_u64().unwrap();
        let ends = by_decision.get(&seq).copied().unwrap_or(0);
        // Its daemon was killed between the record and the moment in which it would have let the command go: it is judged again, or
        // it has never run, and nobody was told that it did.
        let id = record["body"]["id"].as_str().unwrap();
        if ends == 0 && !of_job && last[id] == seq && !told.contains(id) {
            never += 1;
            continue;
        }
        assert!(
            ends == u32::from(last[id] == seq) || (of_job && ends == 0),
            "{ends} ends of {record}\n{}",
            daemon.log()
        );
    }
    never
}
