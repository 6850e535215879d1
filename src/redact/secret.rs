//! A secret in memory: erased when dropped, never printed.

use std::fmt;

use zeroize::Zeroizing;

/// An exact secret, with the name under which a person knows it.
pub struct Secret {
    name: String,
    value: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// Names a secret. The name is shown in masks (`GITHUB_TOKEN`), the value never.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: Zeroizing::new(value.into()) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes themselves. Whoever asks must not print them.
    pub fn expose(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).field("value", &"***").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_name_and_never_the_value() {
        let shown = format!("{:?}", Secret::new("GITHUB_TOKEN", "hunter2hunter2"));
        assert!(shown.contains("GITHUB_TOKEN"));
        assert!(!shown.contains("hunter2"));
    }
}
