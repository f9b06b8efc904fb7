//! Tests of the credential of AWS KMS.
#![cfg(all(feature = "aws-kms", unix))]

mod answers;
mod identities;
mod secrecy;
mod servers;
mod settings;
mod signatures;

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use chartlock::keys::{
    AwsIdentity, AwsKms, AwsKmsOptions, Credential, CredentialFailure, KeyFile, SlotContext,
};
use chartlock::storage::MemoryStorage;
use chartlock::{CipherSuite, Error, Vault};

use crate::common::http_proxy::{Action, HttpProxy, Request};
use crate::common::kms_server::REGION;

/// The key that the tests use with a server that accepts any key.
const KEY: &str = "alias/clinic";

/// A time limit that a slow machine does not reach.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(endpoint: &str, key: &str) -> AwsKmsOptions {
    AwsKmsOptions::new(key, REGION)
        .endpoint(endpoint)
        .identity(AwsIdentity::access_key("clinic", "clinic-secret"))
        .time_limit(PATIENCE)
}

fn kms(endpoint: &str, key: &str) -> AwsKms {
    options(endpoint, key).build().unwrap()
}

fn context() -> SlotContext {
    SlotContext::new([7; 16], 6, 51_966, CipherSuite::default())
}

/// Returns the secret's bytes.
fn opened(
    kms: &dyn Credential,
    parameters: &[u8],
    at: &SlotContext,
) -> Result<Option<[u8; 32]>, Error> {
    Ok(kms.secret(parameters, at)?.map(|secret| *secret.expose()))
}

/// Creates a vault with a slot for a key file and a slot for a key of KMS.
fn vault_with(kms: &AwsKms) -> (Arc<MemoryStorage>, KeyFile, u16) {
    let storage = Arc::new(MemoryStorage::new());
    let file = KeyFile::random().unwrap();
    let vault = Vault::create(Arc::clone(&storage), &file).unwrap();
    let slot = vault.add_slot(kms).unwrap();
    (storage, file, slot)
}

fn failure(failure: CredentialFailure) -> Error {
    Error::Credential(failure)
}

/// A server that gives the same answer to each request.
fn answering(status: u16, body: impl Into<Vec<u8>>) -> HttpProxy {
    let body = body.into();
    HttpProxy::start(0, move |_| {
        Action::Answer(status, String::new(), body.clone())
    })
}

/// A server that works as KMS does, with a secret of 32 equal bytes.
fn working() -> HttpProxy {
    HttpProxy::start(0, work)
}

fn work(_: &Request) -> Action {
    let plaintext = Base64::encode_string(&[9; 32]);
    let body = format!("{{\"CiphertextBlob\":\"Q0lQSEVS\",\"Plaintext\":\"{plaintext}\"}}");
    Action::Answer(200, String::new(), body.into_bytes())
}

fn endpoint(server: &HttpProxy) -> String {
    format!("http://127.0.0.1:{}", server.port)
}
