//! A private supervisor for one command: the whole pipeline, without a daemon.
//!
//! It has the rights of whoever starts it and no more, so that agent and operator share a uid here: results and records
//! say that nothing separates them. It ends with its command, and its runner ends with it.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};

use super::journal::{Failure, Journal};
use super::local::{Local, LocalError};
use super::policy_file::{self, PolicyFileError, Source};
use super::relay::{Captured, Lost, Relayed, Signals, Stdio, Stopped, relay};
use super::state::Directories;
use crate::approval::{Answer, Terminal};
use crate::audit::LogError;
use crate::gate::{Command, Decision, Facts};
use crate::policy::NetworkMode;
use crate::prepare::directory::{self, WorkspaceRules};
use crate::prepare::environment::{self, Environment, Why};
use crate::prepare::{Directory, DirectoryError, EnvironmentError, Root, Withheld};
use crate::redact::{Redactor, Rules};
use crate::sandbox::{self, LaunchError, Link, jail};
use crate::stage::{
    Cleared, Denial, DenialReason, Network, Outcome, Pending, Place, Prepared, Report, Request, RequestId,
    Seen, Terms, Verdict,
};
use crate::wire::runner::{FileId, Limits, Receipt, SandboxSpec};

/// The name of the backend that an embedded supervisor runs commands in.
const BACKEND: &str = "jail";

/// A command as the command line asks for it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What is to run.
    pub command: Command,
    /// The policy file, where one is named.
    pub policy: Option<PathBuf>,
    /// The state directory, where one is named.
    pub state: Option<PathBuf>,
    /// The directory that the command may change; the current directory where none is named.
    pub workspace: Option<PathBuf>,
    /// Where it starts; the current directory, or the workspace where that is elsewhere.
    pub cwd: Option<PathBuf>,
    /// A workspace that is broader than a piece of work (`/`, a home, `/tmp`) is meant.
    pub allow_broad_workspace: bool,
    /// Wall-clock limit; never beyond the policy's.
    pub timeout: Option<Duration>,
    /// What it is to reach; what the policy says where nothing is asked.
    pub network: Option<Network>,
    /// Variables to pass that no rule passes by itself.
    pub env: Vec<String>,
    /// The environment that it is built from.
    pub variables: Vec<(OsString, OsString)>,
    /// Keep what the command writes for the result, instead of passing it on.
    pub keep_output: bool,
}

/// Everything there is to say of a command when it is over.
#[derive(Debug)]
pub struct Completed {
    /// How it came out.
    pub report: Report,
    /// Places masked in its output.
    pub masked: u64,
    /// Variables that it did not get.
    pub withheld: Vec<Withheld>,
    /// What it wrote to stdout, where that was kept.
    pub stdout: Option<Captured>,
    /// What it wrote to stderr, where that was kept.
    pub stderr: Option<Captured>,
    /// Things that a person should know, one sentence each.
    pub notes: Vec<String>,
}

/// Why a request got no verdict, or a cleared command no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// This user cannot be served.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No record can be kept.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The current directory is gone.
    #[error("the current directory: {0}")]
    CurrentDirectory(std::io::Error),
    /// A directory is refused.
    #[error("the {role}: {error}")]
    Directory {
        /// `workspace` or `working directory`.
        role: &'static str,
        /// What is wrong with it.
        error: DirectoryError,
    },
    /// A directory of execward's own is missing from the workspace, and cannot be made to be hidden there.
    #[error("cannot make {}, which the command could make in its workspace: {error}", path.display())]
    OwnDirectory {
        /// The directory.
        path: PathBuf,
        /// Of the call.
        error: std::io::Error,
    },
    /// A path that cannot be told to the gate or to the command.
    #[error("the path {} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// The policy does not permit it.
    #[error("the policy permits no network")]
    Network,
    /// There is too much of it.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// There is no sandbox.
    #[error("the sandbox: {0}")]
    Sandbox(#[from] LaunchError),
    /// A system call that should not fail did.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
}

impl EmbeddedError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Local(error) => error.hint().to_owned(),
            Self::Log(_) => "nothing runs without its record: make room or mend the permissions, or name another \
                             directory with --state DIR"
                .to_owned(),
            Self::Policy(error) => error.hint(),
            Self::CurrentDirectory(_) => "change to a directory that exists".to_owned(),
            Self::Directory { role: "workspace", .. } => {
                "name a directory of your own with --workspace DIR; --allow-broad-workspace permits `/`, a home or \
                 /tmp"
                .to_owned()
            }
            Self::Network => "a policy permits it with `mode = \"host\"` under [network]".to_owned(),
            Self::Sandbox(error) => error.hint().to_owned(),
            _ => String::new(),
        }
    }
}

/// Serves one command from request to report. Whatever goes wrong on the way, a panic included, nothing runs that was
/// not cleared, and the record says what happened where one can be written.
pub fn serve(asked: &Asked) -> Completed {
    let mut id = [0; 16];
    if let Err(error) = getrandom::fill(&mut id) {
        let id = RequestId::from_random(id);
        return Completed::failed(id, format!("no random numbers: {error}"), String::new());
    }
    let id = RequestId::from_random(id);
    let mut draft = Draft::default();
    let served = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| EmbeddedError::System { what: "cannot start the event loop", error })?;
        runtime.block_on(pipeline(asked, &id, &mut draft))
    }));
    let error = match served {
        Ok(Ok(completed)) => return completed,
        Ok(Err(error)) => error,
        Err(_) => EmbeddedError::System {
            what: "execward panicked, and refuses",
            error: std::io::Error::other("this is a bug"),
        },
    };
    let mut completed = Completed::failed(id, error.to_string(), error.hint());
    if let Err(error) = draft.record(asked, &completed.report.id, error.to_string()) {
        completed.notes.push(format!("this failure could not be recorded: {error}"));
    }
    completed
}

impl Completed {
    fn failed(id: RequestId, error: String, hint: String) -> Self {
        let report = Report {
            outcome: Outcome::Failed { error, hint },
            id,
            decision: Decision::Deny,
            agreed: None,
            findings: Vec::new(),
            timing: None,
            receipt: None,
        };
        Self::quiet(report)
    }

    /// Something that did not run has no output.
    fn quiet(report: Report) -> Self {
        Self { report, masked: 0, withheld: Vec::new(), stdout: None, stderr: None, notes: Vec::new() }
    }
}

/// What is known of a request so far, for the record of its failure.
#[derive(Debug, Default)]
struct Draft {
    local: Option<Local>,
    policy: Option<crate::stage::Digest>,
    cwd: Option<PathBuf>,
}

impl Draft {
    /// Records a failure with what is known. The log is opened anew: the one that was open may be what failed.
    fn record(&self, asked: &Asked, id: &RequestId, error: String) -> Result<(), LogError> {
        let Some(local) = &self.local else { return Ok(()) };
        let facts = local.facts(self.cwd.as_deref().unwrap_or(Path::new("")));
        let mut journal = Journal::open(&local.directories.audit(), id.clone(), local.principal.clone())?;
        let redactor = Redactor::new(&Rules::builtin(), Vec::new());
        let failure = Failure { command: &asked.command, facts: &facts, policy: self.policy, error };
        journal.failed(failure, &redactor)
    }
}

/// Everything that a request needs, held by descriptor.
#[derive(Debug)]
struct Ground {
    workspace: Root,
    cwd: Directory,
    spec: SandboxSpec,
    environment: Vec<(String, String)>,
}

async fn pipeline(asked: &Asked, id: &RequestId, draft: &mut Draft) -> Result<Completed, EmbeddedError> {
    let local = draft.local.insert(Local::look(asked.state.clone())?).clone();
    let mut signals = Signals::listen()
        .map_err(|error| EmbeddedError::System { what: "cannot listen to signals", error })?;
    let mut journal = Journal::open(&local.directories.audit(), id.clone(), local.principal.clone())?;
    let policy = policy_file::load(asked.policy.as_deref(), &local.directories, local.principal.uid)?;
    draft.policy = Some(policy.digest().into());
    tracing::debug!(policy = policy.name(), rules = policy.rule_ids().count(), "policy read");
    let (workspace, cwd) = directories(asked, &local, &policy, draft)?;
    tracing::debug!(workspace = ?workspace.directory().path, cwd = ?cwd.path, "directories opened");
    let network = network(asked.network, &policy)?;
    let mut spec = jail::spec(&sandbox::Asked {
        requester: (local.principal.uid, local.principal.gid),
        user: &local.principal.name,
        home: local.home.clone(),
        workspace: workspace.directory(),
        writable: true,
        network,
        limits: limits(&policy),
        own_state: local.directories.own(),
    })?;
    // A command must not change what the next one is judged by.
    spec.workspace.frozen.extend(asked.policy.iter().flat_map(|policy| named_and_real(policy)));
    let environment = environment(asked, &local, &policy, &spec, &cwd)?;
    let Environment { vars, withheld, secrets } = environment;
    let redactor = Redactor::new(&Rules::builtin(), secrets);

    let mut facts = local.facts(&cwd.path);
    facts.home = text(&spec.identity.home)?;
    facts.user = spec.identity.name.clone();
    facts.cwd = text(&cwd.path)?;
    facts.workspaces = vec![text(&workspace.directory().path)?];
    facts.environment = vars.clone();
    let timeout = asked.timeout.map_or(policy.limits.time, |timeout| timeout.min(policy.limits.time));
    let request = Request {
        id: id.clone(),
        principal: local.principal.clone(),
        command: asked.command.clone(),
        facts,
        place: Place { cwd: cwd.id, workspace: workspace.directory().id },
        terms: Terms { network, timeout: Some(timeout), grace: policy.limits.grace },
        interpreter: local.interpreter.to_owned(),
    };
    let ground = Ground { workspace, cwd, spec, environment: vars.into_iter().collect() };

    let mut completed = match clear(request, &policy, &local, &mut signals).await {
        Ok(cleared) => execute(*cleared, ground, asked, &mut journal, &redactor, &mut signals).await?,
        Err(denial) => refuse(*denial, &mut journal, &redactor),
    };
    for name in &asked.env {
        if withheld.iter().any(|withheld| &withheld.name == name) {
            let why = "looks like a credential or injects code: only a policy can pass it";
            completed.notes.push(format!("the command did not get {name}, which {why}"));
        }
    }
    completed.withheld = withheld;
    if asked.timeout.is_some_and(|asked| asked > timeout) {
        let limit = timeout.as_secs_f64();
        completed
            .notes
            .push(format!("the policy's time limit of {limit} s holds, which is less than was asked for"));
    }
    redact(&mut completed.report, &redactor);
    Ok(completed)
}

/// From the request to a command that may run: reads it, judges it, and asks where a person must agree.
async fn clear(
    request: Request,
    policy: &Source,
    local: &Local,
    signals: &mut Signals,
) -> Result<Box<Cleared>, Box<Denial>> {
    let parsed = request
        .parse()
        .map_err(|(request, error)| Box::new(Denial::malformed(*request, error, policy.digest().into())))?;
    let verdict = parsed.judge(policy);
    tracing::debug!(
        verdict = match verdict {
            Verdict::Allow(_) => "allow",
            Verdict::Ask(_) => "ask",
            Verdict::Deny(_) => "deny",
        },
        "judged"
    );
    match verdict {
        Verdict::Allow(cleared) => Ok(cleared),
        Verdict::Deny(denial) => Err(denial),
        Verdict::Ask(pending) => match ask(&pending, policy.approval.timeout, local, signals).await {
            Answer::Yes(grant) => pending.accept(grant).map(Box::new),
            Answer::No(reason) => Err(Box::new(pending.refuse(reason))),
        },
    }
}

/// Asks the person at the terminal. A signal that would end an ordinary command here is a no.
async fn ask(pending: &Pending, timeout: Duration, local: &Local, signals: &mut Signals) -> Answer {
    let terminal = match Terminal::open() {
        Ok(terminal) => terminal,
        Err(error) => return Answer::No(DenialReason::Nobody(error.to_string())),
    };
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        tokio::select! {
            answer = terminal.ask(pending, local.principal.clone(), left) => return answer,
            signal = signals.next() => {
                if signal != Signal::SIGTSTP {
                    return Answer::No(DenialReason::Interrupted(signal.as_str()));
                }
                // Ctrl-Z: the terminal is as it was by now. The question comes again when execward is resumed.
                let _ = raise(Signal::SIGSTOP);
            }
        }
    }
}

/// From a cleared command to its end.
async fn execute(
    cleared: Cleared,
    ground: Ground,
    asked: &Asked,
    journal: &mut Journal,
    redactor: &Redactor,
    signals: &mut Signals,
) -> Result<Completed, EmbeddedError> {
    let place = Place { cwd: identity(&ground.cwd)?, workspace: identity(ground.workspace.directory())? };
    let prepared = match cleared.prepare(Seen { place, environment: ground.environment }) {
        Ok(prepared) => prepared,
        Err(denial) => return Ok(refuse(*denial, journal, redactor)),
    };
    let (ticket, number) = journal.cleared(&prepared, redactor)?;
    tracing::debug!(record = number, "decision is durable");
    let (link, stdio) = match launch(ground.spec, ground.workspace.directory(), asked, redactor).await {
        Ok(both) => both,
        Err(error) => return Ok(unlaunched(prepared, &error, number, journal, redactor)),
    };
    let receipt = link.receipt().clone();
    tracing::debug!(layers = receipt.layers.len(), "sandbox stands");
    let (running, spawn) = match prepared.start(ticket, 1) {
        Ok(started) => started,
        // The log's own fault: it vouched for another request.
        Err(error) => {
            return Err(EmbeddedError::System { what: "the audit log", error: std::io::Error::other(error) });
        }
    };
    let (sender, receiver) = link.split();
    let relayed = relay(spawn, sender, receiver, stdio, signals).await;
    let mut notes = Vec::new();
    let error = |lost: &Lost| lost.to_string();
    let recorded = journal.ended(
        number,
        relayed.ended.as_ref().map_err(error),
        Some(receipt.clone()),
        relayed.masked,
        redactor,
    );
    if let Err(error) = recorded {
        notes.push(format!("the command's end could not be recorded: {error}"));
    }
    let Relayed { ended, stopped, masked, stdout, stderr } = relayed;
    let finished = match ended {
        Ok(ended) => running.finish(ended),
        Err(Lost::Failed(failure)) => running.lost(failure.to_string(), failure.hint),
        Err(lost) => running.lost(lost.to_string(), ""),
    };
    let mut report = finished.report(receipt);
    report.outcome = stopped_outcome(report.outcome, stopped);
    Ok(Completed { report, masked, withheld: Vec::new(), stdout, stderr, notes })
}

async fn launch(
    spec: SandboxSpec,
    workspace: &Directory,
    asked: &Asked,
    redactor: &Redactor,
) -> Result<(Link, Stdio), EmbeddedError> {
    let link = jail::launch(spec, workspace.fd.as_fd()).await?;
    let stdio = if asked.keep_output { Stdio::keep(redactor) } else { Stdio::pass(redactor) };
    let stdio =
        stdio.map_err(|error| EmbeddedError::System { what: "cannot relay the command's output", error })?;
    Ok((link, stdio))
}

/// A cleared command whose sandbox could not be made does not run, least of all without one.
fn unlaunched(
    prepared: Prepared,
    error: &EmbeddedError,
    number: u64,
    journal: &mut Journal,
    redactor: &Redactor,
) -> Completed {
    let recorded = journal.ended(number, Err(error.to_string()), None::<Receipt>, 0, redactor);
    let mut report = prepared.refuse(DenialReason::Failed(error.to_string())).report();
    if let Outcome::Failed { hint, .. } = &mut report.outcome {
        *hint = error.hint();
    }
    let mut completed = Completed::quiet(report);
    if let Err(error) = recorded {
        completed.notes.push(format!("this failure could not be recorded: {error}"));
    }
    completed
}

/// Records a refusal. It stands whether or not it can be recorded.
fn refuse(denial: Denial, journal: &mut Journal, redactor: &Redactor) -> Completed {
    let recorded = journal.denied(&denial, redactor);
    let mut completed = Completed::quiet(denial.report());
    if let Err(error) = recorded {
        completed.notes.push(format!("this refusal could not be recorded: {error}"));
    }
    completed
}

/// What was stopped from outside came out as that, unless it had an answer of its own.
fn stopped_outcome(outcome: Outcome, stopped: Option<Stopped>) -> Outcome {
    match (stopped, outcome) {
        // Output that is lost, and nobody's to lose: a disk is full, a terminal went away.
        (Some(Stopped::Output(stream, errno)), _) if errno != Errno::EPIPE => Outcome::Failed {
            error: format!("cannot write the command's {}: {}", stream_name(stream), errno.desc()),
            hint: String::new(),
        },
        // Whoever read it has gone. As in a shell, that is a SIGPIPE; an answer other than success stands.
        (Some(Stopped::Output(..)), Outcome::Exited { code: 0 } | Outcome::Cancelled { .. }) => {
            Outcome::Cancelled { signal: Signal::SIGPIPE as i32 }
        }
        (Some(Stopped::Signal(signal)), Outcome::Cancelled { .. }) => {
            Outcome::Cancelled { signal: signal as i32 }
        }
        (_, outcome) => outcome,
    }
}

fn stream_name(stream: crate::wire::runner::Stream) -> &'static str {
    match stream {
        crate::wire::runner::Stream::Stdout => "stdout",
        crate::wire::runner::Stream::Stderr => "stderr",
    }
}

/// Opens the workspace and the directory in it. From here on both are descriptors.
fn directories(
    asked: &Asked,
    local: &Local,
    policy: &Source,
    draft: &mut Draft,
) -> Result<(Root, Directory), EmbeddedError> {
    let current = std::env::current_dir().map_err(EmbeddedError::CurrentDirectory)?;
    let path = asked.workspace.as_ref().map_or_else(|| current.clone(), |path| current.join(path));
    draft.cwd = Some(asked.cwd.as_ref().map_or_else(|| path.clone(), |cwd| current.join(cwd)));
    let own = local.directories.own();
    let rules = WorkspaceRules { home: &local.home, state: &own, allow_broad: asked.allow_broad_workspace };
    let refused = |role| move |error| EmbeddedError::Directory { role, error };
    let workspace = directory::workspace(&path, rules).map_err(refused("workspace"))?;
    if !policy.workspace.roots.is_empty() {
        let roots: Result<Vec<Root>, DirectoryError> =
            policy.workspace.roots.iter().map(|root| Root::open(Path::new(root))).collect();
        directory::open(&workspace.path, &roots.map_err(refused("workspace"))?)
            .map_err(refused("workspace"))?;
    }
    keep_own(&local.directories, &workspace)?;
    let cwd = match &asked.cwd {
        Some(cwd) => current.join(cwd),
        None if current.starts_with(&workspace.path) => current,
        None => workspace.path.clone(),
    };
    draft.cwd = Some(cwd.clone());
    let roots = [Root::from(workspace)];
    let cwd = directory::open(&cwd, &roots).map_err(refused("working directory"))?;
    let [workspace] = roots;
    Ok((workspace, cwd))
}

/// A file as it is named, absolute, and as it is.
fn named_and_real(path: &Path) -> impl Iterator<Item = PathBuf> {
    [std::path::absolute(path).ok(), path.canonicalize().ok()].into_iter().flatten()
}

/// Makes execward's own directories where a workspace as broad as a home holds them. What exists is hidden in the
/// sandbox and held in its place; what does not exist, the command could make itself, with a policy in it.
fn keep_own(own: &Directories, workspace: &Directory) -> Result<(), EmbeddedError> {
    for path in [Some(&own.state), own.config.as_ref()].into_iter().flatten() {
        let held =
            path.ancestors().any(|at| at.canonicalize().is_ok_and(|at| at.starts_with(&workspace.path)));
        if held && !path.is_dir() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| EmbeddedError::OwnDirectory { path: path.clone(), error })?;
        }
    }
    Ok(())
}

fn network(asked: Option<Network>, policy: &Source) -> Result<Network, EmbeddedError> {
    match (policy.network.mode, asked) {
        (NetworkMode::Host, None | Some(Network::Host)) => Ok(Network::Host),
        (NetworkMode::None, Some(Network::Host)) => Err(EmbeddedError::Network),
        (NetworkMode::None, _) | (_, Some(Network::None)) => Ok(Network::None),
    }
}

fn limits(policy: &Source) -> Limits {
    let limits = &policy.limits;
    Limits {
        memory: limits.memory.0,
        processes: limits.processes.into(),
        file_size: Some(limits.file_size.0),
        open_files: limits.open_files.into(),
        // What is in it counts as memory, of which it must not take all.
        tmpfs: limits.memory.0 / 2,
    }
}

fn environment(
    asked: &Asked,
    local: &Local,
    policy: &Source,
    spec: &SandboxSpec,
    cwd: &Directory,
) -> Result<Environment, EmbeddedError> {
    let home = text(&spec.identity.home)?;
    let writable = [spec.workspace.path.clone(), spec.identity.home.clone(), "/tmp".into()];
    // What is not there is not mounted: its place in the private home can be written.
    let shown = spec.view.visible.iter().chain(&spec.view.own);
    let read_only: Vec<PathBuf> = shown.filter(|path| path.exists()).cloned().collect();
    let facts = environment::Facts {
        home: &home,
        user: &spec.identity.name,
        shell: local.interpreter,
        tmp: "/tmp",
        cwd: &cwd.path,
        writable: &writable,
        read_only: &read_only,
    };
    let rules = environment::Rules::builtin();
    let build = |pass: &[String]| environment::build(&rules, asked.variables.iter().cloned(), pass, facts);
    let built = build(&policy.environment.pass)?;
    if asked.env.is_empty() {
        return Ok(built);
    }
    // What is asked for passes where nothing but a rule that names it is missing. Only a policy can name a credential.
    let plain = |name: &&String| {
        built.withheld.iter().any(|withheld| &withheld.name == *name && withheld.why == Why::NotListed)
    };
    let pass =
        policy.environment.pass.iter().chain(asked.env.iter().filter(plain)).cloned().collect::<Vec<_>>();
    Ok(build(&pass)?)
}

impl Local {
    /// What the gate is told when nothing more is known than who asks and where.
    pub fn facts(&self, cwd: &Path) -> Facts {
        let cwd = cwd.to_string_lossy().into_owned();
        Facts {
            workspaces: vec![cwd.clone()],
            cwd,
            home: self.home.to_string_lossy().into_owned(),
            user: self.principal.name.clone(),
            uid: self.principal.uid,
            homes: self.users.homes(),
            environment: Default::default(),
            dialect: self.dialect,
            backend: BACKEND.to_owned(),
        }
    }
}

impl Local {
    /// What the gate would be told about a command at this place, with the environment that it would have. Nothing is
    /// opened: a check may be about a place that is not there.
    ///
    /// # Errors
    /// When no environment can be built.
    pub fn facts_of(
        &self,
        workspace: &Path,
        cwd: &Path,
        policy: &Source,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Facts, EmbeddedError> {
        let home = text(&self.home)?;
        let writable = [workspace.to_owned(), self.home.clone(), "/tmp".into()];
        let facts = environment::Facts {
            home: &home,
            user: &self.principal.name,
            shell: self.interpreter,
            tmp: "/tmp",
            cwd,
            writable: &writable,
            read_only: &[],
        };
        let rules = environment::Rules::builtin();
        let environment = environment::build(&rules, variables, &policy.environment.pass, facts)?;
        Ok(Facts {
            workspaces: vec![text(workspace)?],
            cwd: text(cwd)?,
            environment: environment.vars,
            ..self.facts(cwd)
        })
    }
}

/// What a descriptor is, now.
fn identity(directory: &Directory) -> Result<FileId, EmbeddedError> {
    let stat = nix::sys::stat::fstat(&directory.fd)
        .map_err(|errno| EmbeddedError::System { what: "cannot look at a directory", error: errno.into() })?;
    Ok(FileId { dev: stat.st_dev, ino: stat.st_ino })
}

fn text(path: &Path) -> Result<String, EmbeddedError> {
    path.to_str().map(str::to_owned).ok_or_else(|| EmbeddedError::NotText(path.to_owned()))
}

/// Masks secrets in what a report repeats of the command.
fn redact(report: &mut Report, redactor: &Redactor) {
    let mask = |text: &mut String| {
        let (masked, places) = redactor.text(text);
        if places > 0 {
            *text = masked;
        }
    };
    for finding in &mut report.findings {
        finding.argv.iter_mut().for_each(mask);
        [&mut finding.effect, &mut finding.reason, &mut finding.hint].into_iter().for_each(mask);
    }
    match &mut report.outcome {
        Outcome::NotFound { program } | Outcome::NotExecutable { program, .. } => mask(program),
        Outcome::Refused { reason, .. } => mask(reason),
        Outcome::Failed { error, .. } => mask(error),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::runner::Stream;

    #[test]
    fn output_that_nobody_reads_is_a_broken_pipe() {
        let pipe = Some(Stopped::Output(Stream::Stdout, Errno::EPIPE));
        let sigpipe = Outcome::Cancelled { signal: 13 };
        assert_eq!(stopped_outcome(Outcome::Exited { code: 0 }, pipe), sigpipe);
        assert_eq!(stopped_outcome(Outcome::Cancelled { signal: 15 }, pipe), sigpipe);
        assert_eq!(stopped_outcome(Outcome::Exited { code: 3 }, pipe), Outcome::Exited { code: 3 });
        let signaled = Outcome::Signaled { signal: 13 };
        assert_eq!(stopped_outcome(signaled.clone(), pipe), signaled);
    }

    #[test]
    fn output_that_cannot_be_written_is_a_failure_whatever_the_command_says() {
        let full = Some(Stopped::Output(Stream::Stdout, Errno::ENOSPC));
        let Outcome::Failed { error, .. } = stopped_outcome(Outcome::Exited { code: 0 }, full) else {
            panic!("not a failure")
        };
        assert_eq!(error, "cannot write the command's stdout: No space left on device");
    }

    #[test]
    fn a_second_signal_is_the_one_that_ended_it() {
        let twice = Some(Stopped::Signal(Signal::SIGINT));
        let cancelled = stopped_outcome(Outcome::Cancelled { signal: 15 }, twice);
        assert_eq!(cancelled, Outcome::Cancelled { signal: 2 });
        assert_eq!(stopped_outcome(Outcome::Exited { code: 1 }, twice), Outcome::Exited { code: 1 });
    }
}
