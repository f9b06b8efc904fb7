//! Wrapped data keys, each bound to the version and the key under which it was wrapped.

use chartlock::Error;
use chartlock::internals::crypto::{DataKey, PatientKey, Place};
use chartlock::internals::keys::{unwrap, wrap};

use crate::fixtures::*;

const COMMITMENT: [u8; 32] = [3; 32];

#[test]
fn wrapped_data_key_opens_only_for_its_own_version() {
    for (suite, other_suite) in [(SUITES[0], SUITES[1]), (SUITES[1], SUITES[0])] {
        let key = PatientKey::from_bytes(&[1; 32]);
        let data_key = DataKey::from_bytes(&[2; 32]);
        let place = Place::Current;
        let wrapped = wrap(suite, &key, place, 7, &COMMITMENT, &data_key).unwrap();
        let opened = unwrap(suite, &key, place, 7, &COMMITMENT, &wrapped).unwrap();
        assert_eq!(opened.expose(), &[2; 32]);

        let stranger = PatientKey::from_bytes(&[9; 32]);
        let other = [4; 32];
        let swapped = [
            unwrap(other_suite, &key, place, 7, &COMMITMENT, &wrapped),
            unwrap(suite, &stranger, place, 7, &COMMITMENT, &wrapped),
            unwrap(suite, &key, Place::Earlier, 7, &COMMITMENT, &wrapped),
            unwrap(suite, &key, place, 8, &COMMITMENT, &wrapped),
            unwrap(suite, &key, place, 7, &other, &wrapped),
        ];
        for opened in swapped {
            assert_eq!(opened.unwrap_err(), Error::NotAuthentic);
        }
    }
}

#[test]
fn every_flipped_bit_of_wrapped_key_is_refused() {
    for suite in SUITES {
        let key = PatientKey::random().unwrap();
        let data_key = DataKey::random().unwrap();
        let wrapped = wrap(suite, &key, Place::Earlier, 1, &COMMITMENT, &data_key).unwrap();
        for (offset, flipped) in flips(&wrapped) {
            let flipped = flipped.as_slice().try_into().unwrap();
            let opened = unwrap(suite, &key, Place::Earlier, 1, &COMMITMENT, flipped);
            assert_eq!(opened.unwrap_err(), Error::NotAuthentic, "byte {offset}");
        }
    }
}

#[test]
fn repeated_wraps_of_data_key_are_identical() {
    let key = PatientKey::random().unwrap();
    let data_key = DataKey::random().unwrap();
    let [once, twice] =
        [(); 2].map(|()| wrap(SUITES[0], &key, Place::Current, 1, &COMMITMENT, &data_key).unwrap());
    assert_eq!(once, twice);
}
