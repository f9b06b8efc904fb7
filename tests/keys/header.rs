//! Headers and slots.

use chartlock::Error;
use chartlock::internals::keys::Header;

use crate::common::*;

#[test]
fn a_header_opens_with_its_credential_only() {
    for suite in SUITES {
        let vault = vault(suite);
        let unlocked = vault.header.unlock(&Fixed(1)).unwrap();
        assert_eq!(unlocked.slot, vault.header.slots()[0].id);
        let (master, held) = (
            unlocked.keyring.active_master(),
            vault.keyring.active_master(),
        );
        assert_eq!(master.number, held.number);
        assert_eq!(master.key.expose(), held.key.expose());
        assert_eq!(vault.header.unlock(&Fixed(2)).unwrap_err(), Error::WrongKey);
    }
}

#[test]
fn slots_come_and_go_around_one_root_key() {
    let mut vault = vault(SUITES[0]);
    let unlocked = vault.header.unlock(&Fixed(1)).unwrap();
    let first = unlocked.slot;
    let second = vault.header.add_slot(&unlocked.root, &Fixed(2)).unwrap();
    let value = (vault.header)
        .sealed_with(&unlocked.root, &unlocked.keyring, 2)
        .unwrap();
    let mut header = Header::parse(&value).unwrap();
    assert_eq!(header.generation(), 2);
    assert_eq!(header.unlock(&Fixed(1)).unwrap().slot, first);
    assert_eq!(header.unlock(&Fixed(2)).unwrap().slot, second);
    header
        .replace_slot(&unlocked.root, first, &Fixed(3))
        .unwrap();
    header.remove_slot(second).unwrap();
    assert_eq!(header.remove_slot(second), Err(Error::NoSuchSlot));
    assert_eq!(header.remove_slot(first), Err(Error::LastSlot));
    let value = header
        .sealed_with(&unlocked.root, &unlocked.keyring, 3)
        .unwrap();
    let header = Header::parse(&value).unwrap();
    assert_eq!(header.unlock(&Fixed(3)).unwrap().slot, first);
    assert_eq!(header.unlock(&Fixed(1)).unwrap_err(), Error::WrongKey);
}

#[test]
fn a_credential_that_fails_is_reported_only_if_nothing_opens() {
    let vault = vault(SUITES[0]);
    assert_eq!(
        vault.header.unlock(&Down).unwrap_err(),
        Error::CredentialUnavailable
    );
}

#[test]
fn a_truncated_header_is_malformed() {
    let vault = vault(SUITES[0]);
    for length in 0..vault.value.len() {
        assert_eq!(
            Header::parse(&vault.value[..length]).unwrap_err(),
            Error::Malformed
        );
    }
}
