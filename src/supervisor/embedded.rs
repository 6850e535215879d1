//! A private supervisor for one command: the whole pipeline, without a daemon.
//!
//! It has the rights of whoever starts it and no more, so that agent and operator share a uid here: results and records
//! say that nothing separates them. It ends with its command, and its runner ends with it.

mod error;
mod role;
mod settle;

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::error::EmbeddedError;
pub use self::role::{Agent, Role};
use self::settle::{At, Settled};
use super::egress::CONNECTIONS;
use super::journal::{Failure, Journal};
use super::local::Local;
use super::pipeline::{self, ProfileError};
use super::policy_file::{self, PolicyFileError, Project, Source, Tried};
use super::relay::{Captured, Going, Lost, Relayed, Signals, Stdio, relay, stopped_outcome, window};
use super::scribe::{Keeping, Scribe, Unwritten};
use super::state::Directories;
use super::vault::{NotGiven, Vault};
use crate::approval::{Answer, Terminal};
use crate::audit::LogError;
use crate::gate::{Command, Decision};
use crate::policy::Policy;
use crate::prepare::directory::{self, WorkspaceRules};
use crate::prepare::environment::Environment;
use crate::prepare::{Directory, DirectoryError, Root, Withheld};
use crate::redact::{Redactor, Rules};
use crate::sandbox::{self, Backend, Building, LaunchError, Link, Receiver, Sender, docker, jail};
use crate::stage::{
    Cleared, Denial, DenialReason, Outcome, Pending, Place, Prepared, Report, Request, RequestId, Seen, Terms,
};
use crate::wire::rpc;
use crate::wire::runner::{Aftermath, Apart, FileId, Network, Receipt, Spawn, ToRunner};

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
    /// The profile of the policy that it runs under; `default` where none is named.
    pub profile: Option<String>,
    /// What its sandbox is made by; what the policy says where nothing is asked.
    pub backend: Option<rpc::Backend>,
    /// The image of its container.
    pub image: Option<String>,
    /// What it is to reach; what the policy says where nothing is asked.
    pub network: Option<Network>,
    /// Variables to pass that no rule passes by itself.
    pub env: Vec<String>,
    /// The environment that it is built from.
    pub variables: Vec<(OsString, OsString)>,
    /// Keep what the command writes for the result, instead of passing it on.
    pub keep_output: bool,
    /// Give the command a terminal of its own behind the one on stdin.
    pub terminal: bool,
    /// What it is to whoever asks.
    pub role: Role,
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

/// What serving one command takes of memory, about.
#[cfg(target_env = "gnu")]
const HEAP: usize = 1 << 20;

/// Serves one command from request to report. Whatever goes wrong on the way, a panic included, nothing runs that was
/// not cleared, and the record says what happened where one can be written.
pub fn serve(asked: &Asked) -> Completed {
    #[cfg(target_env = "gnu")]
    crate::sys::process::fill_heap(HEAP);
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
        runtime.block_on(serve_one(asked, &id, &mut draft))
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
            aftermath: Aftermath::default(),
            reached: Vec::new(),
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
    fn record(&self, asked: &Asked, id: &RequestId, error: String) -> Result<(), EmbeddedError> {
        let Some(local) = &self.local else { return Ok(()) };
        let facts = local.facts(self.cwd.as_deref().unwrap_or(Path::new("")));
        let journal = journal(local, id)?;
        let vault = Vault::new(local.directories.secrets(), local.principal.uid);
        let redactor = vault.redactor(&Rules::builtin(), Vec::new());
        let failure = Failure { command: &asked.command, facts: &facts, policy: self.policy, error };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| EmbeddedError::System { what: "cannot start the event loop", error })?;
        Ok(runtime.block_on(journal.failed(failure, &redactor))?)
    }
}

/// Everything that a request needs, held by descriptor.
#[derive(Debug)]
struct Ground {
    workspace: Root,
    cwd: Directory,
    environment: Vec<(String, String)>,
}

/// How a sandbox is to be had.
enum Sandbox {
    /// It is being built, or cannot be.
    Building(Result<Building, LaunchError>),
    /// It had to be looked at before the command was judged.
    Stands(Link),
}

async fn serve_one(asked: &Asked, id: &RequestId, draft: &mut Draft) -> Result<Completed, EmbeddedError> {
    // It starts while the policy is read and the command judged, and ends where nothing shall run.
    let runner = jail::Waiting::start();
    let mut local = draft.local.insert(Local::look(asked.state.clone())?).clone();
    let mut signals = Signals::listen()
        .map_err(|error| EmbeddedError::System { what: "cannot listen to signals", error })?;
    let mut policy = match asked.role {
        Role::Own => Source::Builtin(Policy::builtin()),
        _ => policy_file::load(asked.policy.as_deref(), &local.directories, local.principal.uid)?,
    };
    draft.policy = Some(policy.digest().into());
    let (workspace, cwd) = directories(asked, &local, &policy, draft)?;
    tracing::debug!(workspace = ?workspace.directory().path, cwd = ?cwd.path, "directories opened");
    if let Some(project) = Project::read(workspace.directory().fd.as_fd())? {
        let tried = Tried::of(&local.directories, local.principal.uid);
        policy = policy.with_project(&project, Some(&tried)).map_err(PolicyFileError::from)?;
        draft.policy = Some(policy.digest().into());
        within(workspace.directory(), &policy)?;
    }
    tracing::debug!(policy = policy.name(), rules = policy.rule_ids().count(), "policy read");
    let wanted = pipeline::Wanted {
        network: asked.network,
        backend: asked.backend,
        image: asked.image.as_deref(),
        launcher: None,
    };
    let selected = pipeline::profile(&policy, asked.profile.as_deref(), wanted)?;
    let at = At { asked, policy: &policy, workspace: workspace.directory(), cwd: &cwd, name: &selected.name };
    let mut settled = at.settle(&local, &selected)?;
    let sandbox = match &settled.backend {
        // It is built while the command is judged. Where that ends in a refusal, it was built for nothing.
        Backend::Jail => Sandbox::Building(runner.and_then(|runner| runner.build(settled.spec.clone()))),
        Backend::Launcher(name) => return Err(LaunchError::NoLauncher(name.clone()).into()),
        Backend::Docker(made) => {
            drop(runner);
            let engine = docker::Engine::new(docker::Options::local(&local.directories.containers()));
            let link =
                sandbox::contain(&engine, made, settled.spec.clone(), workspace.directory(), None).await?;
            // What text means depends on the shell that an image has.
            local = local.inside(settled.backend.name(), link.bash());
            let again = at.settle(&local, &settled.profile)?;
            if again.profile != settled.profile {
                return Err(ProfileError::Changed(again.profile.name).into());
            }
            settled = again;
            Sandbox::Stands(link)
        }
    };
    let Settled { environment, facts, profile, spec, .. } = settled;
    let private = pipeline::private(&spec);
    let Environment { vars, withheld, secrets } = environment;

    // An agent or a server ends when its user says so; what it has run has limits of its own.
    let limit = asked.role.has_limit().then_some(profile.limits.time);
    let timeout = [asked.timeout, limit].into_iter().flatten().min();
    let request = Request {
        id: id.clone(),
        principal: local.principal.clone(),
        command: asked.command.clone(),
        facts,
        place: Place { cwd: cwd.id, workspace: workspace.directory().id },
        terms: Terms { timeout, grace: profile.limits.grace, profile },
        // One command is no session: whoever runs commands one by one scans with `execward scan`.
        context: Vec::new(),
        interpreter: local.interpreter.to_owned(),
    };
    let ground = Ground { workspace, cwd, environment: vars.into_iter().collect() };

    let mut terminal = AtTerminal { local: &local, role: &asked.role, signals: &mut signals };
    let cleared = pipeline::clear(request, &policy, &mut terminal).await;
    let vault = Vault::new(local.directories.secrets(), local.principal.uid);
    let desk =
        || Ok::<_, EmbeddedError>((journal(&local, id)?, vault.redactor(&policy.redaction(), secrets)));
    let give = |cleared: &Cleared| -> Result<Apart, NotGiven> {
        let (request, grants) = (cleared.request(), &cleared.judgement().secrets);
        if grants.is_empty() {
            return Ok(Apart::default());
        }
        let named = |name: &&String| request.facts.environment.contains_key(*name);
        if let Some(name) = asked.env.iter().find(named) {
            return Err(NotGiven::Variable(name.clone()));
        }
        let secrets = vault.give(grants, &request.command, &request.facts)?;
        Ok(Apart { secrets, private: Some(private), ..Apart::default() })
    };
    let (mut completed, redactor) = match cleared {
        Ok(cleared) => execute(*cleared, sandbox, ground, asked, give, desk, &mut signals).await?,
        Err(denial) => {
            let (journal, redactor) = desk()?;
            (refuse(*denial, &journal, &redactor).await, redactor)
        }
    };
    for name in &asked.env {
        if withheld.iter().any(|withheld| &withheld.name == name) {
            let why = "looks like a credential or injects code: only a policy can pass it";
            completed.notes.push(format!("the command did not get {name}, which {why}"));
        }
    }
    completed.withheld = withheld;
    if let (Some(asked), Some(timeout)) = (asked.timeout, timeout)
        && asked > timeout
    {
        let limit = timeout.as_secs_f64();
        completed
            .notes
            .push(format!("the policy's time limit of {limit} s holds, which is less than was asked for"));
    }
    pipeline::mask(&mut completed.report, &redactor);
    Ok(completed)
}

/// The person at the terminal.
struct AtTerminal<'a> {
    local: &'a Local,
    role: &'a Role,
    signals: &'a mut Signals,
}

impl pipeline::Ask for AtTerminal<'_> {
    /// Asks. A signal that would end an ordinary command here is a no.
    async fn ask(&mut self, pending: &Pending, timeout: Duration) -> Answer {
        if let Role::Server { .. } = self.role {
            return Answer::No(DenialReason::Nobody(
                "the terminal of a server's client is not ours".to_owned(),
            ));
        }
        let terminal = match Terminal::open() {
            Ok(terminal) => terminal,
            Err(error) => return Answer::No(DenialReason::Nobody(error.to_string())),
        };
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            tokio::select! {
                answer = terminal.ask(pending, self.local.principal.clone(), left) => return answer,
                signal = self.signals.next() => {
                    if signal == Signal::SIGWINCH {
                        continue;
                    }
                    if signal != Signal::SIGTSTP {
                        return Answer::No(DenialReason::Interrupted(signal.as_str()));
                    }
                    // Ctrl-Z: the terminal is as it was by now. The question comes again when execward is resumed.
                    let _ = raise(Signal::SIGSTOP);
                }
            }
        }
    }
}

/// From a cleared command to its end. `desk` makes what records and masks, while the sandbox is being built.
async fn execute(
    cleared: Cleared,
    sandbox: Sandbox,
    ground: Ground,
    asked: &Asked,
    give: impl FnOnce(&Cleared) -> Result<Apart, NotGiven>,
    desk: impl FnOnce() -> Result<(Journal, Redactor), EmbeddedError>,
    signals: &mut Signals,
) -> Result<(Completed, Redactor), EmbeddedError> {
    let given = match give(&cleared) {
        Ok(given) => given,
        Err(why) => {
            let (journal, redactor) = desk()?;
            let denial = cleared.refuse(DenialReason::Secret(why.to_string()));
            return Ok((refuse(denial, &journal, &redactor).await, redactor));
        }
    };
    let place = Place { cwd: identity(&ground.cwd)?, workspace: identity(ground.workspace.directory())? };
    let prepared = match cleared.prepare(Seen { place, environment: ground.environment }) {
        Ok(prepared) => prepared,
        Err(denial) => {
            let (journal, redactor) = desk()?;
            return Ok((refuse(*denial, &journal, &redactor).await, redactor));
        }
    };
    let mut spawn = prepared.spawn(1);
    spawn.last = true;
    spawn.terminal = asked.terminal.then(window);
    let Apart { secrets, private, .. } = given;
    spawn.apart = Apart { secrets, private, ..spawn.apart };
    let apart = spawn.apart.layer();
    let limits = (spawn.timeout_ms.map(Duration::from_millis), Duration::from_millis(spawn.grace_ms));
    // Everything but the execution, for which the record is needed, does not wait for the record.
    let (launched, recorded) = tokio::join!(launch(sandbox, ground.workspace.directory(), spawn), async {
        let (journal, redactor) = desk()?;
        let (ticket, number) = journal.cleared(&prepared, &redactor).await?;
        Ok::<_, EmbeddedError>((journal, redactor, ticket, number))
    });
    let (journal, redactor, ticket, number) = recorded?;
    tracing::debug!(record = number, "decision is durable");
    let launched = launched.and_then(|launched| Ok((launched, stdio(asked, &redactor)?)));
    let (Launched { mut receipt, listener, sender, mut receiver }, stdio) = match launched {
        Ok(launched) => launched,
        Err(error) => return Ok((unlaunched(prepared, &error, number, &journal, &redactor).await, redactor)),
    };
    receipt.layers.extend(apart);
    tracing::debug!(layers = receipt.layers.len(), "sandbox stands");
    let (running, go) = match prepared.start(ticket, 1) {
        Ok(started) => started,
        // The log's own fault: it vouched for another request.
        Err(error) => {
            return Err(EmbeddedError::System { what: "the audit log", error: std::io::Error::other(error) });
        }
    };
    let closing = CancellationToken::new();
    let proxy = listener.map(|listener| {
        let allow = pipeline::allowed(&running.request().terms.profile);
        let egress = journal.egress(&redactor, allow);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::spawn(egress.serve(listener, Arc::default(), places, closing.clone()))
    });
    let ends_with_input = matches!(asked.role, Role::Server { .. });
    let going = Going { id: 1, go, limit: limits.0, grace: limits.1, ends_with_input };
    let relayed = relay(going, sender, &mut receiver, stdio, signals).await;
    // The sandbox goes while the end is recorded.
    receiver.end();
    closing.cancel();
    if let Some(proxy) = proxy {
        // The ends of its connections are recorded before that of the command.
        let _ = proxy.await;
    }
    let mut notes = Vec::new();
    let error = |lost: &Lost| lost.to_string();
    let recorded = journal.ended(
        number,
        relayed.ended.as_ref().map_err(error),
        Some(receipt.clone()),
        relayed.masked,
        &redactor,
    );
    if let Err(error) = settled(recorded, &journal).await {
        notes.push(format!("the command's end could not be recorded: {error}"));
    }
    drop(receiver);
    let Relayed { ended, stopped, masked, stdout, stderr } = relayed;
    let finished = match ended {
        Ok(ended) => running.finish(ended),
        Err(Lost::Failed(failure)) => running.lost(failure.to_string(), failure.hint),
        Err(lost) => running.lost(lost.to_string(), ""),
    };
    let mut report = finished.report(receipt);
    report.outcome = stopped_outcome(report.outcome, stopped);
    Ok((Completed { report, masked, withheld: Vec::new(), stdout, stderr, notes }, redactor))
}

/// A sandbox with the command in it, made ready.
struct Launched {
    receipt: Receipt,
    /// Where its proxy is to be served, if it has one.
    listener: Option<OwnedFd>,
    sender: Sender,
    receiver: Receiver,
}

/// Waits for the sandbox and has the command made ready in it. `workspace` is open meanwhile, so that its inode cannot become
/// another directory's.
async fn launch(sandbox: Sandbox, workspace: &Directory, spawn: Spawn) -> Result<Launched, EmbeddedError> {
    let _open = workspace.fd.as_fd();
    let mut link = match sandbox {
        Sandbox::Building(building) => building?.stands().await?,
        Sandbox::Stands(link) => link,
    };
    let receipt = link.receipt().clone();
    let listener = link.take_listener();
    let (mut sender, receiver) = link.split();
    // Where it has gone already, whoever receives from it hears of that.
    let _ = sender.send(ToRunner::Prepare(Box::new(spawn))).await;
    Ok(Launched { receipt, listener, sender, receiver })
}

fn stdio(asked: &Asked, redactor: &Redactor) -> Result<Stdio, EmbeddedError> {
    let stdio = match (&asked.role, asked.keep_output, asked.terminal) {
        (Role::Server { .. }, ..) => Stdio::messages(redactor),
        (_, true, _) => Stdio::keep(redactor),
        (_, false, true) => Stdio::terminal(redactor),
        (_, false, false) => Stdio::pass(redactor),
    };
    stdio.map_err(|error| EmbeddedError::System { what: "cannot relay the command's output", error })
}

/// A cleared command whose sandbox could not be made does not run, least of all without one.
async fn unlaunched(
    prepared: Prepared,
    error: &EmbeddedError,
    number: u64,
    journal: &Journal,
    redactor: &Redactor,
) -> Completed {
    let recorded = journal.ended(number, Err(error.to_string()), None::<Receipt>, 0, redactor);
    let recorded = settled(recorded, journal).await;
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
async fn refuse(denial: Denial, journal: &Journal, redactor: &Redactor) -> Completed {
    let recorded = journal.denied(&denial, redactor).await;
    let mut completed = Completed::quiet(denial.report());
    if let Err(error) = recorded {
        completed.notes.push(format!("this refusal could not be recorded: {error}"));
    }
    completed
}

/// Waits until the disk has the end, too: this process ends with its command.
async fn settled(recorded: Result<(), Unwritten>, journal: &Journal) -> Result<(), Unwritten> {
    recorded?;
    journal.settle().await
}

/// The records of this one request.
fn journal(local: &Local, id: &RequestId) -> Result<Journal, LogError> {
    let scribe = Scribe::open(&local.directories.audit(), Keeping::default())?;
    let pid = std::process::id().cast_signed();
    Ok(Journal::new(scribe, id.clone(), local.principal.clone(), pid, "terminal"))
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
    within(&workspace, policy)?;
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

/// That the policy lets commands work there.
fn within(workspace: &Directory, policy: &Source) -> Result<(), EmbeddedError> {
    let Some(roots) = &policy.roots else { return Ok(()) };
    let refused = |error| EmbeddedError::Directory { role: "workspace", error };
    let roots: Result<Vec<Root>, DirectoryError> =
        roots.iter().map(|root| Root::open(Path::new(root))).collect();
    directory::open(&workspace.path, &roots.map_err(refused)?).map_err(refused)?;
    Ok(())
}

/// Makes execward's own directories where a workspace as broad as a home holds them. What exists is hidden in the
/// sandbox and held in its place; what does not exist, the command could make itself, with a policy in it.
fn keep_own(own: &Directories, workspace: &Directory) -> Result<(), EmbeddedError> {
    for path in [Some(&own.state), own.config.as_ref()].into_iter().flatten() {
        let held =
            || path.ancestors().any(|at| at.canonicalize().is_ok_and(|at| at.starts_with(&workspace.path)));
        if !path.is_dir() && held() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| EmbeddedError::OwnDirectory { path: path.clone(), error })?;
        }
    }
    Ok(())
}

/// What a descriptor is, now.
fn identity(directory: &Directory) -> Result<FileId, EmbeddedError> {
    let stat = nix::sys::stat::fstat(&directory.fd)
        .map_err(|errno| EmbeddedError::System { what: "cannot look at a directory", error: errno.into() })?;
    Ok(FileId { dev: stat.st_dev, ino: stat.st_ino })
}
