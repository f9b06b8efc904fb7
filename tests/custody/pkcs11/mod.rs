//! Tests of PKCS#11 with SoftHSM.

mod failures;
mod login;
mod slots;

use std::sync::Arc;

use chartlock::keys::{CredentialFailure, KeyFile, Pkcs11};
use chartlock::{Error, MemoryStorage, Vault};

use crate::common::Shared;
use crate::common::softhsm::SoftHsm;

/// A vault with a slot of the token's key and a slot of a key file.
struct Clinic {
    storage: Shared,
    key_file: KeyFile,
}

impl Clinic {
    fn create(hsm: &SoftHsm) -> Self {
        Self::with(&hsm.credential())
    }

    fn with(credential: &Pkcs11) -> Self {
        let storage: Shared = Arc::new(MemoryStorage::new());
        let key_file = KeyFile::random().unwrap();
        let vault = Vault::create(storage.clone(), credential).unwrap();
        vault.add_slot(&key_file).unwrap();
        Self { storage, key_file }
    }

    fn open(&self, credential: &Pkcs11) -> Result<Vault, Error> {
        Vault::open(self.storage.clone(), credential)
    }

    /// Asserts that the token's slot fails, and that the other slot opens.
    #[track_caller]
    fn assert_fails(&self, credential: &Pkcs11, expected: CredentialFailure) {
        assert_failure(self.open(credential), expected);
        self.assert_other_slot_opens();
    }

    #[track_caller]
    fn assert_other_slot_opens(&self) {
        let opened = Vault::open(self.storage.clone(), &self.key_file);
        assert!(opened.is_ok());
    }
}

#[track_caller]
fn assert_failure<T>(result: Result<T, Error>, expected: CredentialFailure) {
    match result {
        Err(Error::Credential(failure)) => assert_eq!(failure, expected),
        Err(error) => panic!("another error: {error:?}"),
        Ok(_) => panic!("no error"),
    }
}
