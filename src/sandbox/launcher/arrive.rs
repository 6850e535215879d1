//! From a launcher to a runner that has greeted, and whose sandbox stands.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::template::{Filling, Template};
use super::{FarError, Launcher, Way};
use crate::sandbox::link::{Building, Far, Link, Runner};
use crate::sandbox::{LaunchError, docker, image};
use crate::sys::socket;
use crate::wire::frame::{Decoder, Frame as _};
use crate::wire::runner::{FromRunner, Greeting, SandboxSpec, ToRunner, VERSION};

/// Longest line that a shell there may say.
const LINE: usize = 512;

/// Most of what comes that an error repeats.
const EXCERPT: usize = 200;

/// Most of what a launcher writes to standard error that is kept.
const COMPLAINT: usize = 1 << 10;

/// How much more often than it must a runner says that it is there.
const BEATS: u32 = 3;

/// The end of what a launcher has written to standard error.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Complaints {
    fn of(stream: UnixStream) -> Self {
        let all = Self::default();
        all.hear(stream);
        all
    }

    /// Reads for as long as there is something, so that nobody has to wait to write it.
    pub(in crate::sandbox) fn hear(&self, mut stream: UnixStream) {
        let all = self.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                all.push(buffer.get(..count).unwrap_or_default());
            }
        });
    }

    /// Keeps the end of it.
    pub(in crate::sandbox) fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let over = kept.len().saturating_sub(COMPLAINT);
        kept.drain(..over);
    }

    fn text(&self) -> String {
        printable(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the end of a sentence; empty where nothing was written.
    pub(in crate::sandbox) fn said(&self) -> String {
        let text = self.text();
        if text.is_empty() { text } else { format!("; it wrote: {text}") }
    }
}

/// On one line, with nothing in it that a terminal obeys.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.chars().map(|it| if it.is_control() || it == '\u{fffd}' { ' ' } else { it });
    plain.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A launcher's command that runs, or a container.
struct Reached<'a> {
    launcher: &'a Launcher,
    until: Instant,
    stream: UnixStream,
    behind: Option<Behind>,
    complaints: Complaints,
    /// What is mounted there.
    copy: Option<image::Placed>,
}

/// What the stream hangs on.
enum Behind {
    Process(Child),
    Container(Box<docker::Running>),
}

/// Runs the command, waits for its runner, and has that one make the sandbox.
pub(in crate::sandbox) async fn launch(launcher: &Launcher, spec: SandboxSpec) -> Result<Link, LaunchError> {
    let until = Instant::now() + launcher.patience;
    let mut reached = match &launcher.way {
        Way::Command(template) => command(launcher, template, &spec, until).await?,
        Way::Engine(remote) => Reached::attach(launcher, remote, &spec, until).await?,
    };
    reached.greet().await?;
    let complaints = reached.complaints.clone();
    let runner = match reached.behind.take() {
        Some(Behind::Process(process)) => {
            Runner::Far(Far { process, complaints: complaints.clone(), silence: launcher.silence })
        }
        Some(Behind::Container(running)) => Runner::Container(*running),
        None => return Err(reached.gone("it was used").into()),
    };
    let (standard, _) = UnixStream::pair().map_err(LaunchError::Spawn)?;
    let stream = std::mem::replace(&mut reached.stream, standard);
    let building = Building::begin(stream, runner, spec, None);
    match timeout_at(until, building.stands()).await {
        Ok(Err(LaunchError::Lost(error))) if complaints.text().is_empty() => Err(LaunchError::Lost(error)),
        Ok(Err(LaunchError::Lost(_))) => Err(reached.gone("the sandbox stood").into()),
        Ok(stands) => stands,
        Err(_) => Err(reached.silent("made the sandbox").into()),
    }
}

/// Runs a command, and has the runner brought to where it leads.
async fn command<'a>(
    launcher: &'a Launcher,
    template: &Template,
    spec: &SandboxSpec,
    until: Instant,
) -> Result<Reached<'a>, LaunchError> {
    let image = look(image::about, "a digest of the binary").await?;
    let (directory, mounts) = (launcher.directory.clone(), template.mounts());
    let copied = move || if mounts { copy(&directory).map(Some) } else { Ok(None) };
    let copy = look(copied, "a copy of the binary").await?;
    let mut name = [0; 8];
    getrandom::fill(&mut name)
        .map_err(|error| FarError::Binary { what: "a name", error: io::Error::other(error.to_string()) })?;
    let workspace = spec.workspace.path.to_string_lossy();
    let words = template.fill(&Filling {
        image,
        binary: copy.as_ref().map_or(&launcher.directory, |copy| &copy.path),
        name: &format!("execward-{}", name.map(|byte| format!("{byte:02x}")).concat()),
        workspace: &workspace,
        memory: (spec.limits.memory >> 20).max(1),
        processes: spec.limits.processes,
    });
    let mut reached = Reached::start(launcher, &words, until)?;
    reached.copy = copy;
    if template.sends() {
        reached.bring(image.size).await?;
    }
    Ok(reached)
}

async fn look<T: Send + 'static>(
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
    what: &'static str,
) -> Result<T, FarError> {
    let looked = tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    looked.map_err(|error| FarError::Binary { what, error })
}

/// The binary, in a directory of this user's alone where it has to be copied.
fn copy(directory: &Path) -> io::Result<image::Placed> {
    image::own_directory(directory)?;
    image::place(directory)
}

impl<'a> Reached<'a> {
    fn start(launcher: &'a Launcher, words: &[String], until: Instant) -> Result<Self, LaunchError> {
        let program = words.first().map(String::as_str).unwrap_or_default();
        let path = launcher.environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or("", |(_, path)| path.as_str());
        let found = find(program, path).ok_or_else(|| FarError::Program {
            launcher: launcher.name.clone(),
            program: program.to_owned(),
            path: path.to_owned(),
        })?;
        let pair = || socket::stream_pair().map_err(|errno| LaunchError::Spawn(errno.into()));
        let ((ours, theirs), (hears, writes)) = (pair()?, pair()?);
        let output = theirs.try_clone().map_err(LaunchError::Spawn)?;
        #[allow(
            clippy::disallowed_methods,
            reason = "this launches the runner, which starts everything else"
        )]
        let mut command = Command::new(found);
        command
            .args(words.iter().skip(1))
            .env_clear()
            .envs(launcher.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(writes))
            // Signals of a terminal are not for it.
            .process_group(0);
        let process = command.spawn().map_err(LaunchError::Spawn)?;
        // It holds the other ends: without them nobody would hear of its end.
        drop(command);
        let stream = |fd: OwnedFd| {
            let stream = std::os::unix::net::UnixStream::from(fd);
            stream
                .set_nonblocking(true)
                .and_then(|()| UnixStream::from_std(stream))
                .map_err(LaunchError::Spawn)
        };
        let complaints = Complaints::of(stream(hears)?);
        let behind = Some(Behind::Process(process));
        Ok(Self { launcher, until, stream: stream(ours)?, behind, complaints, copy: None })
    }

    /// Has a container made, and reaches its runner.
    async fn attach(
        launcher: &'a Launcher,
        remote: &docker::Remote,
        spec: &SandboxSpec,
        until: Instant,
    ) -> Result<Self, LaunchError> {
        let attached = timeout_at(until, remote.launch(spec, launcher.silence)).await;
        let late = |_| FarError::Silent {
            launcher: launcher.name.clone(),
            before: "made a container",
            after: launcher.patience,
            complaint: String::new(),
        };
        let docker::Attached { stream, running, complaints } = attached.map_err(late)??;
        let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        let stream = stream.map_err(LaunchError::Spawn)?;
        Ok(Self {
            launcher,
            until,
            stream,
            behind: Some(Behind::Container(Box::new(running))),
            complaints,
            copy: None,
        })
    }

    /// Has a shell there take the binary, if it has not got it.
    async fn bring(&mut self, size: u64) -> Result<(), FarError> {
        self.write(b"go\n", "taken the first word").await?;
        match self.line("said whether it has the runner").await?.as_str() {
            "execward have" => return Ok(()),
            "execward need" => {}
            other => return Err(self.not_brought(other)),
        }
        let error = |error| FarError::Binary { what: "a copy of the binary to send", error };
        let mut file = File::from(image::open().map_err(error)?);
        file.rewind().map_err(error)?;
        let mut left = size;
        let mut buffer = vec![0; 256 << 10];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let room = buffer.get_mut(..most).unwrap_or_default();
            let count = file.read(room).map_err(error)?;
            if count == 0 {
                return Err(error(io::ErrorKind::UnexpectedEof.into()));
            }
            self.write(buffer.get(..count).unwrap_or_default(), "taken the runner").await?;
            left = left.saturating_sub(count as u64);
        }
        match self.line("said that it has the runner").await?.as_str() {
            "execward have" => Ok(()),
            other => Err(self.not_brought(other)),
        }
    }

    fn not_brought(&self, said: &str) -> FarError {
        match said.strip_prefix("execward fail ") {
            Some(why) => FarError::Brought { launcher: self.launcher.name.clone(), why: why.to_owned() },
            None => self.nonsense(said.as_bytes()),
        }
    }

    /// Greets the runner, which must be this very version.
    async fn greet(&mut self) -> Result<(), FarError> {
        let alive = self.launcher.silence / BEATS;
        let alive_ms = u64::try_from(alive.as_millis()).unwrap_or(u64::MAX);
        let mut frame = Vec::new();
        ToRunner::Greet(Greeting { version: VERSION.to_owned(), alive_ms }).encode(&mut frame);
        self.write(&frame, "taken the greeting").await?;
        let mut decoder = Decoder::default();
        let mut said = Vec::new();
        loop {
            match decoder.next_frame::<FromRunner>() {
                // A runner says nothing more before it is told to.
                Ok(Some(FromRunner::Greeted(_))) if decoder.is_mid_frame() => {
                    return Err(self.nonsense(&said));
                }
                Ok(Some(FromRunner::Greeted(greeted))) if greeted.version == VERSION => return Ok(()),
                Ok(Some(FromRunner::Greeted(greeted))) => {
                    return Err(FarError::Version {
                        launcher: self.launcher.name.clone(),
                        found: printable(greeted.version.as_bytes()).chars().take(EXCERPT).collect(),
                        own: VERSION,
                    });
                }
                Ok(None) if said.len() < LINE * 2 => {}
                Ok(_) | Err(_) => return Err(self.nonsense(&said)),
            }
            let mut buffer = [0; LINE];
            let count = self.read(&mut buffer, "greeted").await?;
            let bytes = buffer.get(..count).unwrap_or_default();
            said.extend_from_slice(bytes);
            decoder.push(bytes);
        }
    }

    /// One line. Nothing may come after it before it is answered.
    async fn line(&mut self, before: &'static str) -> Result<String, FarError> {
        let mut line = Vec::new();
        loop {
            let mut buffer = [0; LINE];
            let count = self.read(&mut buffer, before).await?;
            line.extend_from_slice(buffer.get(..count).unwrap_or_default());
            match line.iter().position(|byte| *byte == b'\n') {
                Some(end) if end + 1 == line.len() && end <= LINE => {
                    let text = std::str::from_utf8(line.get(..end).unwrap_or_default());
                    return text.map(str::to_owned).map_err(|_| self.nonsense(&line));
                }
                None if line.len() <= LINE => {}
                _ => return Err(self.nonsense(&line)),
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8], before: &'static str) -> Result<usize, FarError> {
        match timeout_at(self.until, self.stream.read(buffer)).await {
            Ok(Ok(0)) => Err(self.ended(before).await),
            // It has gone with something unread.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(self.ended(before).await),
            Ok(Ok(count)) => Ok(count),
            Ok(Err(error)) => Err(FarError::Stream { launcher: self.launcher.name.clone(), error }),
            Err(_) => Err(self.silent(before)),
        }
    }

    async fn write(&mut self, bytes: &[u8], before: &'static str) -> Result<(), FarError> {
        match timeout_at(self.until, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.ended(before).await),
            Err(_) => Err(self.silent(before)),
        }
    }

    /// It has gone. What it said of that may not have been read yet.
    async fn ended(&self, before: &'static str) -> FarError {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.gone(before)
    }

    fn gone(&self, before: &'static str) -> FarError {
        FarError::Ended { launcher: self.launcher.name.clone(), before, complaint: self.complaints.text() }
    }

    fn silent(&self, before: &'static str) -> FarError {
        FarError::Silent {
            launcher: self.launcher.name.clone(),
            before,
            after: self.launcher.patience,
            complaint: self.complaints.text(),
        }
    }

    fn nonsense(&self, said: &[u8]) -> FarError {
        let said = printable(said.get(..EXCERPT.min(said.len())).unwrap_or_default());
        FarError::Nonsense { launcher: self.launcher.name.clone(), said, complaint: self.complaints.text() }
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        // One that was not handed on has nothing to end in order.
        match self.behind.take() {
            Some(Behind::Process(mut process)) => {
                let _ = process.kill();
                let _ = process.wait();
            }
            // Removed with everything in it: not for this thread to wait for.
            Some(Behind::Container(running)) => drop(tokio::task::spawn_blocking(move || drop(running))),
            None => {}
        }
    }
}

/// The program, by its path or in PATH.
pub(in crate::sandbox) fn find(program: &str, path: &str) -> Option<std::path::PathBuf> {
    if program.contains('/') {
        return program.starts_with('/').then(|| program.into());
    }
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories
        .map(|directory| Path::new(directory).join(program))
        .find(|path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file())
}
