//! Whom a server may be vouched for by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where distributions keep the certificates that they trust, in one file. No variable names another.
const STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Settings of TLS, by the file that its roots come from; read once each.
#[derive(Default)]
pub(super) struct Trust(Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// With the roots of a file, else the host's. Reads files.
    pub(super) fn settings(&self, file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = file.map(Path::to_owned);
        if let Some(settings) = known.get(&name) {
            return Ok(Arc::clone(settings));
        }
        let roots = match file {
            Some(file) => roots(file).map_err(|why| format!("{}: {why}", file.display()))?,
            None => STORES.iter().find_map(|store| roots(Path::new(store)).ok()).ok_or(
                "this host has no certificates to hold a server's against: install `ca-certificates`, or name a \
                 file with `ca`",
            )?,
        };
        let settings = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let settings = Arc::new(settings);
        known.insert(name, Arc::clone(&settings));
        Ok(settings)
    }
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let mut roots = RootCertStore::empty();
    // Stores hold a few old ones that no verifier takes.
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err("no certificate in it".to_owned()),
        _ => Ok(roots),
    }
}
