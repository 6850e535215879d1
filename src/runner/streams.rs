//! Both sides of a command's streams: pipes, or a terminal.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::sys::mount::{self, Attributes};
use crate::sys::process::FilesAs;
use crate::sys::terminal;
use crate::wire::runner::Window;

/// How much a pipe to or from a command holds: pipe(7). Fewer turns of the loop for the same bytes.
const PIPE_SIZE: i32 = 1 << 20;

/// Both sides of a command's streams.
pub(super) struct Streams {
    pub(super) command: Ends,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) devpts: Option<OwnedFd>,
}

/// The command's side.
pub(super) enum Ends {
    Pipes([OwnedFd; 3]),
    Terminal(OwnedFd),
}

impl Streams {
    /// Three pipes, which the runner's side does not wait for.
    pub(super) fn pipes() -> nix::Result<Self> {
        let pipe = || pipe2(OFlag::O_CLOEXEC);
        let (command_in, stdin) = pipe()?;
        let (stdout, command_out) = pipe()?;
        let (stderr, command_err) = pipe()?;
        for fd in [&stdin, &stdout, &stderr] {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        // Not granted above /proc/sys/fs/pipe-max-size or the user's share; the default works as well.
        let _ = fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let _ = fcntl(&stdin, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let command = Ends::Pipes([command_in, command_out, command_err]);
        Ok(Self { command, stdin, stdout, stderr: Some(stderr), devpts: None })
    }

    /// A terminal in an instance of devpts that is nobody else's: other commands of the session cannot write to it, and
    /// it has no name outside.
    pub(super) fn terminal(window: Window, (uid, gid): (u32, u32)) -> nix::Result<Self> {
        let attributes = Attributes { no_suid: true, no_exec: true, ..Attributes::default() };
        let [uid, gid] = [uid, gid].map(|id| CString::new(id.to_string()).unwrap_or_default());
        // Of the command's user: the runner could not give it away.
        let options =
            [(c"ptmxmode", c"666"), (c"mode", c"620"), (c"uid", uid.as_c_str()), (c"gid", gid.as_c_str())];
        let devpts = mount::new_filesystem(c"devpts", &options, attributes)?;
        let terminal::Pair { master, peer } = terminal::open(devpts.as_fd())?;
        terminal::resize(peer.as_fd(), window.size())?;
        let stdin = master.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self { command: Ends::Terminal(peer), stdin, stdout: master, stderr: None, devpts: Some(devpts) })
    }

    /// A terminal in the container's own devpts, which is all of the session's commands': it belongs to whoever opens it,
    /// so that it is opened as the commands' user.
    pub(super) fn terminal_of_container(window: Window, (uid, gid): (u32, u32)) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let devpts = nix::fcntl::open("/dev/pts", flags, nix::sys::stat::Mode::empty())?;
        let user = FilesAs::enter(uid, gid)?;
        let terminal::Pair { master, peer } = terminal::open(devpts.as_fd())?;
        drop(user);
        terminal::resize(peer.as_fd(), window.size())?;
        let stdin = master.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self { command: Ends::Terminal(peer), stdin, stdout: master, stderr: None, devpts: None })
    }
}
