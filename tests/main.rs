//! The one integration binary. Each module holds the tests of one promise; `support` holds what they share.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod layers;
