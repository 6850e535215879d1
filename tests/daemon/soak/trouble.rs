//! What is done to the daemon and to all that it stands on.

use serde_json::json;

use super::super::*;
use super::clients::{Signs, say};
use super::clock;
use super::disk::Disk;
use super::engine::Engine;
use super::left::runners;
use super::{Random, policy};

/// What is done to the daemon, and how often.
#[derive(Default, Debug)]
pub(super) struct Done {
    pub(super) killed: u32,
    pub(super) stopped: u32,
    pub(super) again: u32,
    runners: u32,
    clients: u32,
    engines: u32,
    full: u32,
    pub(super) steps: u32,
    reloads: u32,
    mistakes: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Mistake,
    Reload,
    Kill,
    Stop,
    Again,
    Runner,
    Client,
    Engine,
    Disk,
    Clock,
}

/// Nothing dies by these.
const GENTLE: [Kind; 3] = [Kind::Mistake, Kind::Reload, Kind::Clock];

const ALL: [Kind; 10] = [
    Kind::Mistake,
    Kind::Reload,
    Kind::Kill,
    Kind::Stop,
    Kind::Again,
    Kind::Runner,
    Kind::Client,
    Kind::Engine,
    Kind::Disk,
    Kind::Clock,
];

pub(super) struct Trouble<'a> {
    pub(super) random: Random,
    pub(super) signs: &'a Signs,
    pub(super) engine: Option<Engine>,
    pub(super) disk: Option<Disk>,
    pub(super) done: Done,
    /// What is still to come before everything comes again, in another order.
    deck: Vec<Kind>,
    /// Everything has come once.
    pub(super) all: bool,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(random: Random, signs: &'a Signs, engine: Option<Engine>, disk: Option<Disk>) -> Self {
        Self { random, signs, engine, disk, done: Done::default(), deck: ALL.to_vec(), all: false }
    }

    /// A moment that is as long as chance has it.
    fn moment(&mut self, least: u64, more: u64) {
        std::thread::sleep(Duration::from_millis(least + self.random.below(more)));
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.random.below(u64::try_from(from.len()).unwrap().max(1));
        from.get(usize::try_from(at).unwrap()).copied()
    }

    /// Does one of those things; nothing dies of it where it is to be gentle.
    pub(super) fn come(&mut self, daemon: &mut Daemon, gently: bool) {
        let kind = if gently {
            self.pick(&GENTLE).unwrap()
        } else {
            let at = self.random.below(u64::try_from(self.deck.len()).unwrap());
            let kind = self.deck.swap_remove(usize::try_from(at).unwrap());
            if self.deck.is_empty() {
                (self.deck, self.all) = (ALL.to_vec(), true);
            }
            kind
        };
        match kind {
            Kind::Mistake => {
                let path = daemon.path().join("policy.toml");
                fs::write(&path, format!("{}[[rule]\n", policy())).unwrap();
                let refused = daemon.operator().call("policy/reload", json!({}));
                assert!(refused.is_err(), "a mistake is no policy");
                fs::write(&path, policy()).unwrap();
                self.done.mistakes += 1;
            }
            Kind::Reload => {
                daemon.operator().call("policy/reload", json!({})).unwrap();
                self.done.reloads += 1;
            }
            Kind::Kill => {
                daemon.crash();
                self.done.killed += 1;
            }
            Kind::Stop => {
                daemon.signal(libc::SIGTERM);
                assert_eq!(daemon.ended(), Some(0));
                daemon.start_again();
                self.done.stopped += 1;
            }
            Kind::Again => {
                again(daemon);
                self.done.again += 1;
            }
            Kind::Runner => {
                let all = runners(daemon.path());
                if let Some(pid) = self.pick(&all) {
                    let pid = nix::unistd::Pid::from_raw(pid);
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                    self.done.runners += 1;
                }
            }
            Kind::Client => self.client_dies(daemon),
            Kind::Engine => self.engine_dies(daemon),
            Kind::Disk => self.disk_is_full(daemon),
            Kind::Clock => {
                // The first is the one that everybody must notice.
                let by = if self.done.steps == 0 { clock::MONTH } else { self.pick(&clock::STEPS).unwrap() };
                clock::step(daemon, by);
                self.done.steps += 1;
            }
        }
    }

    /// A client is killed in the middle of its command, which ends with it.
    fn client_dies(&mut self, daemon: &Daemon) {
        let workspace = daemon.workspace(me(), "dies");
        let mut client = daemon
            .execward(&["run", "-c", "echo on; sleep 0.4; echo off"])
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.moment(0, 400);
        let _ = client.kill();
        let _ = client.wait();
        self.done.clients += 1;
    }

    /// The engine is killed, now and then together with the daemon, and comes again.
    fn engine_dies(&mut self, daemon: &mut Daemon) {
        if self.engine.is_none() {
            return;
        }
        let signs = self.signs;
        signs.engine_is_gone();
        self.engine.iter_mut().for_each(Engine::kill);
        self.moment(100, 700);
        if self.random.below(3) == 0 {
            daemon.crash();
            self.done.killed += 1;
        }
        self.engine.iter_mut().for_each(Engine::start_again);
        signs.engine_is_gone();
        self.done.engines += 1;
    }

    /// There is no room for the log and the database for a moment; now and then the daemon is killed in it.
    fn disk_is_full(&mut self, daemon: &mut Daemon) {
        if self.disk.is_none() {
            return;
        }
        let signs = self.signs;
        signs.disk_is_full();
        self.disk.iter().for_each(Disk::fill);
        self.moment(200, 1000);
        let killed = self.random.below(3) == 0;
        if killed {
            daemon.kill();
            self.done.killed += 1;
        }
        self.disk.iter().for_each(Disk::free);
        if killed {
            daemon.start_again();
        }
        signs.disk_is_full();
        self.done.full += 1;
    }
}

/// Has the daemon executed anew in its process.
fn again(daemon: &Daemon) {
    let started =
        |daemon: &Daemon| daemon.operator().call("status/show", json!({})).unwrap()["started"].clone();
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
}
