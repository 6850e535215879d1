//! Exit codes: the one place where they are decided.

use crate::gate::Decision;
use crate::ops::doctor::Health;
use crate::stage::Outcome;

/// What the process that started execward sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u8);

impl Exit {
    /// Done; for `check`: allowed.
    pub(super) const SUCCESS: Self = Self(0);
    /// For `check`: not allowed; for other commands: the answer is no (a chain that is broken, an example that fails).
    pub(super) const NO: Self = Self(1);
    /// Called wrongly, or could not do what was asked: every command but `run`, for which 2 is a command's own code.
    pub(super) const USAGE: Self = Self(2);
    /// `doctor`: nothing fails, and something is weaker than it could be.
    pub(super) const WARNING: Self = Self(3);
    /// `run`: execward was called wrongly or failed.
    pub(super) const FAILED: Self = Self(125);
    /// Whoever reads the output has gone: as if SIGPIPE had ended the process.
    pub(super) const PIPE: Self = Self(128 + 13);

    /// The code of a `run` that came out so.
    pub(super) fn of_run(outcome: &Outcome) -> Self {
        match *outcome {
            Outcome::Exited { code } => Self(code),
            Outcome::TimedOut => Self(124),
            Outcome::Failed { .. } => Self::FAILED,
            Outcome::Refused { .. } | Outcome::NotExecutable { .. } => Self(126),
            Outcome::NotFound { .. } => Self(127),
            Outcome::Signaled { signal } | Outcome::Cancelled { signal } => {
                Self(u8::try_from(signal).map_or(255, |signal| signal.saturating_add(128)))
            }
        }
    }

    /// The code of a `doctor` that found the worst to be so.
    pub(super) fn of_health(worst: Health) -> Self {
        match worst {
            Health::Ok => Self::SUCCESS,
            Health::Warning => Self::WARNING,
            Health::Failure => Self::NO,
        }
    }

    /// The code of a `check` that decided so.
    pub(super) fn of_check(decision: Decision) -> Self {
        if decision == Decision::Allow { Self::SUCCESS } else { Self::NO }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::RefusedBy;

    #[test]
    fn each_outcome_has_its_code() {
        let program = || "x".to_owned();
        let cases = [
            (Outcome::Exited { code: 0 }, 0),
            (Outcome::Exited { code: 255 }, 255),
            (Outcome::TimedOut, 124),
            (Outcome::Failed { error: program(), hint: program() }, 125),
            (Outcome::Refused { refused_by: RefusedBy::Policy, reason: program() }, 126),
            (Outcome::NotExecutable { program: program(), errno: 13 }, 126),
            (Outcome::NotFound { program: program() }, 127),
            (Outcome::Signaled { signal: 9 }, 137),
            (Outcome::Cancelled { signal: 2 }, 130),
            (Outcome::Signaled { signal: 64 }, 192),
            (Outcome::Signaled { signal: -1 }, 255),
        ];
        for (outcome, code) in cases {
            assert_eq!(Exit::of_run(&outcome), Exit(code), "{outcome:?}");
        }
    }
}
