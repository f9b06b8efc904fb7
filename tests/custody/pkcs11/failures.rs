//! Modules, tokens and keys that are missing, ambiguous, broken or slow.
#![allow(unsafe_code, reason = "`fork` in one test")]

use std::fs;
use std::time::Duration;

use chartlock::keys::{
    Credential, CredentialFailure, Pkcs11, Pkcs11Key, Pkcs11Options, SlotContext,
};
use chartlock::{CipherSuite, Error};
use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;

use super::{Clinic, assert_failure};
use crate::common::softhsm::{KEY, LABEL, PIN, SoftHsm, credential, key, scenario};

/// Return codes of PKCS#11 functions.
const CKR_GENERAL_ERROR: u32 = 0x05;
const CKR_DEVICE_REMOVED: u32 = 0x32;

/// Opens a session of another part of the process, which shares the login.
fn session(hsm: &SoftHsm) -> Session {
    let module = cryptoki::context::Pkcs11::new(&hsm.module).unwrap();
    // The module is initialized already if a token is open.
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_rw_session(slot).unwrap()
}

#[test]
fn missing_module_or_token_is_unreachable() {
    scenario(
        "pkcs11::failures::missing_module_or_token_is_unreachable",
        |hsm| {
            let text = hsm.directory.join("text.so");
            fs::write(&text, "no library").unwrap();
            for module in ["/no/such/module.so".into(), text, "libsofthsm2.so".into()] {
                let options = Pkcs11Options::new(module).token_label(LABEL);
                assert_failure(options.open(), CredentialFailure::Unreachable);
            }
            let options = || Pkcs11Options::new(&hsm.module).pin(PIN).unwrap();
            let other = options().token_label("other");
            assert_failure(other.open(), CredentialFailure::Unreachable);
            let other = options().token_label(LABEL).token_serial("other");
            assert_failure(other.open(), CredentialFailure::Unreachable);
            assert!(matches!(
                options().open(),
                Err(Error::InvalidCredentialSetting)
            ));
        },
    );
}

#[test]
fn token_is_selected_by_label_or_serial_and_two_of_one_label_are_denied() {
    scenario(
        "pkcs11::failures::token_is_selected_by_label_or_serial_and_two_of_one_label_are_denied",
        |hsm| {
            hsm.add_token(LABEL);
            let options = || Pkcs11Options::new(&hsm.module).pin(PIN).unwrap();
            let both = options().token_label(LABEL);
            assert_failure(both.open(), CredentialFailure::Denied);
            let module = cryptoki::context::Pkcs11::new(&hsm.module).unwrap();
            for slot in module.get_slots_with_initialized_token().unwrap() {
                let serial = module.get_token_info(slot).unwrap();
                let one = options().token_serial(serial.serial_number());
                Clinic::with(&credential(&one.open().unwrap()));
            }
        },
    );
}

#[test]
fn deleted_key_is_gone_and_other_slots_open() {
    scenario(
        "pkcs11::failures::deleted_key_is_gone_and_other_slots_open",
        |hsm| {
            let credential = hsm.credential();
            let clinic = Clinic::with(&credential);
            let session = session(hsm);
            let name = [Attribute::Label(KEY.into())];
            let found = session.find_objects(&name).unwrap();
            session.destroy_object(found[0]).unwrap();
            clinic.assert_fails(&credential, CredentialFailure::KeyGone);

            // A new key of the same name does not open the slot.
            Pkcs11::create_key(&hsm.token(), &key()).unwrap();
            assert!(matches!(clinic.open(&credential), Err(Error::WrongKey)));
            clinic.assert_other_slot_opens();
        },
    );
}

#[test]
fn two_keys_of_one_label_are_denied() {
    scenario(
        "pkcs11::failures::two_keys_of_one_label_are_denied",
        |hsm| {
            let token = hsm.token();
            let named = |id: &[u8]| key().with_id(id).unwrap();
            Pkcs11::create_key(&token, &named(b"1")).unwrap();
            let credential = Pkcs11::new(&token, key());
            let clinic = Clinic::with(&credential);
            assert_failure(
                Pkcs11::create_key(&token, &named(b"2")),
                CredentialFailure::KeyExists,
            );
            assert_failure(
                Pkcs11::create_key(&token, &Pkcs11Key::id(b"1").unwrap()),
                CredentialFailure::KeyExists,
            );

            let other = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(cryptoki::object::KeyType::AES),
                Attribute::Token(true),
                Attribute::Label(KEY.into()),
                Attribute::Id(b"2".to_vec()),
                Attribute::Value(vec![9; 16]),
            ];
            session(hsm).create_object(&other).unwrap();
            clinic.assert_fails(&credential, CredentialFailure::Denied);
            clinic.open(&Pkcs11::new(&token, named(b"1"))).unwrap();
            // A key of 128 bits is refused.
            let vault = clinic.open(&Pkcs11::new(&token, named(b"1"))).unwrap();
            let short = vault.add_slot(&Pkcs11::new(&token, named(b"2")));
            assert_failure(short, CredentialFailure::Denied);
        },
    );
}

#[test]
fn deleted_token_fails_and_other_slots_open() {
    scenario(
        "pkcs11::failures::deleted_token_fails_and_other_slots_open",
        |hsm| {
            let credential = hsm.credential();
            let clinic = Clinic::with(&credential);
            fs::remove_dir_all(hsm.tokens()).unwrap();
            fs::create_dir(hsm.tokens()).unwrap();
            // SoftHSM keeps a deleted token in its list while the process runs.
            clinic.assert_fails(&credential, CredentialFailure::KeyGone);
        },
    );
}

#[test]
fn removed_token_is_unreachable_until_it_is_back() {
    scenario(
        "pkcs11::failures::removed_token_is_unreachable_until_it_is_back",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let credential = credential(&options.open().unwrap());
            let clinic = Clinic::with(&credential);
            hsm.set_fault(&format!("OpenSession {CKR_DEVICE_REMOVED}"));
            clinic.assert_fails(&credential, CredentialFailure::Unreachable);
            hsm.clear_fault();
            clinic.open(&credential).unwrap();
        },
    );
}

#[test]
fn broken_token_fails_and_a_wrong_tag_does_not() {
    scenario(
        "pkcs11::failures::broken_token_fails_and_a_wrong_tag_does_not",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let credential = credential(&options.open().unwrap());
            let clinic = Clinic::with(&credential);
            for function in ["EncryptInit", "DecryptInit", "Decrypt", "FindObjectsInit"] {
                hsm.set_fault(&format!("{function} {CKR_GENERAL_ERROR}"));
                match function {
                    "EncryptInit" => drop(clinic.open(&credential).unwrap()),
                    _ => clinic.assert_fails(&credential, CredentialFailure::Other),
                }
                hsm.clear_fault();
            }
            // The token passes its test, so the slot is at fault.
            hsm.set_fault(&format!("Decrypt {CKR_GENERAL_ERROR} once"));
            assert!(matches!(clinic.open(&credential), Err(Error::WrongKey)));
            clinic.open(&credential).unwrap();
        },
    );
}

#[test]
fn call_that_hangs_times_out_and_other_slots_open() {
    scenario(
        "pkcs11::failures::call_that_hangs_times_out_and_other_slots_open",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let token = options.clone().open().unwrap();
            let clinic = Clinic::with(&credential(&token));
            let hasty = options.clone().time_limit(Duration::from_millis(100));
            hsm.set_fault("DecryptInit hang");
            // The opening itself may exceed the short limit on a loaded machine.
            while let Err(error) = hasty.clone().open().map(|token| {
                clinic.assert_fails(&Pkcs11::new(&token, key()), CredentialFailure::TimedOut);
            }) {
                assert!(matches!(
                    error,
                    Error::Credential(CredentialFailure::TimedOut)
                ));
            }
            // The limit of this token is longer than the test may take.
            clinic.assert_fails(&Pkcs11::new(&token, key()), CredentialFailure::TimedOut);
            hsm.clear_fault();
            while clinic.open(&Pkcs11::new(&token, key())).is_err() {
                std::thread::yield_now();
            }
        },
    );
}

#[test]
fn token_in_forked_child_is_unreachable() {
    scenario(
        "pkcs11::failures::token_in_forked_child_is_unreachable",
        |hsm| {
            let credential = hsm.credential();
            let clinic = Clinic::with(&credential);
            // SAFETY: this process has no thread that holds a lock, because the module's thread is idle.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                let context = SlotContext::new([7; 16], 5, 1, CipherSuite::default());
                let used = credential.secret(&[1; 61], &context);
                let opened = hsm.options().pin(PIN).unwrap().open();
                let failure = Error::Credential(CredentialFailure::Unreachable);
                let is_unreachable =
                    used.err() == Some(failure.clone()) && opened.err() == Some(failure);
                // SAFETY: `_exit` ends the child without running the test harness's exit handlers.
                unsafe { libc::_exit(i32::from(!is_unreachable)) };
            }
            let mut status = 0;
            // SAFETY: `child` is a child of this process, and `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
            clinic.open(&credential).unwrap();
        },
    );
}
