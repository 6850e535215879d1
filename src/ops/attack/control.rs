//! The positive control: the same attempts in a throw-away world ([`crate::runner::control`]), in a jail that lacks the layers
//! that are said to stop them, and those alone.
//!
//! Where several layers stop an attempt, each by itself, it can succeed only without all of them. So it is tried without all of
//! them, and then with each of them again: what holds then is what is shown to hold on this host.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use serde::{Deserialize, Serialize};

use super::{Outside, Place, Said, seen};
use crate::prepare::Root;
use crate::runner::control::{Attempt, Entered, World, enter};
use crate::sandbox::{self, jail};
use crate::sys::attack::{Expect, LIST, Layer, NAME, Probe};
use crate::sys::process::exit_now;
use crate::wire::runner::{LaterAction, Level, Limits, Network, SandboxSpec};

/// The first argument by which the binary makes such a world.
pub const ROLE: &str = "attack-control";

/// What came of an attempt in the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Of a row.
    pub id: String,
    /// What was missing.
    pub without: Vec<Layer>,
    /// What came of it then.
    pub said: Said,
    /// The layers of these each of which stops it when it alone is put back.
    pub alone: Vec<Layer>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.without.iter().map(Layer::to_string).collect();
        let (word, text) = match &self.said {
            Said::Open(text) => ("open", text),
            Said::Held(text) => ("held", text),
            Said::Inconclusive(text) => ("inconclusive", text),
        };
        match names.len() {
            few if few < Layer::ALL.len() - 1 => write!(f, "{word} without {}: {text}", names.join(" and ")),
            // Root of a world has fewer rights in it than its own user.
            _ => write!(f, "{word} with no layer but its ids: {text}"),
        }
    }
}

/// Tries the whole list in a throw-away world.
///
/// # Errors
/// Where no such world can be made; why.
pub fn run() -> Result<BTreeMap<String, Tried>, String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(ROLE).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rows = said.lines().filter_map(|line| serde_json::from_str::<Tried>(line).ok());
    let rows: BTreeMap<_, _> = rows.map(|tried| (tried.id.clone(), tried)).collect();
    if rows.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(if why.is_empty() { format!("it ended with {}", output.status) } else { why });
    }
    Ok(rows)
}

/// Whether this process was started as a control.
pub fn is_role(mut arguments: impl Iterator<Item = String>) -> bool {
    arguments.nth(1).as_deref() == Some(ROLE)
}

/// Runs the role; the exit code of the process.
#[allow(clippy::print_stderr, reason = "the parent reads it")]
pub fn main() -> u8 {
    let failed = |error: &dyn fmt::Display| {
        eprintln!("{error}");
        1_u8
    };
    match enter() {
        Ok(Entered::Over(code)) => u8::try_from(code).unwrap_or(1),
        Ok(Entered::Within(world)) => {
            exit_now(inside(&world).map_or_else(|error| failed(&error).into(), |()| 0))
        }
        Err(failure) => failed(&failure),
    }
}

/// In the world, as its first process.
fn inside(world: &World) -> io::Result<()> {
    let base = Path::new("/mnt");
    let place = Place {
        directory: base.join("outside"),
        workspace: base.join("workspace"),
        home: base.join("home"),
        keeper: base.join("keeper"),
        state: base.join("state"),
        state_as_seen: base.join("state"),
        owner: world.ids(),
    };
    for directory in [&place.directory, &place.workspace, &place.home, &place.keeper, &place.state] {
        fs::create_dir_all(directory)?;
    }
    fs::copy("/proc/self/exe", place.workspace.join(NAME))?;
    let outside = Outside::new(place.clone())?;
    let root = Root::open(&place.workspace).map_err(io::Error::other)?;
    let asked = sandbox::Asked {
        requester: world.ids(),
        user: "agent",
        home: place.home.clone(),
        workspace: root.directory(),
        writable: true,
        later: LaterAction::SetAside,
        network: Network::None,
        limits: LIMITS,
        minimum: Level::Full,
        masked: &[],
        own_state: vec![place.state.clone()],
    };
    let spec = jail::spec(&asked).map_err(io::Error::other)?;
    // What a requester has open and leaves open, where the probes look for it.
    fcntl(File::open(place.directory.join("secret"))?, FcntlArg::F_DUPFD(107))?;
    fcntl(File::open(&place.directory)?, FcntlArg::F_DUPFD(109))?;
    let control = Control { world, spec, outside, place };
    let mut stdout = io::stdout().lock();
    for probe in LIST.iter().filter(|probe| probe.expect != Expect::Works) {
        serde_json::to_writer(&mut stdout, &control.of(probe)?)?;
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

const LIMITS: Limits = Limits {
    memory: 1 << 30,
    swap: 0,
    cpus: None,
    processes: 1024,
    file_size: None,
    open_files: 4096,
    tmpfs: 64 << 20,
};

/// Attempts in one world.
struct Control<'a> {
    world: &'a World,
    spec: SandboxSpec,
    outside: Outside,
    place: Place,
}

impl Control<'_> {
    fn of(&self, probe: &Probe) -> io::Result<Tried> {
        let tried = |without: &[Layer], said, alone| Tried {
            id: probe.id.to_owned(),
            without: without.to_vec(),
            said,
            alone,
        };
        if !probe.stopped_by.is_empty() {
            let said = self.attempt(probe, probe.stopped_by)?;
            if matches!(said, Said::Open(_)) {
                return Ok(tried(probe.stopped_by, said, self.alone(probe)?));
            }
        }
        // What succeeds with every layer, too, shows nothing of any.
        let without: Vec<Layer> = Layer::ALL.into_iter().filter(|layer| *layer != Layer::Ids).collect();
        let said = match self.attempt(probe, &[])? {
            Said::Open(what) => Said::Inconclusive(format!("with every layer on as well: {what}")),
            _ => self.attempt(probe, &without)?,
        };
        Ok(tried(&without, said, Vec::new()))
    }

    /// The layers each of which stops it where all others that are said to are missing.
    fn alone(&self, probe: &Probe) -> io::Result<Vec<Layer>> {
        let mut alone = Vec::new();
        for layer in probe.stopped_by {
            let others: Vec<Layer> =
                probe.stopped_by.iter().copied().filter(|other| other != layer).collect();
            if matches!(self.attempt(probe, &others)?, Said::Held(_)) {
                alone.push(*layer);
            }
        }
        Ok(alone)
    }

    fn attempt(&self, probe: &Probe, without: &[Layer]) -> io::Result<Said> {
        self.outside.reset();
        let mut argv = vec![self.place.workspace.join(NAME).display().to_string(), probe.id.to_owned()];
        argv.extend(self.outside.arguments());
        let stdin = File::options().read(true).write(true).open(self.place.directory.join("file"))?;
        let attempt =
            Attempt { argv: &argv, spec: &self.spec, stdin: &stdin, terminal: self.outside.terminal() };
        let (stdout, status) = self.world.run(&attempt, without)?;
        Ok(seen(probe, Said::of(&stdout, status.signal()), self.outside.damage()))
    }
}
