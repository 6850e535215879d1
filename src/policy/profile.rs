//! Profiles: what confines a command, as a policy states it.
//!
//! The sections at the top of a policy are its profile `default`; each `[profile.NAME]` says in what it differs. A requester
//! selects one for a session or a run, and a rule can have a command run under another (`run-under`): what holds then is
//! what both give ([`Profile::meet`]), so that a rule only ever takes away.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::destination::{Allowlist, Destination};
use super::sections::{Limits, LimitsSection};
use super::{ByteSize, Processors};

/// The profile that holds where none is selected.
pub const DEFAULT: &str = "default";

/// What of the network a command reaches, least first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(tag = "mode", content = "allow", rename_all = "lowercase")]
pub enum Network {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// These hosts and ports, through execward's proxy.
    Proxy(Allowlist),
    /// The host's network, unfiltered.
    Host,
}

/// What may be done with the workspace, least first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It can be read.
    Read,
    /// It can be changed.
    #[default]
    Write,
}

/// The least isolation below which nothing runs, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// landlock and seccomp alone: where user namespaces are forbidden.
    LandlockSeccomp,
    /// Every layer: namespaces, a private root, landlock, seccomp.
    #[default]
    Full,
}

/// What a sandbox is made by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Namespaces of this machine.
    #[default]
    Jail,
    /// A container of this image.
    Docker(String),
    /// A runner that the launcher of this name reaches.
    Launcher(String),
}

impl Backend {
    /// The word for it in policies, requests and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::Docker(_) => "docker",
            Self::Launcher(_) => "launcher",
        }
    }

    /// Which of those it is that are named without more words.
    pub const fn kind(&self) -> Option<BackendName> {
        match self {
            Self::Jail => Some(BackendName::Jail),
            Self::Docker(_) => Some(BackendName::Docker),
            Self::Launcher(_) => None,
        }
    }
}

/// How a policy or a request names a [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// Namespaces of this machine.
    Jail,
    /// A container.
    Docker,
}

/// The image of containers where none is named.
pub(super) const DEFAULT_IMAGE: &str = "execward/base";

/// Which sandboxes a requester may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Choice {
    /// What they may be made by.
    pub backends: Vec<BackendName>,
    /// Lists of images, each of which must permit one: `name` is any of its tags, `name:tag` that one, `name@sha256:...`
    /// what has this digest.
    pub images: Vec<Vec<String>>,
    /// The image where none is asked for.
    pub image: Option<String>,
    /// Names of launchers; `None` in a lower layer that says nothing of them.
    pub launchers: Option<Vec<String>>,
    /// What a sandbox is made by where nothing is asked for.
    pub backend: Option<Backend>,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            backends: vec![BackendName::Jail, BackendName::Docker],
            images: vec![["execward/base", "execward/build", "execward/minimal"].map(str::to_owned).to_vec()],
            image: None,
            launchers: None,
            backend: None,
        }
    }
}

impl Choice {
    /// Whether a requester may ask for it.
    pub fn permits(&self, backend: &Backend) -> bool {
        match backend {
            Backend::Launcher(name) => self.launchers.iter().flatten().any(|permitted| permitted == name),
            Backend::Jail => self.backends.contains(&BackendName::Jail),
            Backend::Docker(_) => self.backends.contains(&BackendName::Docker),
        }
    }

    /// What both layers permit. What is used where nothing is asked for is the lower one's, as far as it may choose that.
    #[must_use]
    pub(super) fn over(&self, lower: &Self) -> Self {
        let backends: Vec<BackendName> =
            self.backends.iter().filter(|backend| lower.backends.contains(backend)).copied().collect();
        // A launcher leads to a machine: what the one above does not name is not to be had.
        let upper = self.launchers.as_deref().unwrap_or_default();
        let both = |name: &&String| lower.launchers.as_ref().is_none_or(|lower| lower.contains(name));
        let both = Self {
            images: self.images.iter().chain(&lower.images).cloned().collect(),
            image: lower.image.clone().or_else(|| self.image.clone()),
            launchers: Some(upper.iter().filter(both).cloned().collect()),
            backend: None,
            backends,
        };
        let own = lower.backend.as_ref().filter(|backend| both.permits(backend));
        Self { backend: own.or(self.backend.as_ref()).cloned(), ..both }
    }

    /// The image where none is asked for.
    pub fn image(&self) -> &str {
        self.image.as_deref().unwrap_or(DEFAULT_IMAGE)
    }
}

/// What confines a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Profile {
    /// Its name; of a meet, both names with `+` between them.
    pub name: String,
    /// What its sandbox is made by. A meet has the one of the first.
    pub backend: Backend,
    /// What it reaches.
    pub network: Network,
    /// What it may do with the workspace.
    pub workspace: Access,
    /// What it may use up.
    pub limits: Limits,
    /// Names of variables that pass beyond the built-in allowlist; a trailing `*` stands for any rest.
    pub pass: Vec<String>,
    /// Paths that show as empty, beyond the built-in ones: absolute, below the home (`~/x`), or below the workspace.
    pub masked: Vec<String>,
    /// The least isolation that it runs in.
    pub minimum: Level,
    /// Whether a requester may select it.
    pub selectable: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            backend: Backend::Jail,
            network: Network::None,
            workspace: Access::default(),
            limits: Limits::default(),
            pass: Vec::new(),
            masked: Vec::new(),
            minimum: Level::default(),
            selectable: true,
        }
    }
}

impl Profile {
    /// Gives everything: what a lower layer says that says nothing.
    pub(super) fn everything() -> Self {
        let long = std::time::Duration::MAX;
        Self {
            name: DEFAULT.to_owned(),
            backend: Backend::Jail,
            network: Network::Host,
            workspace: Access::Write,
            limits: Limits {
                time: long,
                grace: long,
                cpu: long,
                idle: long,
                memory: ByteSize(u64::MAX),
                swap: ByteSize(u64::MAX),
                cpus: Processors::ALL,
                processes: u32::MAX,
                open_files: u32::MAX,
                file_size: ByteSize(u64::MAX),
            },
            pass: vec!["*".to_owned()],
            masked: Vec::new(),
            minimum: Level::LandlockSeccomp,
            selectable: true,
        }
    }

    /// Gives as little as a profile can.
    pub(super) fn nothing(name: &str) -> Self {
        Self { name: name.to_owned(), workspace: Access::Read, ..Self::default() }
    }

    /// Takes away what the other does not give, under the same name.
    #[must_use]
    pub(super) fn within(&self, other: &Self) -> Self {
        self.meet(&Self { name: String::new(), ..other.clone() })
    }

    /// What both give: the greatest profile that gives nothing which one of them does not.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let name = match (self.name.as_str(), other.name.as_str()) {
            // In `within`, one of the two has no name.
            (name, "") | ("", name) => name.to_owned(),
            // It was met with the other before.
            (name, other) if name.split('+').any(|part| part == other) => name.to_owned(),
            (one, other) => format!("{one}+{other}"),
        };
        let mut masked: Vec<String> = self.masked.iter().chain(&other.masked).cloned().collect();
        masked.sort();
        masked.dedup();
        Self {
            name,
            backend: self.backend.clone(),
            network: self.network.meet(&other.network),
            workspace: self.workspace.min(other.workspace),
            limits: self.limits.meet(&other.limits),
            pass: meet_names(&self.pass, &other.pass),
            masked,
            minimum: self.minimum.max(other.minimum),
            selectable: self.selectable && other.selectable,
        }
    }

    /// What this one gives that the other does not, as the names of the sections; empty where it gives no more.
    pub fn beyond(&self, other: &Self) -> Vec<&'static str> {
        let both = self.meet(&Self { name: String::new(), ..other.clone() });
        let mut beyond = Vec::new();
        // Compared as sets: the meet of two lists has an order of its own.
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            names
        };
        if both.network != self.network.meet(&self.network) {
            beyond.push("network");
        }
        if both.workspace != self.workspace {
            beyond.push("workspace");
        }
        if both.limits != self.limits {
            beyond.push("limits");
        }
        if sorted(&both.pass) != sorted(&meet_names(&self.pass, &self.pass)) {
            beyond.push("environment");
        }
        if !other.masked.iter().all(|path| self.masked.contains(path)) {
            beyond.push("masked");
        }
        if both.minimum != self.minimum {
            beyond.push("minimum");
        }
        beyond
    }
}

impl Network {
    /// What both reach.
    fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Proxy(one), Self::Proxy(other)) => Self::Proxy(one.meet(other)),
            (Self::Proxy(list), Self::Host) | (Self::Host, Self::Proxy(list)) => Self::Proxy(list.meet(list)),
            (Self::Host, Self::Host) => Self::Host,
        }
    }

    /// The word for it in policies, requests and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Proxy(_) => "proxy",
            Self::Host => "host",
        }
    }
}

impl Level {
    /// The word for it in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LandlockSeccomp => "landlock-seccomp",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names that both lists let pass.
fn meet_names(one: &[String], other: &[String]) -> Vec<String> {
    let covers = |pattern: &String, name: &String| match pattern.strip_suffix('*') {
        Some(stem) => name.starts_with(stem),
        None => pattern == name,
    };
    let within = |names: &[String], patterns: &[String]| -> Vec<String> {
        names.iter().filter(|name| patterns.iter().any(|pattern| covers(pattern, name))).cloned().collect()
    };
    let mut both = within(one, other);
    both.extend(within(other, one));
    both.sort();
    both.dedup();
    both
}

/// How a policy names a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// What `allow` lists, through execward's proxy.
    Proxy,
    /// The host's network, unfiltered.
    Host,
}

/// The `[network]` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct NetworkSection {
    /// See [`NetworkMode`].
    pub mode: NetworkMode,
    /// For `proxy`: hosts with their ports (`"registry.npmjs.org:443"`, `"*.example.org:443"`). An empty list permits
    /// nothing.
    #[schemars(with = "Option<Vec<String>>")]
    pub allow: Option<Vec<Destination>>,
}

impl NetworkSection {
    /// Puts mode and list together.
    pub(super) fn network(&self) -> Result<Network, &'static str> {
        match (self.mode, &self.allow) {
            (NetworkMode::Proxy, Some(list)) => Ok(Network::Proxy(Allowlist::new(list.clone()))),
            (NetworkMode::Proxy, None) => {
                Err("a proxied network needs `allow`, a list of hosts with their ports")
            }
            (_, Some(_)) => {
                Err("`allow` says where a proxied network leads: give `mode = \"proxy\"` with it")
            }
            (NetworkMode::None, None) => Ok(Network::None),
            (NetworkMode::Host, None) => Ok(Network::Host),
        }
    }
}

/// The `[sandbox]` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct SandboxSection {
    /// What sandboxes are made by where nothing else is asked for.
    pub backend: Option<BackendName>,
    /// What requesters may ask for; `backend` always.
    pub backends: Option<Vec<BackendName>>,
    /// The image of containers where no other is asked for.
    pub image: Option<String>,
    /// Images that requesters may ask for; `image` always. `name` is any of its tags, `name:tag` that one,
    /// `name@sha256:...` what has this digest.
    pub images: Option<Vec<String>>,
    /// The launcher of `execward.toml` by which sandboxes are made where nothing else is asked for, in place of `backend`.
    pub launcher: Option<String>,
    /// Launchers that requesters may ask for by name; `launcher`, and those of the profiles, always.
    pub launchers: Option<Vec<String>>,
    /// The least isolation below which nothing runs.
    pub minimum: Option<Level>,
    /// Paths that show as empty, beyond the built-in ones: absolute, below the home (`"~/x"`), or below the workspace.
    pub masked: Vec<String>,
}

/// A `[profile.NAME]`: in what it differs from the sections at the top.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct ProfileSection {
    /// What it is for, for people.
    pub description: String,
    /// Whether requesters may select it although it gives more than the sections at the top do.
    pub selectable: bool,
    /// In place of `[network]`.
    pub network: Option<NetworkSection>,
    /// What the sandbox is made by.
    pub backend: Option<BackendName>,
    /// The image, for a container.
    pub image: Option<String>,
    /// The launcher of `execward.toml` by which the sandbox is made, in place of `backend`.
    pub launcher: Option<String>,
    /// What may be done with the workspace.
    pub workspace: Option<Access>,
    /// Limits that differ.
    pub limits: LimitsSection,
    /// In place of `environment.pass`.
    pub environment: Option<super::sections::Environment>,
    /// Paths that show as empty as well.
    pub masked: Vec<String>,
    /// The least isolation below which nothing runs.
    pub minimum: Option<Level>,
}

impl ProfileSection {
    /// The profile, over the one of the sections at the top.
    pub(super) fn over(&self, name: &str, base: &Profile) -> Result<Profile, &'static str> {
        let mut masked = base.masked.clone();
        masked.extend(self.masked.iter().cloned());
        if self.launcher.is_some() && (self.backend.is_some() || self.image.is_some()) {
            return Err("`launcher` stands in place of `backend` and `image`");
        }
        let backend = match (self.backend, &self.image, &base.backend) {
            (Some(BackendName::Jail), ..) => Backend::Jail,
            (Some(BackendName::Docker), Some(image), _) | (None, Some(image), Backend::Docker(_)) => {
                Backend::Docker(image.clone())
            }
            (Some(BackendName::Docker), None, Backend::Jail | Backend::Launcher(_)) => {
                Backend::Docker(DEFAULT_IMAGE.to_owned())
            }
            (None, Some(_), Backend::Jail | Backend::Launcher(_)) => {
                return Err("`image` is for `backend = \"docker\"`");
            }
            (_, None, base) => base.clone(),
        };
        Ok(Profile {
            name: name.to_owned(),
            backend: self.launcher.clone().map_or(backend, Backend::Launcher),
            network: self
                .network
                .as_ref()
                .map_or_else(|| Ok(base.network.clone()), NetworkSection::network)?,
            workspace: self.workspace.unwrap_or(base.workspace),
            limits: self.limits.over(&base.limits),
            pass: self.environment.as_ref().map_or_else(|| base.pass.clone(), |own| own.pass.clone()),
            masked,
            minimum: self.minimum.unwrap_or(base.minimum),
            selectable: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn build() -> Profile {
        Profile {
            name: "build".into(),
            network: Network::Proxy(Allowlist::new(vec!["*.example.org:443".parse().unwrap()])),
            pass: vec!["LC_*".into(), "CC".into()],
            ..Profile::default()
        }
    }

    #[test]
    fn a_meet_gives_what_both_give() {
        let tight = Profile {
            name: "tight".into(),
            network: Network::Host,
            workspace: Access::Read,
            limits: Limits { time: Duration::from_secs(5), memory: ByteSize(1 << 40), ..Limits::default() },
            pass: vec!["LC_ALL".into(), "CXX".into()],
            masked: vec!["~/notes".into()],
            minimum: Level::LandlockSeccomp,
            selectable: true,
            backend: Backend::Jail,
        };
        let both = build().meet(&tight);
        assert_eq!(both.name, "build+tight");
        assert_eq!(both.network, build().network);
        assert_eq!(both.workspace, Access::Read);
        assert_eq!(both.limits.time, Duration::from_secs(5));
        assert_eq!(both.limits.memory, Limits::default().memory);
        assert_eq!(both.pass, ["LC_ALL"]);
        assert_eq!(both.masked, ["~/notes"]);
        assert_eq!(both.minimum, Level::Full);
        assert!(both.beyond(&build()).is_empty() && both.beyond(&tight).is_empty());
        assert_eq!(tight.beyond(&build()), ["network", "limits", "environment", "minimum"]);
        assert_eq!(Network::None.meet(&Network::Host), Network::None);
    }

    #[test]
    fn lists_and_modes_go_together() {
        let section = |text: &str| toml::from_str::<NetworkSection>(text).unwrap().network();
        assert_eq!(section("mode = \"proxy\"\nallow = []"), Ok(Network::Proxy(Allowlist::default())));
        assert!(section("mode = \"proxy\"").is_err());
        assert!(section("mode = \"host\"\nallow = [\"a.example:443\"]").is_err());
        assert_eq!(section(""), Ok(Network::None));
    }
}
