//! The record that proves what happened: append-only JSON lines, each carrying the hash of the one before.

/// STUB
#[derive(Debug)]
pub struct Durable {
    request: String,
}
impl Durable {
    /// STUB
    pub fn request(&self) -> &str {
        &self.request
    }
    /// STUB
    #[cfg(test)]
    pub(crate) fn for_tests(request: &str) -> Self {
        Self { request: request.into() }
    }
}
