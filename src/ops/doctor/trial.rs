//! A command, run for real: what all the other checks are about.

use std::fs;
use std::path::Path;

use super::Check;
use crate::ops::scratch::Scratch;
use crate::ops::trial::run;
use crate::stage::Outcome;
use crate::wire::runner::Receipt;

const NAME: &str = "jail";

/// Runs `true` as a private supervisor would, with a log of its own.
pub(super) fn checks(policy: Option<&Path>) -> Vec<Check> {
    let directory = match Scratch::new("doctor", 0o700) {
        Ok(directory) => directory,
        Err(error) => {
            let means = "no command could be tried";
            return vec![Check::warning(NAME, format!("/var/tmp: {error}"), means, "make /var/tmp writable")];
        }
    };
    let (workspace, state) = (directory.join("workspace"), directory.join("state"));
    if let Err(error) = fs::create_dir(&workspace) {
        return vec![Check::warning(NAME, error.to_string(), "no command could be tried", "")];
    }
    let completed = run(vec!["true".to_owned()], &workspace, &state, policy);
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
