//! Descriptors that a client passes for a command's stdio: relayed and redacted like any other, by threads that may hang
//! on them without harm to anybody else.
//!
//! What is passed was opened by somebody with fewer rights than the daemon has. Reading and writing it must not lend
//! those: only pipes, sockets, terminals, a few devices and ordinary files are taken, and they are used as the peer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statfs::fstatfs;
use nix::unistd::{geteuid, isatty};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::exec::Exec;
use crate::supervisor::relay::{Broken, Input, Writer};
use crate::sys::process;
use crate::wire::rpc::{self, Code, Error, Fd, StartExec};
use crate::wire::runner::Stream;

/// Descriptors of one principal that are in use at a time. Each has a thread.
pub(super) const MOST: usize = 192;

/// How long the last of an output may take when the command is not wanted any more.
const LAST: Duration = Duration::from_secs(1);

/// File systems whose files are switches of the kernel: what is written there is judged by who writes. Numbers of
/// linux/magic.h: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, selinuxfs, bpf, configfs, efivarfs, pstore.
const SWITCHES: [i64; 12] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xf97c_ff8c,
    0xcafe_4a11,
    0x6265_6570,
    0xde5e_81e4,
    0x6165_676c,
];

/// The descriptors of one command.
#[derive(Debug)]
pub(super) struct Passed {
    fds: Vec<(Fd, OwnedFd)>,
    places: Arc<OwnedSemaphorePermit>,
    user: Option<(u32, u32)>,
}

impl Passed {
    /// Joins what came with a request to what it names; `None` where that is nothing.
    ///
    /// # Errors
    /// When they do not fit each other or the request, or must not be used.
    pub(super) fn take(
        asked: &StartExec,
        fds: Vec<OwnedFd>,
        (uid, gid): (u32, u32),
        account: &Account,
    ) -> Result<Option<Self>, Error> {
        if fds.len() != asked.fds.len() {
            let why = format!("{} descriptors are named, and {} came", asked.fds.len(), fds.len());
            return Err(Error::new(Code::Descriptors, why).hint(
                "send them with the first byte of the line, or leave `fds` out and use `stdin` and `output`",
            ));
        }
        if fds.is_empty() {
            return Ok(None);
        }
        let refused = |why: &str| Err(Error::new(Code::BadParameters, why));
        let named = |fd: Fd| asked.fds.contains(&fd);
        if (1..asked.fds.len())
            .any(|at| asked.fds.get(..at).is_some_and(|before| before.contains(&asked.fds[at])))
        {
            return refused("`fds` names one of them twice");
        }
        if asked.background {
            return refused("a command in the background outlives the descriptors' owner: leave `fds` out");
        }
        if named(Fd::Stdin) && asked.stdin == rpc::Stdin::Pipe {
            return refused("standard input comes by `fds` or by exec/write, and not by both");
        }
        if named(Fd::Stderr) && asked.pty.is_some() {
            return refused("with a terminal stdout and stderr are one: pass stdout");
        }
        for (fd, name) in fds.iter().zip(&asked.fds) {
            may_be_used(fd.as_fd(), *name).map_err(|why| {
                Error::new(Code::Descriptors, format!("the descriptor for {}: {why}", word(*name)))
                    .hint("pass a pipe, a socket, a terminal or a file, opened for its purpose")
            })?;
        }
        let count = u32::try_from(fds.len()).unwrap_or(u32::MAX);
        let places = Arc::clone(&account.descriptors).try_acquire_many_owned(count).map_err(|_| {
            Error::new(Code::Limit, "as many descriptors of this user are in use as may be")
                .hint("read what commands write, or use `output`")
        })?;
        Ok(Some(Self {
            fds: asked.fds.iter().copied().zip(fds).collect(),
            places: Arc::new(places),
            user: (geteuid().is_root() && uid != 0).then_some((uid, gid)),
        }))
    }

    /// Starts the threads that read and write, and the tasks between them and the command.
    ///
    /// # Errors
    /// When there is no thread to be had. Nothing has been read or written then.
    fn serve(self, exec: &Arc<Exec>, tasks: &TaskTracker) -> std::io::Result<Passing> {
        let Self { fds, places, user } = self;
        let (tell, broken) = mpsc::unbounded_channel();
        let (mut input, mut writers) = (None, [None, None]);
        for (name, fd) in fds {
            let fd = Held { fd, _place: Arc::clone(&places) };
            let before = move || user.is_none_or(|(uid, gid)| process::reach_files_as(uid, gid).is_ok());
            match name {
                Fd::Stdin => input = Some(Input::read_after(fd, before)?),
                Fd::Stdout => writers[0] = Some(Writer::start(fd, Stream::Stdout, tell.clone(), before)?),
                Fd::Stderr => writers[1] = Some(Writer::start(fd, Stream::Stderr, tell.clone(), before)?),
            }
        }
        if let Some(input) = input {
            tasks.spawn(pour(Arc::clone(exec), input));
        }
        let (tell_written, written) = oneshot::channel();
        let exec = Arc::clone(exec);
        tasks.spawn(async move {
            tokio::select! {
                () = drain(&exec, writers) => {}
                // Nobody waits for a reader longer than that when the command is to be gone.
                () = async { exec.kill.cancelled().await; sleep(LAST).await } => {}
            }
            let _ = tell_written.send(());
        });
        Ok(Passing { broken, written: Some(written) })
    }
}

/// A command's descriptors while it runs.
#[derive(Debug)]
pub(super) struct Passing {
    broken: mpsc::UnboundedReceiver<Broken>,
    written: Option<oneshot::Receiver<()>>,
}

impl Passing {
    /// Begins to relay what was passed, if anything was.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn begin(
        passed: Option<Passed>,
        exec: &Arc<Exec>,
        tasks: &TaskTracker,
    ) -> std::io::Result<Self> {
        match passed {
            Some(passed) => passed.serve(exec, tasks),
            None => Ok(Self::none()),
        }
    }

    /// Nothing was passed.
    pub(super) fn none() -> Self {
        Self { broken: mpsc::unbounded_channel().1, written: None }
    }

    /// One that cannot be written any more. Never, where all can.
    pub(super) async fn broken(&mut self) -> Broken {
        match self.broken.recv().await {
            Some(broken) => broken,
            None => std::future::pending().await,
        }
    }

    /// Waits until all that the command wrote has left, or cannot, or `given_up` and a little more. What broke at last.
    pub(super) async fn written(mut self, given_up: impl Future<Output = ()>) -> Option<Broken> {
        if let Some(written) = self.written.take() {
            tokio::select! {
                // An error: its task has ended, too.
                _ = written => {}
                () = async { given_up.await; sleep(LAST).await } => {}
            }
        }
        self.broken.try_recv().ok()
    }
}

/// A descriptor whose place is free again when nobody holds it any more, a thread that hangs on it included.
struct Held {
    fd: OwnedFd,
    _place: Arc<OwnedSemaphorePermit>,
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

async fn drain(exec: &Exec, mut writers: [Option<Writer>; 2]) {
    while let Some(chunk) = exec.for_descriptors().await {
        let writer = match chunk.stream {
            Stream::Stdout => &mut writers[0],
            Stream::Stderr => &mut writers[1],
        };
        if let Some(writer) = writer {
            writer.write(chunk.data).await;
        }
    }
    for writer in writers.into_iter().flatten() {
        writer.finish().await;
    }
}

async fn pour(exec: Arc<Exec>, mut input: Input) {
    let credit = input.credit();
    let pouring = async {
        while let Some(data) = input.next().await {
            let size = data.len();
            let Ok(taken) = exec.feed(data, false) else { return };
            if taken.await.is_err() {
                return;
            }
            // The reading thread has gone when there is nothing more to read.
            let _ = credit.send(size);
        }
        // One that has ended needs no end of its input.
        let _ = exec.feed(Vec::new(), true);
    };
    tokio::select! {
        () = pouring => {}
        () = exec.kill.cancelled() => {}
    }
}

/// Whether using a descriptor lends its owner nothing.
fn may_be_used(fd: BorrowedFd<'_>, name: Fd) -> Result<(), &'static str> {
    let system = |_: Errno| "it cannot be looked at";
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).map_err(system)?);
    let access = flags & OFlag::O_ACCMODE;
    let opened = if name == Fd::Stdin { OFlag::O_RDONLY } else { OFlag::O_WRONLY };
    if flags.contains(OFlag::O_PATH) || (access != OFlag::O_RDWR && access != opened) {
        return Err("it was not opened for that");
    }
    let stat = fstat(fd).map_err(system)?;
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFIFO | SFlag::S_IFSOCK => Ok(()),
        SFlag::S_IFREG => {
            #[allow(clippy::cast_lossless, clippy::useless_conversion, reason = "its width differs")]
            let kind = i64::from(fstatfs(fd).map_err(system)?.filesystem_type().0) & 0xffff_ffff;
            if SWITCHES.contains(&kind) { Err("it is a switch of the kernel's") } else { Ok(()) }
        }
        // null, zero, full, random, urandom: Documentation/admin-guide/devices.txt.
        SFlag::S_IFCHR if major(stat.st_rdev) == 1 && [3, 5, 7, 8, 9].contains(&minor(stat.st_rdev)) => {
            Ok(())
        }
        SFlag::S_IFCHR if isatty(fd).unwrap_or(false) => Ok(()),
        _ => Err("it is nothing that bytes are written to"),
    }
}

fn word(fd: Fd) -> &'static str {
    match fd {
        Fd::Stdin => "stdin",
        Fd::Stdout => "stdout",
        Fd::Stderr => "stderr",
    }
}

/// Places for the descriptors of one principal.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MOST))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn judged(path: &str, write: bool, name: Fd) -> Result<(), &'static str> {
        let file = File::options().read(!write).write(write).open(path).expect("it is there");
        may_be_used(file.as_fd(), name)
    }

    #[test]
    fn what_lends_nothing_is_taken() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        assert_eq!(may_be_used(reader.as_fd(), Fd::Stdin), Ok(()));
        assert_eq!(may_be_used(writer.as_fd(), Fd::Stderr), Ok(()));
        assert_eq!(judged("/dev/null", false, Fd::Stdin), Ok(()));
        assert_eq!(judged("/dev/null", true, Fd::Stdout), Ok(()));
        let file = tempfile::tempfile().expect("a file");
        assert_eq!(may_be_used(file.as_fd(), Fd::Stdout), Ok(()));
    }

    #[test]
    fn what_would_lend_the_daemons_rights_is_not() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        assert!(may_be_used(reader.as_fd(), Fd::Stdout).is_err(), "not opened for writing");
        assert!(may_be_used(writer.as_fd(), Fd::Stdin).is_err(), "not opened for reading");
        assert!(judged("/proc/self/oom_score_adj", true, Fd::Stdout).is_err());
        assert!(judged("/proc/self/status", false, Fd::Stdin).is_err());
        assert!(judged("/", false, Fd::Stdin).is_err(), "a directory");
        let path =
            nix::fcntl::open("/dev/null", OFlag::O_PATH, nix::sys::stat::Mode::empty()).expect("it is there");
        assert!(may_be_used(path.as_fd(), Fd::Stdin).is_err());
    }
}
