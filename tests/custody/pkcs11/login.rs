//! The one login of a process, and the attempts that a token counts.

use chartlock::Error;
use chartlock::keys::{CredentialFailure, Pkcs11, Pkcs11Options};
use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use super::{Clinic, assert_failure};
use crate::common::softhsm::{KEY, LABEL, PIN, SoftHsm, credential, key, scenario};

/// Return codes of PKCS#11 functions.
const CKR_SESSION_HANDLE_INVALID: u32 = 0xb3;
const CKR_FUNCTION_FAILED: u32 = 0x6;
const CKR_PIN_INCORRECT: u32 = 0xa0;
const CKR_PIN_EXPIRED: u32 = 0xa3;
const CKR_PIN_LOCKED: u32 = 0xa4;
const CKR_VENDOR_DEFINED: u32 = 0x8000_0000;
/// Flags of a token.
const CKF_USER_PIN_FINAL_TRY: u32 = 0x2_0000;
const CKF_USER_PIN_LOCKED: u32 = 0x4_0000;

fn wrong_pin(hsm: &SoftHsm) -> Pkcs11Options {
    hsm.options().pin("planted-wrong-pin").unwrap()
}

#[test]
fn wrong_pin_is_denied_and_the_right_pin_opens() {
    scenario(
        "pkcs11::login::wrong_pin_is_denied_and_the_right_pin_opens",
        |hsm| {
            assert_failure(wrong_pin(hsm).open(), CredentialFailure::Denied);
            assert_failure(hsm.options().open(), CredentialFailure::Denied);
            let clinic = Clinic::create(hsm);
            clinic.assert_other_slot_opens();
        },
    );
}

#[test]
fn wrong_pin_for_an_open_token_is_denied_without_a_login() {
    scenario(
        "pkcs11::login::wrong_pin_for_an_open_token_is_denied_without_a_login",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let token = options.clone().open().unwrap();
            let clinic = Clinic::with(&credential(&token));
            for _ in 0..5 {
                let wrong = options.clone().pin("planted-wrong-pin").unwrap();
                assert_failure(wrong.open(), CredentialFailure::Denied);
            }
            // The same PIN shares the login.
            let second = options.clone().open().unwrap();
            drop(token);
            clinic.open(&Pkcs11::new(&second, key())).unwrap();
            assert_eq!(hsm.logins(), 1);

            // The last user ends the login, so that the token checks the next PIN.
            drop(second);
            let wrong = options.clone().pin("planted-wrong-pin").unwrap();
            assert_failure(wrong.open(), CredentialFailure::Denied);
            assert_eq!(hsm.logins(), 2);
            let token = options.open().unwrap();
            clinic.open(&Pkcs11::new(&token, key())).unwrap();
            assert_eq!(hsm.logins(), 3);
        },
    );
}

#[test]
fn login_of_another_part_of_the_process_is_denied() {
    scenario(
        "pkcs11::login::login_of_another_part_of_the_process_is_denied",
        |hsm| {
            let module = cryptoki::context::Pkcs11::new(&hsm.module).unwrap();
            let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
            module.initialize(locking).unwrap();
            let slot = module.get_slots_with_initialized_token().unwrap()[0];
            let session = module.open_ro_session(slot).unwrap();
            let pin = AuthPin::new(PIN.into());
            session.login(UserType::User, Some(&pin)).unwrap();
            assert_failure(
                hsm.options().pin(PIN).unwrap().open(),
                CredentialFailure::Denied,
            );
            session.logout().unwrap();
            hsm.token();
        },
    );
}

#[test]
fn locked_or_expired_pin_returns_locked_and_other_slots_open() {
    scenario(
        "pkcs11::login::locked_or_expired_pin_returns_locked_and_other_slots_open",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            for code in [CKR_PIN_LOCKED, CKR_PIN_EXPIRED] {
                hsm.set_fault(&format!("Login {code}"));
                assert_failure(options.clone().open(), CredentialFailure::Locked);
                hsm.clear_fault();
            }
            Clinic::with(&credential(&options.open().unwrap())).assert_other_slot_opens();
        },
    );
}

#[test]
fn last_attempt_is_not_used_unless_allowed() {
    scenario(
        "pkcs11::login::last_attempt_is_not_used_unless_allowed",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            hsm.set_fault(&format!("GetTokenInfo {CKF_USER_PIN_LOCKED}"));
            assert_failure(options.clone().open(), CredentialFailure::Locked);
            hsm.set_fault(&format!("GetTokenInfo {CKF_USER_PIN_FINAL_TRY}"));
            assert_failure(options.clone().open(), CredentialFailure::Locked);
            assert_eq!(hsm.logins(), 0);
            options.allow_last_attempt().open().unwrap();
            assert_eq!(hsm.logins(), 1);
        },
    );
}

#[test]
fn lost_session_is_opened_again() {
    scenario("pkcs11::login::lost_session_is_opened_again", |hsm| {
        let Some(options) = hsm.faulty_options() else {
            return;
        };
        let credential = credential(&options.open().unwrap());
        let clinic = Clinic::with(&credential);
        for function in ["FindObjectsInit", "DecryptInit", "OpenSession"] {
            hsm.set_fault(&format!("{function} {CKR_SESSION_HANDLE_INVALID} once"));
            clinic.open(&credential).unwrap();
        }
        assert_eq!(hsm.logins(), 4);
    });
}

#[test]
fn pin_refused_after_a_lost_session_is_not_sent_again() {
    scenario(
        "pkcs11::login::pin_refused_after_a_lost_session_is_not_sent_again",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let credential = credential(&options.clone().open().unwrap());
            let clinic = Clinic::with(&credential);
            log_out(&hsm.faulty_module().unwrap());
            hsm.set_fault(&format!("Login {CKR_PIN_INCORRECT}"));
            for _ in 0..5 {
                clinic.assert_fails(&credential, CredentialFailure::Denied);
            }
            assert_eq!(hsm.logins(), 2);

            // Opening the token again is an attempt that the app decides to make.
            assert_failure(options.clone().open(), CredentialFailure::Denied);
            assert_eq!(hsm.logins(), 3);
            hsm.clear_fault();
            let again = options.open().unwrap();
            clinic.open(&credential).unwrap();
            drop(again);
            assert_eq!(hsm.logins(), 4);
        },
    );
}

#[test]
fn login_that_fails_for_an_unknown_reason_is_not_repeated() {
    scenario(
        "pkcs11::login::login_that_fails_for_an_unknown_reason_is_not_repeated",
        |hsm| {
            let Some(options) = hsm.faulty_options() else {
                return;
            };
            let credential = credential(&options.clone().open().unwrap());
            let clinic = Clinic::with(&credential);
            let module = hsm.faulty_module().unwrap();
            for code in [CKR_FUNCTION_FAILED, CKR_VENDOR_DEFINED] {
                log_out(&module);
                let before = hsm.logins();
                hsm.set_fault(&format!("Login {code}"));
                for _ in 0..5 {
                    clinic.assert_fails(&credential, CredentialFailure::Other);
                }
                assert_eq!(hsm.logins(), before + 1);
                hsm.clear_fault();
                drop(options.clone().open().unwrap());
                clinic.open(&credential).unwrap();
            }
        },
    );
}

/// Logs the process out, as a reset of the token does.
fn log_out(module: &std::path::Path) {
    let module = cryptoki::context::Pkcs11::new(module).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_ro_session(slot).unwrap().logout().unwrap();
}

#[test]
fn planted_pin_and_names_are_in_no_text() {
    scenario(
        "pkcs11::login::planted_pin_and_names_are_in_no_text",
        |hsm| {
            let module = hsm.module.display();
            let uri =
                format!("pkcs11:token={LABEL};object={KEY}?module-path={module}&pin-value={PIN}");
            let broken = format!("{uri}&pin-value={PIN}");
            let mut texts = vec![
                format!("{:?}", Pkcs11Options::from_uri(&uri).unwrap()),
                format!("{:?}", key()),
                format!("{:?}", hsm.token()),
                format!("{:?}", hsm.credential()),
            ];
            let gone =
                Pkcs11Options::from_uri("pkcs11:token=planted?module-path=/planted").unwrap();
            let errors: [Error; 5] = [
                Pkcs11Options::from_uri(&broken).err().unwrap(),
                wrong_pin(hsm).open().err().unwrap(),
                Pkcs11::create_key(&hsm.token(), &key()).err().unwrap(),
                gone.open().err().unwrap(),
                hsm.options().pin_file("/planted").err().unwrap(),
            ];
            texts.extend(errors.iter().map(|error| format!("{error:?} {error}")));
            for text in texts {
                assert!(!text.contains("planted"), "{text}");
            }
        },
    );
}
