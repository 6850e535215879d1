//! Turning what the system refused into words that a person can act on.

use nix::errno::Errno;

use crate::wire::runner::Failure;

/// What went wrong while a layer was put on.
pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Adds to an error which layer it belongs to and what was being done.
pub(super) trait Doing<T> {
    /// `what` names the object: `mount the workspace /home/u/p`.
    fn doing(self, layer: &str, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Cause>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, layer: &str, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let Cause(error) = error.into();
            Failure { id: None, layer: layer.into(), what: what(), error, hint: String::new() }
        })
    }
}

/// The text of any error that the runner meets.
pub(super) struct Cause(String);

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self(format!("{} ({errno:?})", errno.desc()))
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<caps::errors::CapsError> for Cause {
    fn from(error: caps::errors::CapsError) -> Self {
        Self(error.to_string())
    }
}

impl From<landlock::RulesetError> for Cause {
    fn from(error: landlock::RulesetError) -> Self {
        Self(error.to_string())
    }
}

impl From<landlock::PathFdError> for Cause {
    fn from(error: landlock::PathFdError) -> Self {
        Self(error.to_string())
    }
}

/// Gives a failure its remedy.
pub(super) trait Hint<T> {
    /// `hint` is a sentence that says what to do.
    fn hint(self, hint: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Hint<T> for Result<T> {
    fn hint(self, hint: impl FnOnce() -> String) -> Self {
        self.map_err(|failure| Failure { hint: hint(), ..failure })
    }
}
