//! `[[models.provider]]` of `execward.toml`: the providers, in the order in which they are asked.
//!
//! No key stands in it, so that it can be shown, copied and backed up.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::http::Url;

/// Providers of one chain; more would be a mistake.
const MOST: usize = 32;

/// The providers of one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// First, second, ...
    pub provider: Vec<Provider>,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The name by which keys, state and records know it.
    pub name: String,
    /// What it speaks.
    pub api: Api,
    /// `https://host/v1`; `http` to this machine only, by its number.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    pub base_url: Url,
    /// The model's name there.
    pub model: String,
    /// Which of its keys is taken.
    #[serde(default)]
    pub strategy: Strategy,
    /// How long a key rests after a 429 that does not say how long.
    #[serde(default = "minute", deserialize_with = "duration", serialize_with = "written")]
    #[schemars(with = "String")]
    pub rate_limit_cooldown: Duration,
    /// Longest time for one attempt.
    #[serde(default = "attempt", deserialize_with = "duration", serialize_with = "written")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Certificates (PEM) that its own is held against, in place of the host's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What the field is called that bounds an answer.
    #[serde(default)]
    pub token_limit: TokenLimit,
}

/// The form of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `POST {base_url}/chat/completions`, the key as a bearer token.
    Openai,
    /// `POST {base_url}/messages` below `/v1`, the key in `x-api-key`.
    Anthropic,
}

/// Which key of a pool is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The first that is well, until it is not.
    #[default]
    FillFirst,
    /// Each in its turn.
    RoundRobin,
    /// The one that was used least.
    LeastUsed,
    /// Any.
    Random,
}

/// What OpenAI's form calls the bound on an answer: models that think before they speak want the other name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// Understood by most.
    #[default]
    MaxTokens,
    /// Asked for by newer models of OpenAI.
    MaxCompletionTokens,
}

/// A provider that cannot be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("models: {0}")]
pub struct ModelsError(String);

impl Models {
    /// Looks for mistakes that the form alone does not show.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), ModelsError> {
        let mut names = BTreeSet::new();
        for provider in &self.provider {
            provider.check()?;
            if !names.insert(&provider.name) {
                return Err(ModelsError(format!("two providers are named `{}`", provider.name)));
            }
        }
        if names.len() > MOST {
            return Err(ModelsError(format!("there are more than {MOST} providers")));
        }
        Ok(())
    }
}

impl Provider {
    fn check(&self) -> Result<(), ModelsError> {
        let wrong =
            |what: String| Err(ModelsError(format!("provider `{}`: {what}", self.name.escape_default())));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return wrong("a name is up to 64 letters, digits, `-` and `_`".to_owned());
        }
        if self.model.is_empty()
            || self.model.len() > 200
            || !self.model.bytes().all(|it| it.is_ascii_graphic())
        {
            return wrong("a model's name has 1 to 200 printable characters".to_owned());
        }
        if self.timeout.is_zero() || self.timeout > super::DEADLINE {
            return wrong(format!("`timeout` is between 1 and {} seconds", super::DEADLINE.as_secs()));
        }
        if self.base_url.has_query() {
            return wrong("`base_url` has a question mark".to_owned());
        }
        Ok(())
    }
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn attempt() -> Duration {
    Duration::from_secs(15)
}

/// `90s`, `5m`.
fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    crate::policy::parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn written<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::policy::written(*time))
}

/// Without its path, which may be a secret.
fn shown<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Models, String> {
        let models: Models = toml::from_str(text).map_err(|error| error.to_string())?;
        models.check().map_err(|error| error.to_string()).map(|()| models)
    }

    fn one(line: &str) -> Result<Models, String> {
        read(&format!("[[provider]]\nname = \"a\"\napi = \"openai\"\nmodel = \"m\"\n{line}\n"))
    }

    #[test]
    fn mistakes_are_found() {
        let fine = "base_url = \"https://h/v1\"\n";
        let read_one = one(&format!("{fine}strategy = \"least-used\"\ntimeout = \"5s\"")).expect("it reads");
        assert_eq!(read_one.provider[0].timeout, Duration::from_secs(5));
        for wrong in
            ["key = \"sk-1\"", "strategy = \"best\"", "timeout = \"31s\"", "timeout = \"0s\"", "ca = 1"]
        {
            assert!(one(&format!("{fine}{wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["http://h/v1", "https://h/v1?x=1", "https://user@h/v1"] {
            assert!(one(&format!("base_url = \"{wrong}\"")).is_err(), "{wrong}");
        }
        let twice = "[[provider]]\nname = \"a\"\napi = \"openai\"\nmodel = \"m\"\nbase_url = \"https://h\"\n"
            .repeat(2);
        assert!(read(&twice).is_err());
    }
}
