//! The chain of models as the daemon has it: made from its configuration and its file of keys, and shown to operators.

use std::path::PathBuf;
use std::sync::Arc;

use super::config::Config;
use super::{DaemonError, House};
use crate::http::Keys;
use crate::models::{Chain, Prompt};
use crate::state::Store;
use crate::supervisor::state::Directories;
use crate::wire::rpc::{Code, Error, ModelKeyTested, ModelProvider, ModelTested, Models, TestModel};

/// Puts the chain together.
pub(super) fn chain(config: Config, keys: Keys, store: Arc<Store>) -> Result<Chain, DaemonError> {
    Ok(Chain::new(config.models, keys, store)?)
}

/// What is asked to see whether anybody answers.
fn trial() -> Prompt {
    Prompt { system: "Answer with one word.".to_owned(), user: "Are you there?".to_owned(), max_tokens: 16 }
}

/// The chain, and how each of it stands.
pub(super) fn list(house: &House) -> Models {
    let shown = |health: crate::models::Health| ModelProvider {
        provider: health.provider,
        model: health.model,
        host: health.host,
        well: health.well,
        keys_well: health.keys_well as u64,
        keys_resting: health.keys_resting as u64,
        keys_dead: health.keys_dead as u64,
        until: health.until.map(|until| until.to_string()),
        why: health.why,
    };
    Models { providers: house.common.models().health().into_iter().map(shown).collect() }
}

/// Tries each key of a provider.
pub(super) async fn test(house: Arc<House>, asked: TestModel) -> Result<ModelTested, Error> {
    let chain = house.common.models();
    // Not given up half-way when the operator hangs up: what was learned is kept.
    let trying = tokio::spawn(async move { chain.test(asked.provider.as_str(), &trial()).await });
    let tried = trying.await.map_err(|_| Error::new(Code::Internal, "the provider could not be tried"))?;
    let unknown = || {
        Error::new(Code::BadParameters, "there is no such provider")
            .hint("`execward fallback list` names them")
    };
    let keys = tried.ok_or_else(unknown)?.into_iter().map(|key| {
        let (ms, why) = match key.answered {
            Ok(time) => (Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)), None),
            Err(why) => (None, Some(why)),
        };
        ModelKeyTested { key: key.key, served: why.is_none(), ms, why }
    });
    Ok(ModelTested { keys: keys.collect() })
}

/// What an installation has of models, for those who change it: its configuration, and its file of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// `execward.toml`, which may not be there yet.
    pub config: PathBuf,
    /// The file of keys, which may not be there yet.
    pub keys: PathBuf,
}

impl ModelFiles {
    /// Where they are: the configuration that is named, else the standing one.
    pub fn find(config: Option<PathBuf>, directories: &Directories) -> Self {
        let standing =
            directories.config.clone().unwrap_or_else(|| super::super::state::SYSTEM_CONFIG.into());
        Self { config: config.unwrap_or_else(|| standing.join("execward.toml")), keys: directories.keys() }
    }
}
