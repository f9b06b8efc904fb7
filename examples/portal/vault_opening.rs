//! Opening and creation of the vault. All functions block, and run on the blocking pool.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use chartlock::access::SecurityEvent;
use chartlock::keys::{Credential, KeyFile, Passphrase};
use chartlock::storage::{ObjectOptions, PostgresOptions, RouterStorage, Storage, StorageError};
use chartlock::{Actor, Error, FileStorage, Vault, VaultOptions};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::Outcome;
use crate::clinic_policy::ClinicPolicy;
use crate::consents::Consents;
use crate::sample_charts;
use crate::settings::{Place, Settings};

/// Maximum number of operations of the vault that run at the same time.
pub(crate) const OPERATIONS_MAX: usize = 16;
const DEMONSTRATION: &str = "everybody knows this passphrase";
/// Time between two attempts to open a storage that another process has open.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Opens the vault of the settings. Creates a vault with sample patients in an empty storage.
pub(crate) fn open(
    settings: &Settings,
    scratch: &Path,
    consents: &Arc<Consents>,
) -> Outcome<Vault> {
    let storage = storage(settings, scratch)?;
    let credential = credential(settings)?;
    let options = || options(consents);
    let vault = match options()?.open(Arc::clone(&storage), &*credential) {
        Err(Error::NoVault) => match options()?.create(Arc::clone(&storage), &*credential) {
            // Another process created the vault meanwhile.
            Err(Error::NotEmpty) => options()?.open(storage, &*credential)?,
            created => created?,
        },
        opened => opened?,
    };
    sample_charts::import(&vault)?;
    Ok(vault)
}

fn options(consents: &Arc<Consents>) -> Outcome<VaultOptions> {
    Ok(VaultOptions::new()
        .policy(ClinicPolicy::new(Arc::clone(consents))?)
        .system_actor(Actor::new("portal")?)
        // Use one thread for each request, because many requests run at the same time.
        .threads(NonZeroUsize::MIN)
        .whole_record_limit(16 << 20)
        .on_security_event(report))
}

/// Writes a security event to stderr as one line of JSON. A real service sends the events to its
/// security staff.
fn report(event: &SecurityEvent) {
    let line = serde_json::to_string(event).unwrap_or_else(|_| event.to_string());
    let _ = writeln!(std::io::stderr(), "security event: {line}");
}

fn credential(settings: &Settings) -> Outcome<Box<dyn Credential>> {
    match &settings.key_file {
        Some(path) => Ok(Box::new(KeyFile::open(path)?)),
        None => Ok(Box::new(Passphrase::new(DEMONSTRATION))),
    }
}

/// Opens the storage. With a bucket, the segments of large content go there, and everything else stays in the
/// main storage, which keeps the vault transactional.
fn storage(settings: &Settings, scratch: &Path) -> Outcome<Arc<dyn Storage>> {
    let main = main_storage(settings, scratch)?;
    let Some((bucket, prefix)) = &settings.bucket else {
        return Ok(main);
    };
    let mut options = ObjectOptions::from_env().bucket(bucket).prefix(prefix)?;
    if let Some(authority) = &settings.authority {
        options = options.tls(trusting(authority)?);
    }
    Ok(Arc::new(RouterStorage::new(options.open()?, main)))
}

fn main_storage(settings: &Settings, scratch: &Path) -> Outcome<Arc<dyn Storage>> {
    Ok(match &settings.place {
        Place::Temporary => Arc::new(FileStorage::open(scratch.join("clinic"))?),
        Place::Directory(directory) => Arc::new(free_directory(directory, settings.wait)?),
        Place::Postgres(connection) => {
            let mut options = PostgresOptions::parse(connection)?;
            if let Some(authority) = &settings.authority {
                options = options.tls(trusting(authority)?);
            }
            // A deployment calls `migrate` once, as another user, and grants fewer rights to the service.
            options.migrate()?;
            Arc::new(options.connections(OPERATIONS_MAX + 2).open()?)
        }
    })
}

/// Returns a TLS configuration that accepts servers with a certificate of one authority.
fn trusting(authority: &Path) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Opens a directory after the process that has the directory open has released it. In a rolling update, the
/// former process must end before the next process can open the vault.
fn free_directory(directory: &Path, wait: Duration) -> Result<FileStorage, StorageError> {
    let start = Instant::now();
    loop {
        match FileStorage::open(directory) {
            Err(StorageError::InUse) if start.elapsed() < wait => sleep(RETRY_AFTER),
            opened => return opened,
        }
    }
}
