//! The daemon as agents and operators meet it: real processes, real sockets, several users, and peers that mean harm.
//!
//! Every test has a daemon of root, where the tests run as root, and one of an ordinary user. Root's serves users of the
//! test's own making besides: numbers that nobody else has. A process becomes such a user before it connects; the kernel
//! then says so of the connection.

mod audit;
mod backup;
mod crash;
mod damage;
mod descriptors;
mod faults;
mod foreground;
mod forged;
mod grants;
mod hostile;
mod jobs;
mod life;
mod many;
mod models;
mod notify;
mod operators;
mod overlap;
mod pairing;
pub mod people;
mod ranges;
pub mod restart;
mod rights;
mod scan;
mod secrets;
mod sessions;
mod shells;
mod smart;
mod soak;
mod status;
mod strict;
mod terminals;
mod upgrade;
mod user;
mod wrap;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::{ground, skip};

/// Users that are nobody else's.
pub const ANN: u32 = 61_001;
pub const BEN: u32 = 61_002;
pub const CAY: u32 = 61_003;
/// One that the daemon does not know.
pub const EVE: u32 = 61_009;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Who runs the daemon of this thread's test.
    static OWNER: RefCell<Account> = RefCell::new(Account::root());
}

/// Runs a test with a daemon of root's, and with one of an ordinary user's.
pub fn as_both(test: impl Fn()) {
    as_root(&test);
    let Some(user) = Account::user() else { return };
    eprintln!("-- with a daemon of {}", user.name);
    OWNER.set(user);
    test();
}

/// Runs a test with a daemon of root's: what only a daemon of several users can show.
pub fn as_root(test: impl Fn()) {
    if !crate::support::is_root() {
        return skip("root", "the tests do not run as root");
    }
    eprintln!("-- with a daemon of root");
    OWNER.set(Account::root());
    test();
}

/// Whoever runs the daemon.
pub fn me() -> u32 {
    OWNER.with_borrow(|owner| owner.uid)
}

/// Whether the daemon is root's, and has other users.
pub fn is_root() -> bool {
    me() == 0
}

/// A program that whoever runs the daemon runs.
pub fn owners(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if crate::support::is_root() && !is_root() {
        OWNER.with_borrow(|owner| command.uid(owner.uid).gid(owner.gid).env("HOME", &owner.home));
    }
    command
}

/// Gives a file to whoever runs the daemon.
pub fn give(path: &Path) {
    if crate::support::is_root() {
        OWNER.with_borrow(|owner| chown(path, Some(owner.uid), Some(owner.gid))).unwrap();
    }
}

/// A directory that whoever runs the daemon has, and everybody can look into.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("execward-daemon-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    give(directory.path());
    directory
}

/// A daemon of one test.
pub struct Daemon {
    directory: tempfile::TempDir,
    child: Child,
}

/// How a daemon is started.
#[derive(Default)]
pub struct Setup<'a> {
    pub config: &'a str,
    pub policy: &'a str,
}

impl Daemon {
    /// Starts one for the users above, or for whoever runs the tests. `None`, with a skip said, where no jail stands.
    pub fn start(setup: Setup<'_>) -> Option<Self> {
        Self::start_in(directory(), setup)
    }

    /// The same, in a directory that is there: with the binary in `bin/` of it, where one is.
    pub fn start_in(directory: tempfile::TempDir, setup: Setup<'_>) -> Option<Self> {
        fs::create_dir(directory.path().join("work")).unwrap();
        let principals = if is_root() {
            format!("[principals]\nagents = [0, {ANN}, {BEN}, {CAY}]\noperators = [0]\n")
        } else {
            String::new()
        };
        put(&directory.path().join("execward.toml"), &format!("{principals}{}", alone(setup.config)));
        put(&directory.path().join("policy.toml"), setup.policy);
        let child = Self::command(directory.path()).spawn().unwrap();
        let mut daemon = Self { directory, child };
        daemon.wait_for_socket();
        let mut probe = daemon.client(me());
        if let Err(error) = probe.try_open(&daemon.workspace(me(), "probe")) {
            assert_eq!(error["code"], 1500, "{error}");
            skip("jail", &error["message"].to_string());
            return None;
        }
        probe.call("session/close", json!({})).unwrap();
        Some(daemon)
    }

    pub fn command(directory: &Path) -> Command {
        let log = File::options().append(true).create(true).open(directory.join("log")).unwrap();
        let own = directory.join("bin/execward");
        let mut command = owners(if own.exists() { &own } else { ground::execward() });
        command
            .args(["serve", "--verbose"])
            .arg("--socket-dir")
            .arg(directory.join("run"))
            .arg("--state")
            .arg(directory.join("state"))
            .arg("--config")
            .arg(directory.join("execward.toml"))
            .arg("--policy")
            .arg(directory.join("policy.toml"))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn wait_for_socket(&mut self) {
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket("agent")).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended: {status}\n{}", self.log());
            }
            assert!(Instant::now() < until, "no socket\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the daemon as a crash does, and starts another in its place.
    pub fn crash(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Ends the daemon as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts another in the place of one that has ended.
    pub fn start_again(&mut self) {
        self.child = Self::command(self.directory.path()).spawn().unwrap();
        self.wait_for_socket();
        // Once it answers, the sockets are open for everybody, too.
        drop(self.client(me()));
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.path().join(format!("run/{name}.sock"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// A directory of a user's own.
    pub fn workspace(&self, uid: u32, name: &str) -> String {
        let path = self.path().join("work").join(format!("{name}-{uid}"));
        if !path.exists() {
            fs::create_dir(&path).unwrap();
            if uid == me() {
                give(&path);
            } else {
                chown(&path, Some(uid), Some(uid)).unwrap();
            }
        }
        path.to_str().unwrap().to_owned()
    }

    /// A connection of an agent that has said hello.
    pub fn client(&self, uid: u32) -> Client {
        let mut client = self.stranger(uid);
        client.call("hello", json!({"protocol": 1})).unwrap();
        client
    }

    /// A connection of an agent that has said nothing.
    pub fn stranger(&self, uid: u32) -> Client {
        Client::new(connect(&self.socket("agent"), uid).unwrap())
    }

    /// A connection of an operator.
    pub fn operator(&self) -> Client {
        let mut client = Client::new(connect(&self.socket("operator"), me()).unwrap());
        client.call("hello", json!({"protocol": 1})).unwrap();
        client
    }

    /// `execward ARGS... --socket SOCKET`, of whoever runs the daemon.
    pub fn execward(&self, args: &[&str]) -> Command {
        let mut command = owners(ground::execward());
        command.args(args).arg("--socket").arg(self.socket("agent"));
        command
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: plain numbers; the child has not been waited for, so that the number is still its own.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::kill(self.pid(), signal) };
        assert_eq!(sent, 0);
    }

    /// Waits for the end; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the daemon does not stop\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Processes that the daemon, or something of it, has started and that are there still; without the one runner that waits for
    /// a session.
    pub fn descendants(&self) -> Vec<i32> {
        let mut all = descendants(self.pid());
        let waits = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"runner")
                && parent(*pid) == Some(self.pid())
                && descendants(*pid).is_empty()
        };
        if let Some(at) = all.iter().position(waits) {
            all.remove(at);
        }
        all
    }

    /// How many descriptors it has.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Private memory in KiB.
    pub fn private_kib(&self) -> u64 {
        private_kib(self.pid())
    }

    /// Records of the log of this kind.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        // Its older parts by their numbers, and the one that is written.
        let parts = fs::read_dir(self.path().join("state/audit")).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
        let parts: BTreeSet<PathBuf> = parts.filter(named).collect();
        let text: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        // The last one may be under way.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let records = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["kind"] == kind).collect()
    }

    /// Fails unless `execward audit verify` finds the log whole.
    pub fn verify_log(&self) {
        let verified = owners(ground::execward())
            .args(["audit", "verify", "--state"])
            .arg(self.path().join("state"))
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // Everything ends with it.
            self.signal(libc::SIGINT);
            let until = Instant::now() + Duration::from_secs(20);
            while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("-- the daemon's log:\n{}", self.log());
        }
    }
}

/// The same configuration, in which sessions end with their daemon unless it says otherwise.
fn alone(config: &str) -> String {
    const NO: &str = "[daemon]\nalone = \"0s\"\n";
    if config.contains("alone =") {
        config.to_owned()
    } else if config.contains("[daemon]\n") {
        config.replace("[daemon]\n", NO)
    } else {
        format!("{config}\n{NO}")
    }
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

/// Processes that connected as other users: the daemon looks at them for as long as the connections last.
static CONNECTED: std::sync::Mutex<Vec<Child>> = std::sync::Mutex::new(Vec::new());

/// Connects as this user: a process of its own does, before it becomes one that waits for the end of the tests.
pub fn connect(path: &Path, uid: u32) -> std::io::Result<UnixStream> {
    // SAFETY: getuid cannot fail and touches no memory.
    #[allow(unsafe_code)]
    if uid == unsafe { libc::getuid() } {
        return UnixStream::connect(path);
    }
    let path = path.to_owned();
    let gid = Account::user().filter(|user| user.uid == uid).map_or(uid, |user| user.gid);
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let (address, fd) = (UnixAddr::new(&path)?, socket.as_raw_fd());
    let mut command = Command::new("cat");
    command.uid(uid).gid(gid).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null());
    let connecting = move || {
        // A process that was root may be looked at by root alone, until it executes something.
        // SAFETY: plain numbers.
        #[allow(unsafe_code)]
        let visible = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
        assert_eq!(visible, 0);
        Ok(nix::sys::socket::connect(fd, &address)?)
    };
    // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(connecting);
    }
    CONNECTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(command.spawn()?);
    Ok(UnixStream::from(socket))
}

/// Connects as this user, from a thread of the tests: fast, and for connections that open no session. A daemon of an ordinary
/// user cannot see what root's process sees.
pub fn connect_quickly(path: &Path, uid: u32) -> std::io::Result<UnixStream> {
    let path = path.to_owned();
    let gid = Account::user().filter(|user| user.uid == uid).map_or(uid, |user| user.gid);
    let connecting = std::thread::spawn(move || {
        // SAFETY: plain numbers. The calls go past the C library and change this thread only, which then ends.
        #[allow(unsafe_code)]
        let became = unsafe {
            libc::getuid() == uid
                || libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>())
                    | libc::syscall(libc::SYS_setresgid, gid, gid, gid)
                    | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
                    == 0
        };
        assert!(became, "cannot become uid {uid}");
        UnixStream::connect(path)
    });
    connecting.join().unwrap()
}

/// Whether a process is there, and not only waits to be reaped.
pub fn is_there(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The parent of a process that is there.
pub fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

pub fn descendants(pid: i32) -> Vec<i32> {
    let mut parents = std::collections::BTreeMap::<i32, Vec<i32>>::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            parents.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![pid]);
    while let Some(pid) = next.pop() {
        for child in parents.get(&pid).into_iter().flatten() {
            found.push(*child);
            next.push(*child);
        }
    }
    found
}

/// Private memory of a process in KiB.
pub fn private_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

/// A plain client, which can also misbehave.
pub struct Client {
    pub stream: UnixStream,
    reader: BufReader<UnixStream>,
    last: u64,
    /// Notifications that came meanwhile.
    pub events: Vec<Value>,
    /// Replies to other requests that came meanwhile.
    replies: Vec<Value>,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader, last: 0, events: Vec::new(), replies: Vec::new() }
    }

    /// The line of the next request.
    pub fn line(&mut self, method: &str, params: &Value) -> String {
        self.last += 1;
        format!("{}\n", json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}))
    }

    /// Sends a request; its id.
    pub fn send(&mut self, method: &str, params: &Value) -> u64 {
        let line = self.line(method, params);
        self.stream.write_all(line.as_bytes()).unwrap();
        self.last
    }

    /// The next message; `None` at the end.
    pub fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// Waits for the reply to a request.
    pub fn reply(&mut self, id: u64) -> Result<Value, Value> {
        let mut message = match self.replies.iter().position(|reply| reply["id"] == id) {
            Some(at) => self.replies.remove(at),
            None => loop {
                let message = self.receive().expect("the daemon answers");
                if message["id"] == id {
                    break message;
                }
                let into = if message.get("method").is_some() { &mut self.events } else { &mut self.replies };
                into.push(message);
            },
        };
        let error = message["error"].take();
        if error.is_null() { Ok(message["result"].take()) } else { Err(error) }
    }

    /// The same on a connection that may be refused at once; `None` where it is closed before anything comes.
    pub fn try_call(&mut self, method: &str, params: &Value) -> Option<Result<Value, Value>> {
        let line = self.line(method, params);
        let _ = self.stream.write_all(line.as_bytes());
        let mut said = self.receive()?;
        let error = said["error"].take();
        Some(if error.is_null() { Ok(said["result"].take()) } else { Err(error) })
    }

    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, &params);
        self.reply(id)
    }

    /// Waits for a notification about a command.
    pub fn event(&mut self, method: &str, id: &str) -> Value {
        let is = |event: &Value| event["method"] == method && (id.is_empty() || event["params"]["id"] == id);
        loop {
            if let Some(at) = self.events.iter().position(is) {
                return self.events.remove(at)["params"].take();
            }
            let message = self.receive().expect("the daemon tells");
            let into = if message.get("method").is_some() { &mut self.events } else { &mut self.replies };
            into.push(message);
        }
    }

    /// Waits for the end of a command; its report.
    pub fn exited(&mut self, id: &str) -> Value {
        self.event("exec/exited", id)["report"].take()
    }

    pub fn try_open(&mut self, workspace: &str) -> Result<String, Value> {
        let opened = self.call("session/open", json!({ "workspace": workspace }))?;
        Ok(opened["session"].as_str().unwrap().to_owned())
    }

    /// Opens a session; its name.
    pub fn open(&mut self, workspace: &str) -> String {
        self.try_open(workspace).unwrap_or_else(|error| panic!("no session: {error}"))
    }

    /// Runs a command to its end.
    pub fn run(&mut self, id: &str, argv: &[&str]) -> Value {
        self.call("exec/start", json!({"id": id, "command": {"argv": argv}})).unwrap();
        self.call("exec/wait", json!({ "id": id })).unwrap()
    }
}

/// The code of an error.
#[track_caller]
pub fn code<T: std::fmt::Debug>(result: Result<T, Value>) -> i64 {
    result.expect_err("it is refused")["code"].as_i64().unwrap()
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
