//! Layers: a policy with another beneath it.
//!
//! The lower one can only tighten. Its rules judge by themselves and the strictest finding decides; its sections are met
//! with those above; a profile that it adds gives no more than the one above gives by default. So nothing has to be proved
//! about what a lower layer says, only that joining is monotone.

use sha2::{Digest as _, Sha256};

use super::{Policy, Profile};

impl Policy {
    /// This policy with a lower layer, which was loaded beneath it ([`super::Loader::beneath`]).
    #[must_use]
    pub fn over(&self, lower: &Self) -> Self {
        let choice = self.choice.over(&lower.choice);
        let mut profiles = self.profiles.clone();
        for profile in profiles.values_mut() {
            let own = lower.profiles.get(&profile.name).unwrap_or(&lower.base);
            *profile = Profile { selectable: profile.selectable && own.selectable, ..profile.within(own) };
        }
        for (name, profile) in &lower.profiles {
            profiles.entry(name.clone()).or_insert_with(|| Profile {
                // Within what is above by default, whatever it says beyond that.
                selectable: true,
                backend: match choice.permits(&profile.backend) {
                    true => profile.backend.clone(),
                    false => self.base.backend.clone(),
                },
                ..profile.within(&self.base)
            });
        }
        let layers = self.layers.iter().chain(&lower.layers).cloned().collect();
        let mut hash = Sha256::new();
        hash.update(b"execward layers\0");
        hash.update(self.digest);
        hash.update(lower.digest);
        Self {
            roots: meet_roots(self.roots.clone(), lower.roots.clone()),
            later: self.later.min(lower.later),
            scan: self.scan.meet(&lower.scan),
            redaction: match (&self.redaction, &lower.redaction) {
                (Some(upper), Some(lower)) => Some(upper.clone().and(lower)),
                (upper, lower) => upper.as_ref().or(lower.as_ref()).cloned(),
            },
            approval: super::Approval { timeout: self.approval.timeout.min(lower.approval.timeout) },
            base: Profile {
                backend: choice.backend.clone().unwrap_or_else(|| self.base.backend.clone()),
                ..self.base.within(&lower.base)
            },
            choice,
            profiles,
            layers,
            name: format!("{} + {}", self.name, lower.name),
            digest: hash.finalize().into(),
        }
    }
}

/// The directories that lie below one of each list.
fn meet_roots(upper: Option<Vec<String>>, lower: Option<Vec<String>>) -> Option<Vec<String>> {
    let (upper, lower) = match (upper, lower) {
        (Some(upper), Some(lower)) => (upper, lower),
        (one, None) | (None, one) => return one,
    };
    let below = |path: &String, roots: &[String]| {
        roots.iter().any(|root| {
            let root = root.trim_end_matches('/');
            path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut both: Vec<String> = upper.iter().filter(|root| below(root, &lower)).cloned().collect();
    both.extend(lower.iter().filter(|root| below(root, &upper)).cloned());
    both.sort();
    both.dedup();
    Some(both)
}
