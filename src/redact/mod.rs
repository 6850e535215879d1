//! Redaction of everything that leaves: a byte stream goes in, the same stream with secrets masked comes out.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]
