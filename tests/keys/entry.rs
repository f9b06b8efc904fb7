//! Patient entries.

use chartlock::internals::keys::{PatientEntry, open_entry};
use chartlock::{Error, Subject};

use crate::common::*;

#[test]
fn an_entry_comes_back() {
    for suite in SUITES {
        let vault = vault(suite);
        let subject = Subject::patient("MRN-1042").unwrap();
        let mut entry = PatientEntry::new(subject.clone(), NOW).unwrap();
        let value = vault.seal(&mut entry);
        assert!(value.len() < 300, "{}", value.len());
        let opened = open_entry(&value, &vault.keyring, vault.id(), &vault.tag(&subject)).unwrap();
        assert_eq!(opened.subject(), &subject);
        assert_eq!((opened.sequence(), opened.generation()), (1, 1));
        let (key, made) = (opened.active_key().unwrap(), entry.active_key().unwrap());
        assert_eq!(key.key.expose(), made.key.expose());
        let other = vault.tag(&Subject::patient("MRN-1043").unwrap());
        let swapped = open_entry(&value, &vault.keyring, vault.id(), &other);
        assert_eq!(swapped.unwrap_err(), Error::NotAuthentic);
    }
}
