//! Policy files: read, checked against their own examples, and applied to what a command will do.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// STUB until the real one is merged.
#[derive(Debug)]
pub struct Policy;

impl Policy {
    /// STUB
    pub fn judge(&self, _: &crate::gate::Command, _: &crate::gate::Facts) -> crate::gate::Judgement {
        crate::gate::Judgement::from_findings(vec![])
    }
}
