//! An HTTPS client for what execward itself says to the world: questions to models, notifications, deliveries.
//!
//! One request on one connection, within a time and a size. It takes nothing from the environment, proxies included, keeps no
//! cookies, and follows no redirect: what is sent goes to the host that an operator named, and to no other. Names are resolved
//! as for the proxy of commands, certificates are held against the host's store or a file that is named. When the future of a
//! request is dropped, its connection is gone.
//!
//! Addresses, header fields and bodies may hold keys: no error and no `Debug` shows more than the host.

mod exchange;
mod keys;
mod trust;
mod url;
mod webhook;

pub use exchange::{Answer, Client, HttpError, Post};
pub use keys::{Key, Keys, KeysError, MAX_KEYS};
pub use url::{Url, UrlError};
pub use webhook::{signature, signed};
