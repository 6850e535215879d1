//! What an engine says of itself, for those who look at an installation.

use bollard::Docker;
use bollard::models::SystemInfo;

use super::error::engine;
use super::launch::fit;
use super::{DockerError, Engine};

/// An engine that can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its version.
    pub version: String,
    /// Of its protocol.
    pub api: String,
    /// Whether it runs without root, so that whoever reaches it is not root.
    pub rootless: bool,
    /// Whether root of a container is somebody else on the host (`userns-remap`).
    pub remapped: bool,
    /// Limits on a container that it cannot set: `memory`, `pids`.
    pub unlimited: Vec<&'static str>,
}

pub(super) async fn about(docker: &Docker, of: &Engine) -> Result<About, DockerError> {
    let version = docker.version().await.map_err(engine(of.shown(), "say its version"))?;
    let api = fit(version.api_version)?;
    let info: SystemInfo = docker.info().await.map_err(engine(of.shown(), "say how it runs"))?;
    // As in `name=rootless` or `name=seccomp,profile=builtin`.
    let has = |name: &str| {
        let named = |option: &String| option.split(',').any(|part| part.strip_prefix("name=") == Some(name));
        info.security_options.iter().flatten().any(named)
    };
    let lacks = |limit: Option<bool>, name| (limit == Some(false)).then_some(name);
    Ok(About {
        version: version.version.unwrap_or_default(),
        api,
        rootless: has("rootless"),
        remapped: has("userns"),
        unlimited: [lacks(info.memory_limit, "memory"), lacks(info.pids_limit, "pids")]
            .into_iter()
            .flatten()
            .collect(),
    })
}
