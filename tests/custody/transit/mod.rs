//! Tests of the credential of Vault's transit engine: over OpenBao, and over a double of the service.

mod double;
mod failures;
mod hostile;
mod requests;
mod rotation;
mod settings;
mod slots;
mod tls;

use std::sync::Arc;

use chartlock::keys::{Credential, CredentialFailure, Transit};
use chartlock::{Error, MemoryStorage, RecordId, Vault};

use crate::common::openbao::OpenBao;
use crate::common::{Fixed, record, session};

const CONTENT: &[u8] = b"blood pressure 120/80";

fn reading() -> RecordId {
    record("MRN-1042", "Observation/bp")
}

/// A vault with a record, a slot of this credential and a slot of `Fixed(1)`.
struct Clinic(Arc<MemoryStorage>);

impl Clinic {
    fn new(credential: &dyn Credential) -> Self {
        let clinic = Self(Arc::default());
        let vault = Vault::create(Arc::clone(&clinic.0), credential).unwrap();
        vault.add_slot(&Fixed(1)).unwrap();
        session(&vault).put(&reading(), CONTENT).unwrap();
        clinic
    }

    fn open(&self, credential: &dyn Credential) -> Result<Vault, Error> {
        Vault::open(Arc::clone(&self.0), credential)
    }

    #[track_caller]
    fn assert_opens(&self, credential: &dyn Credential) {
        let vault = self.open(credential).unwrap();
        let content = session(&vault).get(&reading()).unwrap().unwrap();
        assert_eq!(&content[..], CONTENT);
    }

    /// Checks that a credential fails for this reason, without text of the service, and that the slot of
    /// another credential still opens.
    #[track_caller]
    fn assert_fails(&self, credential: &dyn Credential, reason: CredentialFailure) {
        let error = self.open(credential).unwrap_err();
        assert_eq!(error, Error::Credential(reason));
        assert_silent(&error);
        self.assert_opens(&Fixed(1));
    }

    /// Returns the id of the slot that was created first.
    fn first_slot(&self) -> u16 {
        let vault = self.open(&Fixed(1)).unwrap();
        vault.slots().unwrap()[0].id
    }
}

/// Returns the name of a new key, a credential with it, and a clinic that it opens.
fn clinic_of(server: &OpenBao) -> (String, Transit, Clinic) {
    let key = server.key();
    let transit = server.transit(&key);
    let clinic = Clinic::new(&transit);
    (key, transit, clinic)
}

/// Checks that an error contains no name, token or text of the service. The tests plant all of them.
#[track_caller]
fn assert_silent(error: &Error) {
    let text = format!("{error} {error:?} {:?}", std::error::Error::source(error));
    assert!(!text.contains("planted"), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
}

/// Returns the server that the tests share, or ends the test if it is not installed.
macro_rules! server {
    () => {
        match crate::common::openbao::shared() {
            Some(server) => server,
            None => return,
        }
    };
}
use server;
