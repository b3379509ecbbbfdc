//! TLS as a client: one configuration for the whole process.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::WireSetupError;

/// TLS 1.2 or 1.3, HTTP/1.1, the certificates the operating system trusts and those of `extra_ca_file`.
///
/// There is no way to switch verification off.
pub(super) fn client_config(extra_ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, WireSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = extra_ca_file {
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(WireSetupError::Tls)?;
        }
    }
    if roots.is_empty() {
        // Not fatal: a demonstration against local http servers needs none, and every https call fails safely.
        tracing::warn!("no trusted certificates found: https requests will fail");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(WireSetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WireSetupError> {
    let unreadable = |reason: String| WireSetupError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("no certificate in it".to_owned()));
    }
    Ok(certificates)
}
