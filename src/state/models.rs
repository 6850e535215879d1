//! What is known of models' providers and keys: who rests until when, and who is not asked any more.

use rusqlite::params;

use super::{StateError, Store};

/// A key of a provider, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelKeyRow {
    /// The provider.
    pub provider: String,
    /// What its digest gives.
    pub key: String,
    /// How often it was taken.
    pub used: u64,
    /// How often in a row it was not accepted.
    pub refused: u32,
    /// Until when it rests: milliseconds since 1970.
    pub rests_until: Option<i64>,
    /// Whether it is never taken again.
    pub dead: bool,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelProviderRow {
    /// Its name.
    pub name: String,
    /// How often in a row it failed.
    pub failures: u32,
    /// Until when it is left alone: milliseconds since 1970.
    pub down_until: Option<i64>,
    /// Its last failure.
    pub why: String,
    /// The key that was taken last.
    pub last_key: Option<String>,
}

impl Store {
    /// Everything that is known.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn models(&self) -> Result<(Vec<ModelProviderRow>, Vec<ModelKeyRow>), StateError> {
        self.look(|all| {
            let mut of =
                all.prepare("SELECT name, failures, down_until, why, last_key FROM model_providers")?;
            let providers = of.query_map([], |row| {
                let (name, failures) = (row.get(0)?, row.get(1)?);
                let (down_until, why, last_key) = (row.get(2)?, row.get(3)?, row.get(4)?);
                Ok(ModelProviderRow { name, failures, down_until, why, last_key })
            })?;
            let providers = providers.collect::<Result<_, _>>()?;
            let mut of =
                all.prepare("SELECT provider, key, used, refused, rests_until, dead FROM model_keys")?;
            let keys = of.query_map([], |row| {
                let (provider, key, used) = (row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs());
                let (refused, rests_until, dead) = (row.get(3)?, row.get(4)?, row.get(5)?);
                Ok(ModelKeyRow { provider, key, used, refused, rests_until, dead })
            })?;
            Ok((providers, keys.collect::<Result<_, _>>()?))
        })
    }

    /// Keeps what is known of one provider, in place of what was. Keys that are not named are forgotten.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn set_model(&self, provider: &ModelProviderRow, keys: &[ModelKeyRow]) -> Result<(), StateError> {
        self.change(|all| {
            let ModelProviderRow { name, failures, down_until, why, last_key } = provider;
            all.execute(
                "INSERT OR REPLACE INTO model_providers (name, failures, down_until, why, last_key)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![name, failures, down_until, why, last_key],
            )?;
            all.execute("DELETE FROM model_keys WHERE provider = ?1", [name])?;
            for ModelKeyRow { provider, key, used, refused, rests_until, dead } in keys {
                let used = i64::try_from(*used).unwrap_or(i64::MAX);
                all.execute(
                    "INSERT OR REPLACE INTO model_keys (provider, key, used, refused, rests_until, dead)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![provider, key, used, refused, rests_until, dead],
                )?;
            }
            Ok(())
        })
    }
}
