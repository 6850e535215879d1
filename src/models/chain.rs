//! The chain: one question, the first provider that answers it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::config::{Models, Provider};
use super::health::{Health, Known, Leave};
use super::pool::Fate;
use super::speak::{self, Outcome};
use super::{Answer, DEADLINE, Prompt};
use crate::http::{Client, Key, Keys};
use crate::state::{StateError, Store};

/// A provider whose account has no money is left alone for so long.
const UNPAID: Duration = Duration::from_secs(600);

/// Below this, another attempt is not worth beginning.
const TOO_LATE: Duration = Duration::from_millis(50);

/// The providers with what is known of them. One serves every question of a supervisor.
#[derive(Debug)]
pub struct Chain {
    providers: Vec<Provider>,
    keys: Keys,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    store: Arc<Store>,
    client: Client,
}

/// Nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no model answered: {}", list(.0))]
pub struct ChainError(pub Vec<Attempt>);

/// One provider that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its name.
    pub provider: String,
    /// Why.
    pub why: String,
}

/// A key that an operator had tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTried {
    /// What its digest gives.
    pub key: String,
    /// How long the answer took, or why there was none.
    pub answered: Result<Duration, String>,
}

/// What comes of a provider.
enum End {
    Text(String),
    /// Its keys were the trouble, or the time: it is as well as it was.
    Not(String),
    /// It is left alone, for a time of its own choice or ours.
    Down(String, Option<Duration>),
}

fn list(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return "there is no provider".to_owned();
    }
    let one = |attempt: &Attempt| format!("{}: {}", attempt.provider, attempt.why);
    attempts.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Chain {
    /// Puts a chain together, with what the store knows of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(models: Models, keys: Keys, store: Arc<Store>) -> Result<Self, StateError> {
        let (providers, rows) = store.models()?;
        let known = Arc::new(Mutex::new(Known::read(providers, rows)));
        Ok(Self { providers: models.provider, keys, known, store, client: Client::default() })
    }

    /// Whether there is anybody to ask.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Asks one provider after another, until one answers, for up to [`DEADLINE`]. When the future is dropped, nothing goes on.
    ///
    /// # Errors
    /// When none answered in time, with what each one's trouble was.
    pub async fn ask(&self, prompt: &Prompt) -> Result<Answer, ChainError> {
        self.ask_within(prompt, DEADLINE).await
    }

    /// The same within another time.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_within(&self, prompt: &Prompt, time: Duration) -> Result<Answer, ChainError> {
        let end = Instant::now() + time;
        let mut attempts = Vec::new();
        for provider in &self.providers {
            match self.ask_one(provider, prompt, end).await {
                Ok(text) => {
                    let (provider, model) = (provider.name.clone(), provider.model.clone());
                    return Ok(Answer { text, provider, model, failed: attempts });
                }
                Err(why) => attempts.push(Attempt { provider: provider.name.clone(), why }),
            }
        }
        Err(ChainError(attempts))
    }

    /// Tries each key of a provider, whether it is well or not, and learns from it: for an operator who wants to know. `None`
    /// where there is no such provider.
    pub async fn test(&self, provider: &str, prompt: &Prompt) -> Option<Vec<KeyTried>> {
        let provider = self.providers.iter().find(|one| one.name == provider)?;
        let mut tried = Vec::new();
        for key in self.keys.of_model(&provider.name) {
            let begun = Instant::now();
            let outcome = speak::ask(&self.client, provider, key, prompt, provider.timeout).await;
            let answered = match self.learn(provider, key, outcome) {
                Ok(End::Text(_)) => Ok(begun.elapsed()),
                Ok(End::Not(why) | End::Down(why, _)) | Err(why) => Err(why),
            };
            tried.push(KeyTried { key: key.name(), answered });
        }
        if tried.iter().any(|key| key.answered.is_ok()) {
            self.of(&provider.name, |known| known.breaker.served());
        }
        self.keep(provider).await;
        Some(tried)
    }

    /// How each provider stands.
    pub fn health(&self) -> Vec<Health> {
        let now = Timestamp::now();
        self.providers.iter().map(|provider| self.health_of(provider, now)).collect()
    }

    fn health_of(&self, provider: &Provider, now: Timestamp) -> Health {
        let Known { pool, breaker } = self.known().get(&provider.name).cloned().unwrap_or_default();
        let state = |key: &Key| pool.keys.get(&key.name()).cloned().unwrap_or_default();
        let keys: Vec<_> = self.keys.of_model(&provider.name).iter().map(state).collect();
        let keys_well = keys.iter().filter(|key| key.is_well(now)).count();
        let keys_dead = keys.iter().filter(|key| key.dead).count();
        let up = breaker.is_well(now);
        let rested = keys.iter().filter(|key| !key.dead).filter_map(|key| key.rests_until).min();
        Health {
            provider: provider.name.clone(),
            model: provider.model.clone(),
            host: provider.base_url.to_string(),
            well: up && keys_well > 0,
            keys_well,
            keys_resting: keys.len() - keys_well - keys_dead,
            keys_dead,
            until: if up { rested.filter(|_| keys_well == 0) } else { breaker.down_until },
            why: (!breaker.why.is_empty()).then_some(breaker.why),
        }
    }

    async fn ask_one(&self, provider: &Provider, prompt: &Prompt, end: Instant) -> Result<String, String> {
        let keys = self.keys.of_model(&provider.name);
        if keys.is_empty() {
            return Err("it has no key".to_owned());
        }
        if self.of(&provider.name, |known| known.breaker.enter(Timestamp::now())) == Leave::Down {
            return Err("it is left alone after a failure".to_owned());
        }
        let end = self.through_keys(provider, keys, prompt, end).await;
        let now = Timestamp::now();
        let result = self.of(&provider.name, |known| match end {
            End::Text(text) => {
                known.breaker.served();
                Ok(text)
            }
            End::Not(why) => Err(why),
            End::Down(why, rest) => {
                known.breaker.failed(&why, rest, now);
                Err(why)
            }
        });
        self.keep(provider).await;
        result
    }

    async fn through_keys(&self, provider: &Provider, keys: &[Key], prompt: &Prompt, end: Instant) -> End {
        let names: Vec<String> = keys.iter().map(Key::name).collect();
        let until = end.min(Instant::now() + provider.timeout);
        let (mut tried, mut why) = (Vec::new(), "all of its keys rest or are dead".to_owned());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left < TOO_LATE {
                return End::Not(if tried.is_empty() {
                    "there was no time left for it".to_owned()
                } else {
                    why
                });
            }
            let mut dice = [0; 8];
            // All strategies but one do without.
            let _ = getrandom::fill(&mut dice);
            let (now, dice) = (Timestamp::now(), u64::from_le_bytes(dice));
            let taken = self
                .of(&provider.name, |known| known.pool.take(&names, &tried, provider.strategy, now, dice));
            let Some((index, key)) = taken.and_then(|index| Some((index, keys.get(index)?))) else {
                return End::Not(why);
            };
            tried.push(index);
            let outcome = speak::ask(&self.client, provider, key, prompt, left).await;
            match self.learn(provider, key, outcome) {
                Ok(end) => return end,
                Err(trouble) => why = trouble,
            }
        }
    }

    /// Learns what became of a key. `Err` where the next key may do better.
    fn learn(&self, provider: &Provider, key: &Key, outcome: Outcome) -> Result<End, String> {
        let (fate, trouble) = match outcome {
            Outcome::Text(text) => (Some(Fate::Served), Ok(End::Text(text))),
            Outcome::Refused(why) => (Some(Fate::Served), Ok(End::Not(why))),
            Outcome::Limited(wait) => {
                let wait = wait.unwrap_or(provider.rate_limit_cooldown);
                (Some(Fate::Limited(wait)), Err("its limit is reached".to_owned()))
            }
            Outcome::Unauthorised => (Some(Fate::Unauthorised), Err("it does not accept the key".to_owned())),
            Outcome::Dead => (Some(Fate::Dead), Err("it says that the key is invalid for good".to_owned())),
            Outcome::Payment => (None, Ok(End::Down("it wants to be paid".to_owned(), Some(UNPAID)))),
            Outcome::Down(why, wait) => (None, Ok(End::Down(why, wait))),
        };
        if let Some(fate) = fate {
            self.of(&provider.name, |known| known.pool.learn(&key.name(), fate, Timestamp::now()));
        }
        trouble
    }

    /// Keeps what is known of a provider. Without that a restart only learns it again.
    async fn keep(&self, provider: &Provider) {
        let names: Vec<String> = self.keys.of_model(&provider.name).iter().map(Key::name).collect();
        let (known, store, name) = (Arc::clone(&self.known), Arc::clone(&self.store), provider.name.clone());
        let keep = move || {
            let rows = known.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = rows.get(&name).map(|known| known.rows(&name, &names));
            rows.map_or(Ok(()), |(provider, keys)| store.set_model(&provider, &keys))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(keep).await {
            tracing::warn!(%error, "what is known of models is not kept");
        }
    }

    fn of<T>(&self, provider: &str, change: impl FnOnce(&mut Known) -> T) -> T {
        change(self.known().entry(provider.to_owned()).or_default())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
