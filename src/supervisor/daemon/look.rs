//! What `execward.toml` and the files beside it say, for those who look at an installation without serving it.

use std::path::Path;

use super::config::{Config, ConfigError};
use super::configured::jobs_found;
use crate::http::Keys;
use crate::supervisor::local::Local;
use crate::supervisor::policy_file;

/// One part of an installation, and whether a daemon can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `configuration`, `keys`, `policy`, `jobs`.
    pub name: &'static str,
    /// What it is, or why it cannot be used: with file, line and caret where the mistake has a place.
    pub found: Result<String, Mistake>,
}

/// Why a part cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl Mistake {
    fn of(what: impl ToString) -> Self {
        Self { what: what.to_string(), hint: String::new() }
    }
}

/// Reads everything that a daemon reads before it begins, in all its parts: a mistake in one does not hide one in another.
pub fn look_over(config: Option<&Path>, policy: Option<&Path>, local: &Local) -> Vec<Part> {
    let own = local.principal.uid;
    let directories = &local.directories;
    let read = Config::load(config, directories, own);
    let keys = Keys::read(&directories.keys(), own);
    let mut parts = Vec::new();
    let found = match &read {
        Ok(config) => Ok(format!("{} providers of models", config.models.provider.len())),
        Err(error) => Err(Mistake { what: error.to_string(), hint: hint(error) }),
    };
    parts.push(Part { name: "configuration", found });
    let found = match (&keys, &read) {
        (Err(error), _) => Err(Mistake::of(error)),
        (Ok(_), Err(_)) => Ok("can be read".to_owned()),
        (Ok(keys), Ok(config)) => match config.notify.as_ref().map(|notify| notify.key(keys)) {
            Some(Err(error)) => Err(Mistake::of(error)),
            _ => Ok(match keyless(config, keys) {
                none if none.is_empty() => "as many as are needed".to_owned(),
                some => format!("none for {}: it is never asked", some.join(", ")),
            }),
        },
    };
    parts.push(Part { name: "keys", found });
    let found = match policy_file::load(policy, directories, own) {
        Ok(policy) => Ok(format!(
            "{}, {} rules, and its {} examples hold",
            policy.name(),
            policy.rule_ids().count(),
            policy.examples()
        )),
        Err(error) => Err(Mistake { what: error.to_string(), hint: error.hint() }),
    };
    parts.push(Part { name: "policy", found });
    let found = match jobs_found(config, local) {
        Ok(jobs) => Ok(if jobs.is_empty() { "none".to_owned() } else { jobs.join(", ") }),
        Err(error) => Err(Mistake { what: error.to_string(), hint: error.hint() }),
    };
    parts.push(Part { name: "jobs", found });
    parts
}

/// Providers that have no key; one on this machine may need none.
fn keyless(config: &Config, keys: &Keys) -> Vec<String> {
    let providers = config.models.provider.iter();
    providers.filter(|it| keys.of_model(&it.name).is_empty()).map(|it| it.name.clone()).collect()
}

fn hint(error: &ConfigError) -> String {
    match error {
        ConfigError::File(error) => error.hint(),
        _ => String::new(),
    }
}

/// The configuration in force, every default written out, as TOML. It holds no secret: of addresses the host alone is shown.
///
/// # Errors
/// When it cannot be read, or believed, or has a mistake.
pub fn effective(config: Option<&Path>, local: &Local) -> Result<String, ConfigError> {
    let config = Config::load(config, &local.directories, local.principal.uid)?;
    toml::to_string(&config).map_err(|error| ConfigError::Lacks(error.to_string()))
}

/// The schema of `execward.toml`, as `docs/config.schema.json` has it.
pub fn config_schema() -> String {
    serde_json::to_string_pretty(&schemars::schema_for!(Config)).map(|text| text + "\n").unwrap_or_default()
}

/// The version of the format of `execward.toml` that this execward reads and writes.
pub const CONFIG_VERSION: u32 = super::form::VERSION;
