//! Helpers shared by the test targets.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each target uses its part"
)]

pub(crate) mod altered_scans;
pub(crate) mod brittle;
pub(crate) mod brute_force;
#[cfg(unix)]
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod content;
pub(crate) mod counting;
pub(crate) mod credential;
pub(crate) mod failure_class;
#[cfg(all(feature = "postgres", unix))]
pub(crate) mod faulty_proxy;
#[cfg(unix)]
pub(crate) mod http_proxy;
pub(crate) mod ids;
pub(crate) mod invalid;
pub(crate) mod journal;
#[cfg(all(feature = "aws-kms", unix))]
pub(crate) mod kms_server;
pub(crate) mod objects;
#[cfg(all(
    feature = "transit",
    feature = "object-store",
    feature = "postgres",
    unix
))]
pub(crate) mod openbao;
pub(crate) mod passphrase;
#[cfg(all(feature = "postgres", unix))]
pub(crate) mod postgres_server;
pub(crate) mod recorded_spans;
#[cfg(all(feature = "object-store", unix))]
pub(crate) mod s3_server;
pub(crate) mod scratch;
#[cfg(unix)]
pub(crate) mod server_process;
pub(crate) mod session;
#[cfg(all(feature = "pkcs11", unix))]
pub(crate) mod softhsm;
#[macro_use]
pub(crate) mod stage;
#[cfg(all(feature = "object-store", feature = "postgres", unix))]
pub(crate) mod tls;

pub(crate) use altered_scans::AlteredScans;
pub(crate) use brittle::Brittle;
pub(crate) use credential::Fixed;
pub(crate) use failure_class::is_failure_class;
pub(crate) use ids::{actor, record, subject};
pub(crate) use passphrase::passphrase;
pub(crate) use session::{accept_restore, because, session, session_as};
pub(crate) use stage::{Shared, Stage};
