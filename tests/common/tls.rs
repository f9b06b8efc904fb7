//! Certificates and settings of TLS for the tests.

use std::path::Path;
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

#[cfg(all(feature = "postgres", unix))]
use super::postgres_server::{Server, as_postgres};

/// Returns a configuration that trusts one certificate, or none.
pub(crate) fn trusting(certificate: Option<&[u8]>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = certificate {
        roots
            .add(CertificateDer::from_pem_slice(pem).unwrap())
            .unwrap();
    }
    let provider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Restarts a PostgreSQL server with TLS, and returns its certificate.
#[cfg(all(feature = "postgres", unix))]
pub(crate) fn enable_tls(server: &Server) -> Vec<u8> {
    // The server accepts only a key that its own user can read, and no other.
    let certificate = certificate_in(&server.data(), as_postgres(Path::new("openssl")));
    assert!(server.psql("alter system set ssl = on").0);
    server.crash();
    server.run();
    certificate
}

/// Writes `server.key` and `server.crt`, which is valid for `localhost`, with the command `openssl`. Returns the
/// certificate in PEM format.
pub(crate) fn certificate_in(directory: &Path, mut openssl: Command) -> Vec<u8> {
    let certificate = directory.join("server.crt");
    let openssl = openssl
        .args([
            "req",
            "-new",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(directory.join("server.key"))
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(openssl.unwrap().success(), "openssl failed");
    std::fs::read(certificate).unwrap()
}
