//! The runner as it is launched: reads what the sandbox shall be, enters its namespaces, and waits for the end.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getegid, geteuid, getgid, getuid, setsid};

use super::bare::{self, Settled};
use super::cgroup::{self, Cgroup};
use super::failure::{Doing, Hint, Result};
use super::far;
use super::outlive::Rendezvous;
use super::root::Idmaps;
use super::{namespaces, serve};
use crate::sys::passing;
use crate::sys::process::{self, Side};
use crate::wire::frame::{Decoder, Frame};
use crate::wire::runner::{
    CONNECT, Container, Failure, FromRunner, Ground, HOLD_IDS, Layer, STDIO, SandboxSpec, ToRunner,
};

/// How much rather than others the kernel shall end a command when memory runs out: proc_pid_oom_score_adj(5).
const OOM_SCORE_ADJUSTMENT: &str = "200";

/// The stream to the supervisor: one socket, or a pipe for each direction.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) from: OwnedFd,
    pub(super) to: OwnedFd,
}

/// Runs the role. The stream to the supervisor is standard input; with [`STDIO`] also standard output, and with
/// [`CONNECT`] the socket that is named next. Returns the exit code of the process.
pub fn main() -> i32 {
    // Whoever may start it says what the sandbox is: with rights of the binary's own it would give them away.
    if getuid() != geteuid() || getgid() != getegid() {
        return 1;
    }
    // Whatever the parent left open is not ours to hold, and never a command's: CVE-2024-21626.
    let _ = process::close_from(3);
    let _ = setsid();
    let _ = nix::unistd::chdir("/");
    let _ = process::die_with_parent();
    // A hint for the kernel, before the file below becomes root's: of all processes, commands go first.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = process::own_signals();
    let _ = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let mut words = std::env::args_os().skip(2);
    let mut stream = match words.next() {
        None => stdin(),
        Some(word) if word == STDIO => stdio(),
        Some(word) if word == CONNECT => socket(words.next()),
        Some(word) if word == HOLD_IDS => return namespaces::hold_ids(),
        Some(_) => return 2,
    }
    .ok();
    match launch(&mut stream) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(stream) = stream {
                refuse(stream, failure);
            }
            1
        }
    }
}

/// Everything that the inner runner is given besides its stream.
pub(super) struct Inside<'a> {
    pub(super) spec: &'a SandboxSpec,
    pub(super) cgroup: Cgroup,
    pub(super) idmaps: Idmaps,
    /// Layers that stand already.
    pub(super) layers: Vec<Layer>,
    /// Whether the runner is root on the host.
    pub(super) privileged: bool,
    /// Where another supervisor comes, where the session is to outlive this one.
    pub(super) rendezvous: Option<Rendezvous>,
    /// How often something is to be said to a supervisor elsewhere, which cannot look at what it names.
    pub(super) far: Option<Duration>,
}

/// Takes the stream where another process, the inner runner, has become its user.
fn launch(stream: &mut Option<Stream>) -> Result<i32> {
    let Opened { spec, decoder, socket, alive } = read_open(stream.as_ref())?;
    let settled = match spec.ground.clone() {
        Ground::Far(there) => far::settle(spec, &there)?,
        Ground::Host => bare::here(spec)?,
        Ground::Container(Container { far: Some(there), .. }) => far::in_container(spec, &there)?,
        Ground::Bare | Ground::Container(_) => Settled { spec, layers: Vec::new(), home: None },
    };
    let spec = &settled.spec;
    let mut layers = settled.layers;
    let privileged = geteuid().is_root();
    let mut rendezvous = socket
        .filter(|_| spec.outlives_ms > 0)
        .map(|socket| Rendezvous { socket, patience: Duration::from_millis(spec.outlives_ms) });
    let outlives = rendezvous.is_some();
    if outlives {
        leave_parent().doing("protocol", || "get ready to outlive the supervisor".into())?;
    }
    if !matches!(spec.ground, Ground::Host) {
        let (cgroup, idmaps) = (Cgroup::default(), Idmaps::default());
        let inside = Inside { spec, cgroup, idmaps, layers, privileged, rendezvous, far: alive };
        let code = stream.take().map_or(1, |stream| serve::main(stream, decoder, inside));
        settled.home.iter().for_each(|home| bare::remove(home));
        return Ok(code);
    }
    let _ = process::new_session_keyring();
    let (mut cgroup, mut idmaps);
    if privileged {
        let (made, limited) = Cgroup::create(&spec.limits);
        cgroup = made;
        layers.push(Layer {
            name: "user-namespace".into(),
            enforced: false,
            detail: format!(
                "not used for root: commands run as uid {} and gid {}, which are nobody's on the host",
                spec.identity.uid, spec.identity.gid
            ),
        });
        layers.extend(limited);
        idmaps = Idmaps::new(spec)?;
    } else {
        namespaces::enter_user_namespace(&spec.identity).map_err(bare::or_less)?;
        if !outlives {
            // Capabilities that are gained take this away: prctl(2).
            let _ = process::die_with_parent();
        }
        layers.push(Layer {
            name: "user-namespace".into(),
            enforced: true,
            detail: format!("uid {} only", spec.identity.uid),
        });
        layers.push(Layer {
            name: "cgroup".into(),
            enforced: false,
            detail: "limits on memory of the whole tree are not enforced: an ordinary user has no cgroup of its own; \
                     the number of processes is held by RLIMIT_NPROC inside the user namespace"
                .into(),
        });
        if spec.limits.cpus.is_some() {
            let why = "an ordinary user has no cgroup of its own".to_owned();
            layers.push(cgroup::cpu_layer(&spec.limits, Some(why)));
        }
        (cgroup, idmaps) = (Cgroup::default(), Idmaps::default());
    }
    let helpers = idmaps.made_by();
    let doing = || "make the session's namespaces".to_owned();
    let side = process::clone(namespaces::of_session(spec.network), None);
    let side = side.doing("namespaces", doing).hint(|| namespaces::why_no_namespaces(privileged));
    match side.inspect_err(|_| cgroup.remove())? {
        Side::Child => {
            let cgroup = std::mem::take(&mut cgroup);
            let inside = Inside { spec, cgroup, idmaps, layers, privileged, rendezvous, far: alive };
            process::exit_now(stream.take().map_or(1, |stream| serve::main(stream, decoder, inside)))
        }
        Side::Parent { pid, .. } => {
            // The supervisor must see the stream end when the inner runner ends, and find nobody where it would come.
            drop((stream.take(), rendezvous.take()));
            for helper in helpers {
                let _ = waitpid(helper, None);
            }
            let code = loop {
                match waitpid(pid, None) {
                    Ok(WaitStatus::Exited(_, code)) => break code,
                    Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
                    Err(Errno::EINTR) | Ok(_) => {}
                    Err(_) => break 1,
                }
            };
            cgroup.remove();
            Ok(code)
        }
    }
}

/// Takes the stream to the supervisor off standard input, which reads nothing from then on.
fn stdin() -> std::io::Result<Stream> {
    let from = std::io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(Stream { to: from.try_clone()?, from })
}

/// The same, with what goes to the supervisor off standard output, which takes everything and keeps nothing from then on.
fn stdio() -> std::io::Result<Stream> {
    let to = std::io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(nothing)?;
    Ok(Stream { to, ..stdin()? })
}

/// Connects to the socket at which the supervisor waits for this runner.
fn socket(path: Option<OsString>) -> std::io::Result<Stream> {
    let path = path.ok_or(std::io::ErrorKind::InvalidInput)?;
    let from = OwnedFd::from(std::os::unix::net::UnixStream::connect(path)?);
    Ok(Stream { to: from.try_clone()?, from })
}

/// What comes after the end of the supervisor is not the end of this process, nor anything that it holds open: whoever waits
/// for the supervisor's last word on its standard error would wait for this one's.
fn leave_parent() -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(None)?;
    Ok(nix::unistd::dup2_stderr(std::fs::OpenOptions::new().write(true).open("/dev/null")?)?)
}

/// What a session is opened with.
struct Opened {
    spec: SandboxSpec,
    decoder: Decoder,
    /// Where another supervisor will come.
    socket: Option<OwnedFd>,
    /// The supervisor has greeted, and wants to hear this often that somebody is there.
    alive: Option<Duration>,
}

fn read_open(stream: Option<&Stream>) -> Result<Opened> {
    let doing = || "read what the sandbox shall be".to_owned();
    let stream = stream.ok_or(Errno::EBADF).doing("protocol", doing)?;
    let mut decoder = Decoder::default();
    let (mut socket, mut alive) = (None, None);
    loop {
        match decoder.next_frame::<ToRunner>().map_err(std::io::Error::other).doing("protocol", doing)? {
            Some(ToRunner::Greet(greeting)) if alive.is_none() => {
                alive = Some(far::greet(stream, &greeting)?);
                continue;
            }
            Some(ToRunner::Open(spec)) => return Ok(Opened { spec: *spec, decoder, socket, alive }),
            Some(_) => {
                return Err(std::io::Error::other("the first frame must be Open")).doing("protocol", doing);
            }
            None => {}
        }
        let room = 16 << 10;
        let count = match passing::read(stream.from.as_fd(), decoder.space(room)) {
            Err(Errno::EINTR) => {
                decoder.filled(room, 0);
                continue;
            }
            other => {
                let (count, fd) = other.doing("protocol", doing)?;
                socket = socket.or(fd);
                count
            }
        };
        decoder.filled(room, count);
        if count == 0 {
            return Err(std::io::Error::other("the stream ended first")).doing("protocol", doing);
        }
    }
}

pub(super) fn refuse(stream: Stream, failure: Failure) {
    let mut frame = Vec::new();
    FromRunner::Failed(failure).encode(&mut frame);
    let _ = std::io::Write::write_all(&mut std::fs::File::from(stream.to), &frame);
}
