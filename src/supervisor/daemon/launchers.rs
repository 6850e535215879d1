//! `[launcher.NAME]` of the configuration: commands that reach runners elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::House;
use super::config::{duration, shown_time};
use crate::sandbox::docker::{Endpoint, Remote, Settings, is_name};
use crate::sandbox::launcher::{Launcher, Preset, Template, Told, Way, check_root};
use crate::supervisor::local::Local;

/// Where programs of launchers are looked for, unless one says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest name of a launcher.
const LONGEST: usize = 64;

/// A command whose standard input and output reach a runner, on another machine as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// A kind of place that execward knows how to reach.
    #[serde(default)]
    preset: Option<Preset>,
    /// For a preset: the host, as `user@host`, or the image.
    #[serde(default)]
    target: String,
    /// For a preset: further options for its command.
    #[serde(default)]
    options: Vec<String>,
    /// For Kubernetes: the class of runtime that isolates pods, `gvisor` for example.
    #[serde(default)]
    runtime_class: Option<String>,
    /// In place of a preset: the words of the command. `{remote}` is a line for a shell there, `{script}` the text for
    /// `sh -c`; both take the runner there and become it. `{binary}` is a path of the runner on this machine, `{runner}` what
    /// `runner` says; `{workspace}`, `{name}`, `{memory}` (MiB) and `{processes}` are the session's.
    #[serde(default)]
    command: Vec<String>,
    /// In place of both: a Docker engine elsewhere, as `unix:///path`, `tcp://host:port` or `ssh://user@host`. `options` are
    /// for ssh.
    #[serde(default)]
    engine: Option<String>,
    /// For an engine: what containers are made of, which it must have.
    #[serde(default)]
    image: Option<String>,
    /// For an engine at `tcp://`: files with certificates.
    #[serde(default)]
    tls: Option<Tls>,
    /// For an engine: the user and group id of commands there, whose the workspaces are.
    #[serde(default = "first_user")]
    user: u32,
    /// The path of an execward of this version that is there already. Without it the runner is sent, once for each place.
    #[serde(default)]
    runner: Option<String>,
    /// Directories there below which workspaces lie; `{user}` in them is the requester's login name.
    workspaces: Vec<String>,
    /// Whether a workspace is made where it is missing; what fits the preset where it is left out.
    #[serde(default)]
    make: Option<bool>,
    /// Variables for the command; it has none but these, HOME and PATH.
    #[serde(default, serialize_with = "shown_environment")]
    environment: BTreeMap<String, String>,
    /// How long it may take until the sandbox stands, a place in the scheduler's queue included.
    #[serde(default = "a_minute", deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    patience: Duration,
    /// How long nothing may come afterwards, until it is given up.
    #[serde(default = "a_minute", deserialize_with = "duration", serialize_with = "shown_time")]
    #[schemars(with = "String")]
    silence: Duration,
}

/// Who is who at an engine over TCP: files with PEM in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// Whoever vouches for the engine.
    ca: PathBuf,
    /// This daemon's certificate.
    cert: PathBuf,
    /// Its key.
    key: PathBuf,
}

/// The first ordinary user of most systems.
fn first_user() -> u32 {
    1000
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

impl Section {
    /// Where the engine is, if it is one.
    fn endpoint(&self) -> Option<Result<(Endpoint, String, String), String>> {
        let url = self.engine.as_ref()?;
        let tls = self.tls.clone().map(|Tls { ca, cert, key }| crate::sandbox::docker::Tls { ca, cert, key });
        Some(Endpoint::new(url, tls, &self.options).and_then(|endpoint| {
            let none = self.preset.is_none() && self.command.is_empty() && self.target.is_empty();
            if !none || self.runner.is_some() || self.runtime_class.is_some() {
                return Err(
                    "`engine` stands in place of a `preset` or a `command`, and of what belongs to them"
                        .to_owned(),
                );
            }
            if self.user == 0 {
                return Err("commands of an engine are a `user` other than root".to_owned());
            }
            match &self.image {
                Some(image) if is_name(image) => Ok((endpoint, url.clone(), image.clone())),
                _ => Err("an engine needs `image`, the name of one that it has".to_owned()),
            }
        }))
    }

    /// What it says of the command.
    fn template(&self) -> Result<Template, String> {
        let Some(preset) = self.preset else {
            if !self.target.is_empty() || !self.options.is_empty() || self.runtime_class.is_some() {
                return Err("`target`, `options` and `runtime_class` are for a `preset`".to_owned());
            }
            return Template::new(self.command.clone(), self.runner.clone())
                .map_err(|error| error.to_string());
        };
        if !self.command.is_empty() {
            return Err("`command` stands in place of a `preset`".to_owned());
        }
        preset.template(&Told {
            target: &self.target,
            options: &self.options,
            runtime_class: self.runtime_class.as_deref(),
            root: self.workspaces.first().map(String::as_str).unwrap_or_default(),
            runner: self.runner.as_deref(),
        })
    }

    /// What is wrong with it.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(plain) {
            return Err(format!("a launcher's name is of letters, digits, `-` and `_`, {LONGEST} at most"));
        }
        if self.workspaces.is_empty() {
            return Err("a launcher needs `workspaces`, directories there".to_owned());
        }
        self.workspaces.iter().try_for_each(|root| check_root(root)).map_err(str::to_owned)?;
        if self.runner.as_ref().is_some_and(|runner| !runner.starts_with('/')) {
            return Err("`runner` is an absolute path there".to_owned());
        }
        let least = Duration::from_secs(1);
        if self.patience < least || self.silence < least {
            return Err("`patience` and `silence` are a second at least".to_owned());
        }
        if let Some(endpoint) = self.endpoint() {
            return endpoint.map(drop);
        }
        if self.image.is_some() || self.tls.is_some() {
            return Err("`image` and `tls` are for an `engine`".to_owned());
        }
        self.template().map(drop)
    }

    /// Its engine, if it is one: the name, the socket where that is of this machine, and the image.
    pub(super) fn engine(&self, name: &str) -> Option<(String, Option<PathBuf>, String)> {
        let (endpoint, _, image) = self.endpoint()?.ok()?;
        let socket = match endpoint {
            Endpoint::Unix(socket) => Some(socket),
            Endpoint::Tls { .. } | Endpoint::Ssh { .. } => None,
        };
        Some((name.to_owned(), socket, image))
    }

    fn launcher(&self, name: &str, local: &Local) -> Result<Launcher, String> {
        let mut environment = self.environment.clone();
        environment.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
        environment.entry("HOME".to_owned()).or_insert_with(|| local.home.to_string_lossy().into_owned());
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let way = match self.endpoint().transpose()? {
            None => Way::Command(self.template()?),
            Some((endpoint, url, image)) => Way::Engine(Box::new(Remote::new(Settings {
                name: name.to_owned(),
                endpoint,
                url,
                image,
                user: self.user,
                environment: environment.clone(),
                directory: local.directories.containers(),
            }))),
        };
        Ok(Launcher {
            name: name.to_owned(),
            way,
            workspaces: self.workspaces.iter().map(PathBuf::from).collect(),
            make: self.make.unwrap_or_else(|| self.preset.is_some_and(Preset::is_new)),
            environment,
            patience: self.patience,
            silence: self.silence,
            directory: local.directories.containers(),
        })
    }
}

/// Without the values, which may be secrets.
fn shown_environment<S: Serializer>(
    all: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|(name, value)| match name.as_str() {
        "PATH" | "HOME" => (name, value.as_str()),
        _ => (name, "..."),
    }))
}

/// All of them, by name.
///
/// # Errors
/// When one cannot be used; it was checked before.
pub(super) fn launchers(
    sections: &BTreeMap<String, Section>,
    local: &Local,
) -> Result<BTreeMap<String, Arc<Launcher>>, String> {
    sections
        .iter()
        .map(|(name, section)| Ok((name.clone(), Arc::new(section.launcher(name, local)?))))
        .collect()
}

/// How often it is looked whether engines elsewhere answer.
const LOOK: Duration = Duration::from_secs(60);

/// Says when an engine elsewhere stops or starts to answer, for as long as the daemon serves. A session that is to be opened on one is
/// told by itself.
pub(super) async fn watch(house: Arc<House>) {
    let engines =
        |launcher: &Arc<Launcher>| matches!(launcher.way, Way::Engine(_)).then(|| Arc::clone(launcher));
    let engines: Vec<Arc<Launcher>> = house.common.launchers.values().filter_map(engines).collect();
    let watched = async {
        let mut answers: BTreeMap<&str, bool> = BTreeMap::new();
        loop {
            for launcher in &engines {
                let Way::Engine(remote) = &launcher.way else { continue };
                let (name, health) = (launcher.name.as_str(), remote.health().await);
                if answers.insert(name, health.is_ok()) != Some(health.is_ok()) {
                    match health {
                        Ok(()) => {
                            tracing::info!(launcher = name, "its engine answers");
                            if let Err(error) = remote.sweep().await {
                                tracing::warn!(launcher = name, %error, "what was left there stays");
                            }
                        }
                        Err(error) => tracing::warn!(launcher = name, %error, "its engine does not answer"),
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    if !engines.is_empty() {
        tokio::select! {
            () = watched => {}
            () = house.closing.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<(), String> {
        let section: Section = toml::from_str(text).map_err(|error| error.to_string())?;
        section.check("there")
    }

    #[test]
    fn a_launcher_is_a_preset_or_a_command_and_names_directories() {
        let good = [
            "preset = \"ssh\"\ntarget = \"a@b\"\nworkspaces = [\"/w\"]",
            "preset = \"slurm\"\nworkspaces = [\"/w/{user}\"]\npatience = \"5m\"",
            "preset = \"kubernetes\"\ntarget = \"debian:12\"\nruntime_class = \"gvisor\"\nworkspaces = [\"/w\"]",
            "command = [\"x\", \"{remote}\"]\nworkspaces = [\"/w\"]",
            "command = [\"x\"]\nrunner = \"/usr/bin/execward\"\nworkspaces = [\"/w\"]",
            "engine = \"ssh://a@b\"\nimage = \"debian:12\"\noptions = [\"-i\", \"/k\"]\nworkspaces = [\"/w\"]",
            "engine = \"tcp://b:2376\"\nimage = \"d\"\ntls = { ca = \"/a\", cert = \"/b\", key = \"/c\" }\nworkspaces = [\"/w\"]",
        ];
        for text in good {
            assert_eq!(section(text), Ok(()), "{text}");
        }
        let bad = [
            "preset = \"ssh\"\nworkspaces = [\"/w\"]",
            "preset = \"ssh\"\ntarget = \"-oProxyCommand=x\"\nworkspaces = [\"/w\"]",
            "preset = \"slurm\"\ntarget = \"x\"\nworkspaces = [\"/w\"]",
            "preset = \"ssh\"\ntarget = \"a\"\ncommand = [\"x\"]\nworkspaces = [\"/w\"]",
            "preset = \"kubernetes\"\ntarget = \"debian:12\"\nworkspaces = [\"/w/{user}\"]",
            "command = [\"x\"]\nworkspaces = [\"/w\"]",
            "command = [\"x\", \"{password}\", \"{remote}\"]\nworkspaces = [\"/w\"]",
            "command = []\nworkspaces = [\"/w\"]",
            "command = [\"x\", \"{remote}\"]\nworkspaces = []",
            "command = [\"x\", \"{remote}\"]\nworkspaces = [\"/\"]",
            "command = [\"x\", \"{remote}\"]\nworkspaces = [\"w\"]",
            "command = [\"x\", \"{remote}\"]\nworkspaces = [\"/w/..\"]",
            "command = [\"x\", \"{remote}\"]\nworkspaces = [\"/w\"]\nsilence = \"10ms\"",
            "command = [\"x\"]\nrunner = \"execward\"\nworkspaces = [\"/w\"]",
            "engine = \"tcp://b:2375\"\nimage = \"d\"\nworkspaces = [\"/w\"]",
            "engine = \"ssh://a@b\"\nworkspaces = [\"/w\"]",
            "engine = \"ssh://a@b\"\nimage = \"-v\"\nworkspaces = [\"/w\"]",
            "engine = \"ssh://a@b\"\nimage = \"d\"\nuser = 0\nworkspaces = [\"/w\"]",
            "engine = \"ssh://a@b\"\nimage = \"d\"\npreset = \"slurm\"\nworkspaces = [\"/w\"]",
            "preset = \"slurm\"\nimage = \"d\"\nworkspaces = [\"/w\"]",
        ];
        for text in bad {
            assert!(section(text).is_err(), "{text}");
        }
    }
}
