//! Policy files: read, checked against their own examples, and applied to what a command will do.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
