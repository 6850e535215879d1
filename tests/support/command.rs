//! A process of a test: as whom, with which descriptors, and what came of it.
//!
//! execward and the bare command it is compared with are started in exactly the same way.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Ground;
use super::account::Account;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process to start.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    stdin: Vec<u8>,
    input: Input,
    patience: Duration,
    setup: Setup,
}

#[derive(Debug, PartialEq, Eq)]
enum Input {
    Bytes,
    Given,
}

/// What the child does to itself before exec.
#[derive(Debug)]
struct Setup {
    account: Account,
    /// Mounted over in a private mount namespace: (what, where). Only as root.
    binds: Vec<(CString, CString)>,
    /// A tiny full file system over this directory.
    full: Option<CString>,
    /// Descriptors that leak into the child: (ours, its number).
    leaks: Vec<(OwnedFd, RawFd)>,
    /// A terminal that becomes the controlling one.
    terminal: Option<OwnedFd>,
    /// Blocks SIGUSR1, ignores SIGUSR2 and SIGPIPE, allows core dumps: what must not be inherited.
    dirty: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Output {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Output {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as one JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.stdout(), self.stderr()))
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code (signal {:?})\nstdout: {}\nstderr: {}",
            self.signal,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Fails unless standard error has `error:` and each of `parts`.
    #[track_caller]
    pub fn complains(self, parts: &[&str]) -> Self {
        let text = self.stderr();
        assert!(text.contains("error:"), "no `error:` line in: {text}");
        for part in parts {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
        assert!(!text.contains("panicked"), "a panic is no error message: {text}");
        self
    }
}

impl Command {
    pub(super) fn new(ground: &Ground, program: impl AsRef<OsStr>) -> Self {
        let account = ground.account().clone();
        let mut inner = std::process::Command::new(program);
        let path = match account.uid {
            0 => std::env::var("PATH").unwrap_or_default(),
            _ if super::is_root() => "/usr/local/bin:/usr/bin:/bin".to_owned(),
            _ => std::env::var("PATH").unwrap_or_default(),
        };
        inner
            .current_dir(ground.workspace())
            .env_clear()
            .env("PATH", path)
            .env("HOME", &account.home)
            .env("USER", &account.name)
            .env("LOGNAME", &account.name)
            .env("LANG", "C.UTF-8")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut binds = Vec::new();
        if super::is_root() {
            let state = match account.uid {
                0 => "/var/lib/execward".into(),
                _ => account.home.join(".local/state/execward"),
            };
            make_owned(&state, &account);
            binds.push((c_path(&ground.state()), c_path(&state)));
            // The policy of the host has no say in the tests.
            if Path::new("/etc/execward").is_dir() {
                binds.push((c_path(&ground.nothing()), c_path(Path::new("/etc/execward"))));
            }
        } else {
            inner.env("XDG_STATE_HOME", ground.root().join("xdg"));
        }
        let setup = Setup { account, binds, full: None, leaks: Vec::new(), terminal: None, dirty: false };
        Self { inner, stdin: Vec::new(), input: Input::Bytes, patience: PATIENCE, setup }
    }

    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.inner.args(args);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub fn cwd(mut self, path: impl AsRef<Path>) -> Self {
        self.inner.current_dir(path);
        self
    }

    /// Bytes for standard input; without this it is empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Standard input itself.
    pub fn stdin_from(mut self, stdin: impl Into<Stdio>) -> Self {
        self.inner.stdin(stdin);
        self.input = Input::Given;
        self
    }

    /// Standard output itself; [`Output::stdout`] is then empty.
    pub fn stdout_to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.inner.stdout(stdout);
        self
    }

    /// Where it complains.
    pub fn stderr_to(mut self, stderr: impl Into<Stdio>) -> Self {
        self.inner.stderr(stderr);
        self
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Leaks a descriptor of `path` into the child under this number.
    pub fn leak(mut self, path: &Path, number: RawFd) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        self.setup.leaks.push((file.into(), number));
        self
    }

    /// Gives the child this terminal as its controlling one.
    pub fn terminal(mut self, terminal: OwnedFd) -> Self {
        self.setup.terminal = Some(terminal);
        self
    }

    /// Starts it with signals blocked and ignored and core dumps allowed.
    pub fn dirty(mut self) -> Self {
        self.setup.dirty = true;
        self
    }

    /// Mounts a full file system over `path`. Only as root.
    pub fn full(mut self, path: &Path) -> Self {
        self.setup.full = Some(c_path(path));
        self
    }

    /// Starts it; the caller waits.
    pub fn spawn(mut self) -> Child {
        if self.input == Input::Bytes {
            self.inner.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        }
        let setup = self.setup;
        // SAFETY: between fork and exec `apply` makes system calls only: every path was made ready before, nothing
        // allocates and no lock is taken.
        unsafe { self.inner.pre_exec(move || setup.apply()) };
        self.inner.spawn().unwrap_or_else(|error| panic!("start {:?}: {error}", self.inner.get_program()))
    }

    /// Runs it to its end.
    pub fn output(mut self) -> Output {
        let stdin = std::mem::take(&mut self.stdin);
        if self.input == Input::Bytes && !stdin.is_empty() {
            self.inner.stdin(Stdio::piped());
            self.input = Input::Given;
        }
        let patience = self.patience;
        let started = Instant::now();
        let mut child = self.spawn();
        let feeder = child.stdin.take().map(|mut pipe| thread::spawn(move || drop(pipe.write_all(&stdin))));
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        let status = wait(&mut child, patience);
        let collect = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            reader.map(|reader| reader.join().expect("a reader does not panic")).unwrap_or_default()
        };
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        drop(feeder);
        let Some(status) = status else {
            panic!(
                "not over after {patience:?}\nstdout: {}\nstderr: {}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )
        };
        Output { code: status.code(), signal: status.signal(), stdout, stderr, took: started.elapsed() }
    }
}

impl Setup {
    fn apply(&self) -> io::Result<()> {
        // SAFETY: plain system calls on memory that this child owns; see `spawn` for why nothing allocates.
        unsafe {
            // What the tests were started with may ignore them, as a shell does for what it starts with `&`.
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            if !self.binds.is_empty() || self.full.is_some() {
                check(libc::unshare(libc::CLONE_NEWNS))?;
                let none = c"none".as_ptr();
                check(libc::mount(
                    none,
                    c"/".as_ptr(),
                    none,
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ))?;
                for (what, place) in &self.binds {
                    check(libc::mount(what.as_ptr(), place.as_ptr(), none, libc::MS_BIND, std::ptr::null()))?;
                }
                if let Some(place) = &self.full {
                    // One page, and that one is taken by the file below.
                    let options = c"size=4096,mode=0777".as_ptr().cast();
                    check(libc::mount(none, place.as_ptr(), c"tmpfs".as_ptr(), 0, options))?;
                    check(libc::chown(place.as_ptr(), self.account.uid, self.account.gid))?;
                    check(libc::chmod(place.as_ptr(), 0o700))?;
                    let directory = check(libc::open(place.as_ptr(), libc::O_DIRECTORY | libc::O_CLOEXEC))?;
                    let file = check(libc::openat(
                        directory,
                        c"filler".as_ptr(),
                        libc::O_CREAT | libc::O_WRONLY,
                        0o600,
                    ))?;
                    let page = [0u8; 4096];
                    let _ = libc::write(file, page.as_ptr().cast(), page.len());
                    libc::close(file);
                    libc::close(directory);
                }
            }
            if let Some(terminal) = &self.terminal {
                check(libc::setsid())?;
                check(libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0))?;
            }
            if self.dirty {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
                libc::signal(libc::SIGUSR2, libc::SIG_IGN);
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                let mut limit = std::mem::zeroed();
                check(libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit))?;
                limit.rlim_cur = limit.rlim_max;
                check(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit))?;
            }
            for (from, number) in &self.leaks {
                check(libc::dup2(from.as_raw_fd(), *number))?;
            }
            if super::is_root() && self.account.uid != 0 {
                let groups = [self.account.gid];
                check(libc::setgroups(1, groups.as_ptr()))?;
                check(libc::setresgid(self.account.gid, self.account.gid, self.account.gid))?;
                check(libc::setresuid(self.account.uid, self.account.uid, self.account.uid))?;
            }
            Ok(())
        }
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path holds no NUL")
}

/// Makes a directory and those above it that are missing, owned by `account`.
fn make_owned(path: &Path, account: &Account) {
    let missing: Vec<&Path> = path.ancestors().take_while(|directory| !directory.exists()).collect();
    for directory in missing.into_iter().rev() {
        // Another test may be faster.
        let _ = std::fs::create_dir(directory);
        let _ = std::os::unix::fs::chown(directory, Some(account.uid), Some(account.gid));
    }
}

/// Waits; ends it and answers `None` when `patience` is over.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
