//! Constructors that normalize to NFC.

use chartlock::{Error, RecordId, Subject};

const COMPOSED: &str = "M\u{fc}ller-\u{c5}";
const DECOMPOSED: &str = "Mu\u{308}ller-A\u{30a}";
/// The angstrom sign, which NFC replaces by a letter.
const SINGLETON: &str = "M\u{fc}ller-\u{212b}";

#[test]
fn nfc_constructors_map_equal_texts_to_one_id() {
    for text in [COMPOSED, DECOMPOSED, SINGLETON] {
        let patient = Subject::patient_nfc(text).unwrap();
        assert_eq!(patient.identifier(), COMPOSED);
        assert_eq!(patient, Subject::patient(COMPOSED).unwrap());
        let organization = Subject::organization_nfc(text).unwrap();
        assert_eq!(organization, Subject::organization(COMPOSED).unwrap());
        let id = RecordId::new_nfc(patient, text).unwrap();
        assert_eq!(id, RecordId::patient(COMPOSED, COMPOSED).unwrap());
        assert_eq!(RecordId::patient_nfc(text, text), Ok(id));
        let id = RecordId::organization_nfc(text, text);
        assert_eq!(id, RecordId::organization(COMPOSED, COMPOSED));
    }
}

#[test]
fn other_constructors_do_not_normalize() {
    let ids = [COMPOSED, DECOMPOSED, SINGLETON].map(|text| Subject::patient(text).unwrap());
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    assert_eq!(ids[1].identifier(), DECOMPOSED);
    let texts = ids.map(|id| id.to_string());
    assert!(texts.iter().all(|text| text.parse::<Subject>().is_ok()));
}

#[test]
fn limits_apply_to_the_normalized_text() {
    // 381 bytes become 254.
    assert!(Subject::patient_nfc(&"e\u{301}".repeat(127)).is_ok());
    // Two bytes become four.
    let growing = "\u{344}".repeat(64);
    assert_eq!(growing.len(), 128);
    assert!(matches!(
        Subject::patient_nfc(&growing),
        Err(Error::InvalidId(_))
    ));
    assert!(Subject::patient_nfc("\n").is_err() && Subject::patient_nfc(" ").is_err());
}
