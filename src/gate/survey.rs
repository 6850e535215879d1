//! The gate's walk: a command becomes acts and findings.

use super::{Act, Command, Facts, Finding, Judgement};

/// What a command does, as far as it can be known before running, with the findings that no policy is asked about.
#[derive(Debug, Default)]
pub struct Survey {
    acts: Vec<Act>,
    findings: Vec<Finding>,
}

/// Reads a command.
pub fn survey(_command: &Command, _facts: &Facts) -> Survey {
    Survey::default()
}

impl Survey {
    /// The effects, each in its context.
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// Puts the policy's findings to the gate's own. There is no way to take one of the gate's away.
    pub fn conclude(self, of_policy: Vec<Finding>) -> Judgement {
        let mut findings = self.findings;
        findings.extend(of_policy);
        Judgement::from_findings(findings)
    }
}
