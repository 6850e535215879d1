//! Names to addresses.
//!
//! Not getaddrinfo(3): in a static binary it loads shared objects of whatever version the host has, and it blocks a thread
//! for as long as a name server likes.

use std::fs;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::Name;

/// What the host's resolver goes by.
const SOURCES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// A name has no address, or nobody could be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {name}: {why}")]
pub struct ResolveError {
    /// The name.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// Turns names into addresses.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of a name, in the order in which to try them. The name is complete: no search domain is tried.
    fn resolve(&self, name: &str) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send;
}

/// The host's `/etc/hosts` and the name servers of its `/etc/resolv.conf`, read again when they have changed.
#[derive(Debug, Default)]
pub struct System {
    current: Mutex<Option<(Stamps, Arc<TokioResolver>)>>,
}

type Stamps = [Option<SystemTime>; 2];

impl System {
    fn current(&self) -> Result<Arc<TokioResolver>, String> {
        let stamps = SOURCES.map(|path| fs::metadata(path).and_then(|it| it.modified()).ok());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, resolver)) = &*current
            && *read == stamps
        {
            return Ok(Arc::clone(resolver));
        }
        let built = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
        let resolver = Arc::new(built.map_err(|error| format!("{}: {error}", SOURCES[0]))?);
        *current = Some((stamps, Arc::clone(&resolver)));
        Ok(resolver)
    }
}

impl Resolver for System {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let wrong = |why: String| ResolveError { name: name.to_owned(), why };
        let resolver = self.current().map_err(wrong)?;
        let mut full = Name::from_ascii(name).map_err(|error| wrong(error.to_string()))?;
        full.set_fqdn(true);
        let found = resolver.lookup_ip(full).await.map_err(|error| wrong(error.to_string()))?;
        Ok(found.iter().collect())
    }
}
