//! Slots of a key on a token: their whole life, and attacks on the stored parameters.

use std::thread;

use chartlock::audit::Auditor;
use chartlock::keys::{Credential, Pkcs11, Pkcs11Key, Pkcs11Options, SlotContext};
use chartlock::storage::FileStorage;
use chartlock::{CipherSuite, Error, Purpose, Vault};

use super::Clinic;
use crate::common::actor;
use crate::common::scratch::set_mode;
use crate::common::softhsm::{KEY, LABEL, PIN, SoftHsm, key, scenario, scenario_in_processes};

const CONTEXT: SlotContextParts = ([7; 16], 5, 4660);
type SlotContextParts = ([u8; 16], u16, u16);

fn context((vault, kind, slot): SlotContextParts) -> SlotContext {
    SlotContext::new(vault, kind, slot, CipherSuite::default())
}

#[test]
fn slot_of_a_token_key_is_kept_replaced_and_removed() {
    scenario(
        "pkcs11::slots::slot_of_a_token_key_is_kept_replaced_and_removed",
        |hsm| {
            let credential = hsm.credential();
            let clinic = Clinic::with(&credential);
            let vault = clinic.open(&credential).unwrap();
            let slot = vault.slots().unwrap()[0];
            assert_eq!((slot.kind, slot.journal_only), (5, false));

            let kept: [&dyn Credential; 2] = [&credential, &clinic.key_file];
            vault.rotate_root_key(&kept, &[]).unwrap();
            let vault = clinic.open(&credential).unwrap();

            let spare = Pkcs11Key::label("spare").unwrap();
            let token = hsm.token();
            Pkcs11::create_key(&token, &spare).unwrap();
            let spare = Pkcs11::new(&token, spare);
            vault.replace_slot(slot.id, &spare).unwrap();
            assert!(matches!(clinic.open(&credential), Err(Error::WrongKey)));
            let vault = clinic.open(&spare).unwrap();
            vault.remove_slot(slot.id).unwrap();
            assert!(matches!(clinic.open(&spare), Err(Error::NoSlotOfKind)));
            clinic.assert_other_slot_opens();
        },
    );
}

#[test]
fn vault_of_another_process_opens() {
    scenario_in_processes(
        2,
        "pkcs11::slots::vault_of_another_process_opens",
        |hsm: &SoftHsm| {
            let directory = hsm.directory.join("vault");
            let is_second = directory.exists();
            let storage = FileStorage::open(&directory).unwrap();
            if is_second {
                Vault::open(storage, &Pkcs11::new(&hsm.token(), key())).unwrap();
            } else {
                Vault::create(storage, &hsm.credential()).unwrap();
            }
        },
    );
}

#[test]
fn secret_moved_to_another_slot_vault_or_kind_is_not_opened() {
    scenario(
        "pkcs11::slots::secret_moved_to_another_slot_vault_or_kind_is_not_opened",
        |hsm| {
            let credential = hsm.credential();
            let (parameters, secret) = credential.enrol(&context(CONTEXT)).unwrap();
            let opened = credential.secret(&parameters, &context(CONTEXT)).unwrap();
            assert_eq!(opened.unwrap().expose(), secret.expose());

            let (vault, kind, slot) = CONTEXT;
            let mut other_vault = vault;
            other_vault[15] ^= 1;
            for other in [
                (other_vault, kind, slot),
                (vault, 4, slot),
                (vault, kind, slot ^ 0x100),
            ] {
                let opened = credential.secret(&parameters, &context(other)).unwrap();
                assert!(opened.is_none(), "{other:?}");
            }
            // The token still works.
            let opened = credential.secret(&parameters, &context(CONTEXT)).unwrap();
            assert!(opened.is_some());
        },
    );
}

#[test]
fn altered_parameters_are_not_opened() {
    scenario("pkcs11::slots::altered_parameters_are_not_opened", |hsm| {
        let credential = hsm.credential();
        let (parameters, _) = credential.enrol(&context(CONTEXT)).unwrap();
        assert_eq!(parameters.len(), 61);
        let is_refused = |parameters: &[u8]| {
            let opened = credential.secret(parameters, &context(CONTEXT));
            opened.unwrap().is_none()
        };
        for at in 0..parameters.len() {
            let mut altered = parameters.clone();
            altered[at] ^= 1;
            assert!(is_refused(&altered), "byte {at}");
        }
        assert!(is_refused(&parameters[..60]));
        assert!(is_refused(&[parameters.as_slice(), &[0]].concat()));
        assert!(is_refused(&[]));
        assert!(is_refused(&vec![1; 3984]));
    });
}

#[test]
fn secret_of_another_key_is_not_opened() {
    scenario(
        "pkcs11::slots::secret_of_another_key_is_not_opened",
        |hsm| {
            let credential = hsm.credential();
            let (parameters, _) = credential.enrol(&context(CONTEXT)).unwrap();
            let other = Pkcs11Key::id(b"other").unwrap();
            let token = hsm.token();
            Pkcs11::create_key(&token, &other).unwrap();
            let opened = Pkcs11::new(&token, other).secret(&parameters, &context(CONTEXT));
            assert!(opened.unwrap().is_none());
        },
    );
}

#[test]
fn token_and_key_are_named_by_uri() {
    scenario("pkcs11::slots::token_and_key_are_named_by_uri", |hsm| {
        let module = hsm.module.display();
        let pin_file = hsm.directory.join("pin");
        let token = format!("pkcs11:token={LABEL};object={KEY};id=%01%ff;type=secret-key");
        let uris = [
            format!("{token}?module-path={module}&pin-value={PIN}"),
            format!(
                "{token}?module-path={module}&pin-source={}",
                pin_file.display()
            ),
            format!(
                "{token}?module-path={module}&pin-source=file:{}",
                pin_file.display()
            ),
            format!(
                "{token}?module-path={module}&pin-source=file://{}",
                pin_file.display()
            ),
            format!("pkcs11:token={LABEL};id=%01%ff?module-path={module}&pin-value={PIN}"),
            format!("pkcs11:token={LABEL};object={KEY}?module-path={module}&pin-value={PIN}"),
        ];
        std::fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        set_mode(&pin_file, 0o644);
        let key = Pkcs11Key::from_uri(&uris[0]).unwrap();
        assert!(key == Pkcs11Key::label(KEY).unwrap().with_id(&[1, 255]).unwrap());
        let options = Pkcs11Options::from_uri(&uris[0]).unwrap();
        Pkcs11::create_key(&options.open().unwrap(), &key).unwrap();

        let clinic = Clinic::with(&Pkcs11::from_uri(&uris[0]).unwrap());
        for uri in &uris {
            clinic.open(&Pkcs11::from_uri(uri).unwrap()).unwrap();
        }
        for end in ["", "\r\n"] {
            std::fs::write(&pin_file, format!("{PIN}{end}")).unwrap();
            Pkcs11::from_uri(&uris[1]).unwrap();
        }
        // Only one line end is accepted. The PIN differs then from the PIN of the open token.
        std::fs::write(&pin_file, format!("{PIN}\n\n")).unwrap();
        let refused = Pkcs11::from_uri(&uris[1]);
        super::assert_failure(refused, chartlock::keys::CredentialFailure::Denied);

        for exposed in [0o664, 0o646] {
            set_mode(&pin_file, exposed);
            let refused = Pkcs11::from_uri(&uris[1]).err();
            assert_eq!(refused, Some(Error::KeyFileExposed));
        }
    });
}

#[test]
fn auditor_slot_of_a_token_key_opens_the_journal() {
    scenario(
        "pkcs11::slots::auditor_slot_of_a_token_key_opens_the_journal",
        |hsm| {
            let credential = hsm.credential();
            let clinic = Clinic::with(&credential);
            let vault = clinic.open(&credential).unwrap();
            let slot = vault.add_auditor_slot(&credential).unwrap();
            let auditor = Auditor::open(
                clinic.storage.clone(),
                &credential,
                actor("auditor"),
                Purpose::Operations,
            );
            assert_eq!(auditor.unwrap().slot(), slot);
        },
    );
}

#[test]
fn threads_share_one_token() {
    scenario("pkcs11::slots::threads_share_one_token", |hsm| {
        let credential = hsm.credential();
        let clinic = Clinic::with(&credential);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let own = Pkcs11::new(&hsm.token(), key());
                    for credential in [&credential, &own] {
                        clinic.open(credential).unwrap();
                    }
                });
            }
        });
    });
}
