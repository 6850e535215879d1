//! What a request goes through, whoever brings it: one pipeline for the command line and for the daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::local::Local;
use crate::approval::Answer;
use crate::gate::{Command, Facts};
use crate::policy::{self, Allowlist, Backend, BackendName, Later, Policy, Processors, Profile};
use crate::prepare::EnvironmentError;
use crate::prepare::environment::{self, Environment, Why};
use crate::redact::Redactor;
use crate::sandbox::{self, docker::Made};
use crate::stage::{Cleared, Denial, Malformed, Outcome, Pending, Report, Request, Verdict};
use crate::wire::rpc;
use crate::wire::runner::{
    AGENT_SOCKET, LaterAction, Level, Limits, Network, PROXY_PORT, Private, SandboxSpec, Spawn,
};

/// The name of the backend that commands run in where nothing else is asked for.
pub(super) const BACKEND: &str = "jail";

/// Where a person can be asked.
pub(super) trait Ask {
    /// Asks about one command. No person, no answer in time, an interruption: all of it is a no.
    async fn ask(&mut self, pending: &Pending, timeout: Duration) -> Answer;

    /// Hears how long it took to judge the command, asked about or not.
    fn judged(&mut self, _took: Duration) {}
}

/// From the request to a command that may run: reads it, judges it, and asks where a person must agree.
pub(super) async fn clear(
    request: Request,
    policy: &Policy,
    person: &mut impl Ask,
) -> Result<Box<Cleared>, Box<Denial>> {
    let begun = Instant::now();
    let parsed = request
        .parse()
        .map_err(|(request, error)| Box::new(Denial::malformed(*request, error, policy.digest().into())))?;
    let verdict = parsed.judge(policy);
    person.judged(begun.elapsed());
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
        Verdict::Ask(pending) => match person.ask(&pending, policy.approval.timeout).await {
            Answer::Yes(grant) => pending.accept(grant).map(Box::new),
            Answer::No(reason) => Err(Box::new(pending.refuse(reason))),
        },
    }
}

/// Why a request cannot run under the profile that it selects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The policy has none of this name.
    #[error("the policy has no profile `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// It gives more than the policy's default does, and is for rules and operators.
    #[error("the profile `{0}` is not one that a requester may select")]
    NotSelectable(String),
    /// It gives less than it did when the session's sandbox was built.
    #[error("the policy was changed, and its profile `{0}` gives less than this session's sandbox does")]
    Changed(String),
    /// The policy does not let requesters choose this.
    #[error("the policy does not permit the backend `{0}`")]
    Backend(&'static str),
    /// The policy does not name this launcher.
    #[error("the policy does not permit the launcher `{0}`")]
    Launcher(String),
    /// A launcher and something else.
    #[error("a launcher stands in place of a backend and an image")]
    TwoBackends,
    /// A proxy where nobody can serve one.
    #[error("a proxied network does not reach where the launcher `{0}` leads")]
    ProxyElsewhere(String),
    /// An image for what has none.
    #[error("an image is for the backend `docker`")]
    Image,
    /// More network than the profile gives.
    #[error("the policy does not permit the host's network")]
    Network,
    /// A proxy that leads nowhere.
    #[error("the profile `{0}` lists no hosts for a proxied network")]
    NoHosts(String),
}

impl ProfileError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { names, .. } => format!("there are: {}", names.join(", ")),
            Self::NotSelectable(_) => {
                "an operator permits it with `selectable = true` in the profile".to_owned()
            }
            Self::Launcher(_) => "an operator permits it under [sandbox] with `launchers`".to_owned(),
            Self::TwoBackends => "ask for one of them".to_owned(),
            Self::ProxyElsewhere(_) => {
                "ask for no network, or a profile that gives that place's own".to_owned()
            }
            Self::Backend(_) => "an operator permits it under [sandbox] with `backends`".to_owned(),
            Self::Image => "ask for the backend `docker` with it".to_owned(),
            Self::Network => "a policy permits it with `mode = \"host\"` under [network]".to_owned(),
            Self::Changed(_) => "close the session and open another".to_owned(),
            Self::NoHosts(_) => {
                "a policy lists them with `mode = \"proxy\"` and `allow = [\"host:port\"]` under [network]"
                    .to_owned()
            }
        }
    }
}

/// What a request asks for beside its profile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    pub(super) network: Option<Network>,
    pub(super) backend: Option<rpc::Backend>,
    pub(super) image: Option<&'a str>,
    pub(super) launcher: Option<&'a str>,
}

/// What a request runs under: the profile that it selects, with no more network than it asks for, made by what it asks
/// for where the policy lets it choose.
pub(super) fn profile(
    policy: &Policy,
    selected: Option<&str>,
    wanted: Wanted<'_>,
) -> Result<Profile, ProfileError> {
    let mut profile = match selected {
        None => policy.base().clone(),
        Some(name) => policy.profile(name).cloned().ok_or_else(|| ProfileError::Unknown {
            name: name.to_owned(),
            names: policy
                .profiles()
                .filter(|profile| profile.selectable)
                .map(|profile| profile.name.clone())
                .collect(),
        })?,
    };
    if !profile.selectable {
        return Err(ProfileError::NotSelectable(profile.name));
    }
    profile.backend = backend(policy, &profile.backend, &wanted)?;
    match wanted.network {
        Some(Network::Host) if profile.network != policy::Network::Host => return Err(ProfileError::Network),
        Some(Network::Proxy) if !matches!(profile.network, policy::Network::Proxy(_)) => {
            return Err(ProfileError::NoHosts(profile.name));
        }
        Some(Network::None) => profile.network = policy::Network::None,
        _ => {}
    }
    if let (Backend::Launcher(name), policy::Network::Proxy(_)) = (&profile.backend, &profile.network) {
        return Err(ProfileError::ProxyElsewhere(name.clone()));
    }
    Ok(profile)
}

fn backend(policy: &Policy, of: &Backend, wanted: &Wanted<'_>) -> Result<Backend, ProfileError> {
    if let Some(launcher) = wanted.launcher {
        if wanted.backend.is_some() || wanted.image.is_some() {
            return Err(ProfileError::TwoBackends);
        }
        let backend = Backend::Launcher(launcher.to_owned());
        let permitted = backend == *of || policy.choice.permits(&backend);
        return permitted.then_some(backend).ok_or_else(|| ProfileError::Launcher(launcher.to_owned()));
    }
    let kind = match (wanted.backend, of) {
        (None, Backend::Launcher(_)) if wanted.image.is_some() => return Err(ProfileError::TwoBackends),
        (None, Backend::Launcher(_)) => return Ok(of.clone()),
        (None, Backend::Jail) => BackendName::Jail,
        (None, Backend::Docker(_)) => BackendName::Docker,
        (Some(rpc::Backend::Jail), _) => BackendName::Jail,
        (Some(rpc::Backend::Docker), _) => BackendName::Docker,
    };
    let backend = match (kind, wanted.image, of) {
        (BackendName::Jail, Some(_), _) => return Err(ProfileError::Image),
        (BackendName::Jail, None, _) => Backend::Jail,
        (BackendName::Docker, Some(image), _) => Backend::Docker(image.to_owned()),
        (BackendName::Docker, None, Backend::Docker(image)) => Backend::Docker(image.clone()),
        (BackendName::Docker, None, Backend::Jail | Backend::Launcher(_)) => {
            Backend::Docker(policy.choice.image().to_owned())
        }
    };
    if Some(kind) == of.kind() || policy.choice.permits(&backend) {
        Ok(backend)
    } else {
        Err(ProfileError::Backend(backend.name()))
    }
}

/// How the sandbox of a profile is made.
pub(super) fn made_by(profile: &Profile, policy: &Policy) -> sandbox::Backend {
    match &profile.backend {
        Backend::Jail => sandbox::Backend::Jail,
        Backend::Docker(image) => {
            sandbox::Backend::Docker(Made { image: image.clone(), images: policy.choice.images.clone() })
        }
        Backend::Launcher(name) => sandbox::Backend::Launcher(name.clone()),
    }
}

/// The profile with what the rules that speak of this command take away. What cannot be a command is refused later, and not
/// looked at here.
pub(super) fn confined(policy: &Policy, command: &Command, facts: &Facts, profile: &Profile) -> Profile {
    if !policy.confines() || Malformed::check(command).is_err() {
        return profile.clone();
    }
    policy.confine(profile, &policy.judge(command, facts))
}

/// What a session's profile has become under the policy that holds now. What a command gets is decided anew for each; what
/// its sandbox is was decided when the session was opened.
pub(super) fn standing(opened: &Profile, policy: &Policy) -> Result<Profile, ProfileError> {
    let now = policy.profile(&opened.name).ok_or_else(|| ProfileError::Changed(opened.name.clone()))?;
    let built = ["network", "workspace", "masked", "minimum"];
    if opened.beyond(now).iter().any(|part| built.contains(part)) {
        return Err(ProfileError::Changed(opened.name.clone()));
    }
    Ok(Profile { limits: now.limits.clone(), pass: now.pass.clone(), ..opened.clone() })
}

/// What the sandbox of a profile reaches.
pub(super) fn network(profile: &Profile) -> Network {
    match profile.network {
        policy::Network::None => Network::None,
        policy::Network::Proxy(_) => Network::Proxy,
        policy::Network::Host => Network::Host,
    }
}

/// What the proxy of a profile may lead to.
pub(super) fn allowed(profile: &Profile) -> Allowlist {
    match &profile.network {
        policy::Network::Proxy(list) => list.clone(),
        policy::Network::None | policy::Network::Host => Allowlist::default(),
    }
}

/// Where the sandbox of a profile finds its proxy.
fn proxy(profile: &Profile) -> Option<u16> {
    (network(profile) == Network::Proxy).then_some(PROXY_PORT)
}

/// Has a command that has a proxy of its own find it.
pub(super) fn find_proxy(spawn: &mut Spawn) {
    if spawn.apart.is_proxied() {
        let variables: Vec<_> = environment::proxied(PROXY_PORT).collect();
        spawn.env.retain(|(name, _)| variables.iter().all(|(own, _)| own != name));
        spawn.env.extend(variables);
    }
}

/// The least isolation that a profile asks for, for the sandbox.
pub(super) fn minimum(profile: &Profile) -> Level {
    match profile.minimum {
        policy::Level::Full => Level::Full,
        policy::Level::LandlockSeccomp => Level::LandlockSeccomp,
    }
}

/// What the policy does with what others would execute later in the workspace.
pub(super) fn later(policy: &Policy) -> LaterAction {
    match policy.later {
        Later::SetAside => LaterAction::SetAside,
        Later::Report => LaterAction::Report,
        Later::Allow => LaterAction::Allow,
    }
}

/// What the commands of a sandbox may use up.
pub(super) fn limits(profile: &Profile) -> Limits {
    let limits = &profile.limits;
    Limits {
        memory: limits.memory.0,
        swap: limits.swap.0,
        cpus: (limits.cpus != Processors::ALL).then_some(limits.cpus.0),
        processes: limits.processes.into(),
        file_size: Some(limits.file_size.0),
        open_files: limits.open_files.into(),
        // What is in it counts as memory, of which it must not take all.
        tmpfs: limits.memory.0 / 2,
    }
}

/// The places of its own that a command has which is given secrets, and what stays of this sandbox's.
pub(super) fn private(spec: &SandboxSpec) -> Private {
    let shown = spec.view.visible.iter().chain(&spec.view.own).cloned();
    let socket = spec.view.agent_socket.as_ref().map(|_| AGENT_SOCKET.into());
    Private {
        home: spec.identity.home.clone(),
        room: spec.limits.tmpfs,
        keep: std::iter::once(spec.workspace.path.clone()).chain(shown).chain(socket).collect(),
    }
}

/// The environment of a command that starts in `cwd`, made from the requester's variables. Those in `named` were asked
/// for one by one: they pass where nothing but a rule that names them is missing. Only a policy can name a credential.
pub(super) fn environment(
    local: &Local,
    profile: &Profile,
    spec: &SandboxSpec,
    cwd: &Path,
    variables: &[(OsString, OsString)],
    named: &[String],
) -> Result<Environment, EnvironmentError> {
    let tmp = spec.temporary();
    let writable = [spec.workspace.path.clone(), spec.identity.home.clone(), tmp.clone()];
    // What is not there is not mounted: its place in the private home can be written.
    let shown = spec.view.visible.iter().chain(&spec.view.own);
    let read_only: Vec<PathBuf> = shown.filter(|path| path.exists()).cloned().collect();
    let facts = environment::Facts {
        home: spec.identity.home.to_str().unwrap_or("\0"),
        user: &spec.identity.name,
        shell: local.interpreter,
        tmp: tmp.to_str().unwrap_or("/tmp"),
        cwd,
        proxy: proxy(profile),
        writable: &writable,
        read_only: &read_only,
    };
    let rules = environment::Rules::builtin();
    let build = |pass: &[String]| environment::build(rules, variables.iter().cloned(), pass, facts);
    let built = build(&profile.pass)?;
    if named.is_empty() {
        return Ok(built);
    }
    let plain = |name: &&String| {
        built.withheld.iter().any(|withheld| &withheld.name == *name && withheld.why == Why::NotListed)
    };
    let pass: Vec<String> = profile.pass.iter().chain(named.iter().filter(plain)).cloned().collect();
    build(&pass)
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
            backend: self.backend.clone().into_owned(),
            profile: policy::profile::DEFAULT.to_owned(),
        }
    }

    /// What the gate would be told about a command at this place, with the environment that it would have. Nothing is
    /// opened: a check may be about a place that is not there.
    ///
    /// # Errors
    /// When no environment can be built.
    pub fn facts_of(
        &self,
        workspace: &Path,
        cwd: &Path,
        profile: &Profile,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Facts, EnvironmentError> {
        let home = self.home.to_string_lossy();
        let writable = [workspace.to_owned(), self.home.clone(), "/tmp".into()];
        let facts = environment::Facts {
            home: &home,
            user: &self.principal.name,
            shell: self.interpreter,
            tmp: "/tmp",
            cwd,
            proxy: proxy(profile),
            writable: &writable,
            read_only: &[],
        };
        let rules = environment::Rules::builtin();
        let environment = environment::build(rules, variables, &profile.pass, facts)?;
        Ok(Facts {
            workspaces: vec![workspace.to_string_lossy().into_owned()],
            cwd: cwd.to_string_lossy().into_owned(),
            environment: environment.vars,
            ..self.facts(cwd)
        })
    }
}

/// Masks secrets in what a report repeats of the command.
pub(super) fn mask(report: &mut Report, redactor: &Redactor) {
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
    mask_outcome(&mut report.outcome, redactor);
}

/// Takes out of an outcome what must not be shown.
pub(super) fn mask_outcome(outcome: &mut Outcome, redactor: &Redactor) {
    let mask = |text: &mut String| {
        let (masked, places) = redactor.text(text);
        if places > 0 {
            *text = masked;
        }
    };
    match outcome {
        Outcome::NotFound { program } | Outcome::NotExecutable { program, .. } => mask(program),
        Outcome::Refused { reason, .. } => mask(reason),
        Outcome::Failed { error, .. } => mask(error),
        _ => {}
    }
}
