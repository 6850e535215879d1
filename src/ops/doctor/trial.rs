//! A command, run for real: what all the other checks are about.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Check;
use crate::gate::Command;
use crate::stage::Outcome;
use crate::supervisor::{Asked, serve};
use crate::wire::runner::Receipt;

const NAME: &str = "jail";

/// A directory that goes with its guard. Not below /tmp, which a sandbox has of its own.
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let path = PathBuf::from(format!("/var/tmp/execward-doctor-{:016x}", u64::from_ne_bytes(name)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `true` as a private supervisor would, with a log of its own.
pub(super) fn checks(policy: Option<&Path>) -> Vec<Check> {
    let directory = match Directory::new() {
        Ok(directory) => directory,
        Err(error) => {
            let means = "no command could be tried";
            return vec![Check::warning(NAME, format!("/var/tmp: {error}"), means, "make /var/tmp writable")];
        }
    };
    let (workspace, state) = (directory.0.join("workspace"), directory.0.join("state"));
    if let Err(error) = fs::create_dir(&workspace) {
        return vec![Check::warning(NAME, error.to_string(), "no command could be tried", "")];
    }
    let completed = serve(&Asked {
        command: Command::Argv(vec!["true".to_owned()]),
        policy: policy.map(Path::to_owned),
        state: Some(state),
        workspace: Some(workspace.clone()),
        cwd: Some(workspace),
        allow_broad_workspace: false,
        timeout: None,
        profile: None,
        network: None,
        env: Vec::new(),
        variables: std::env::vars_os().collect(),
        keep_output: true,
        terminal: false,
        agent: None,
    });
    let report = completed.report;
    match report.outcome {
        Outcome::Exited { code: 0 } => layers(&report.receipt.unwrap_or_default()),
        Outcome::Refused { reason, .. } => vec![Check::warning(
            NAME,
            format!("`true` is refused: {reason}"),
            "no command could be tried under this policy",
            "",
        )],
        Outcome::Failed { error, hint } => {
            vec![Check::failure(NAME, error, "no command runs on this machine", hint)]
        }
        other => vec![Check::failure(
            NAME,
            format!("`true` ended otherwise than it should: {other:?}"),
            "no command runs as it should on this machine",
            "execward run -v -- true",
        )],
    }
}

/// What the receipt says.
fn layers(receipt: &Receipt) -> Vec<Check> {
    // Root makes its namespaces itself, and gives commands another uid.
    let root = nix::unistd::geteuid().is_root();
    let wanted = receipt.layers.iter().filter(|layer| !(root && layer.name == "user-namespace"));
    let (there, missing): (Vec<_>, Vec<_>) = wanted.partition(|layer| layer.enforced);
    let names: Vec<&str> = there.iter().map(|layer| layer.name.as_str()).collect();
    let mut checks = vec![Check::ok(NAME, format!("a command runs, under {}", names.join(", ")))];
    checks.extend(missing.into_iter().map(|layer| {
        Check::warning(
            "layer",
            format!("{}: {}", layer.name, layer.detail),
            "commands run without this layer; each result says so in its receipt",
            "the detail says what is missing; on a shared machine, what its administrator can give",
        )
    }));
    checks
}
