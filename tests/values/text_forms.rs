//! Text forms: each value has one, and it parses back to the same value.

use std::time::{Duration, UNIX_EPOCH};

use chartlock::input::{InputFault, InputField, InvalidInput};
use chartlock::keys::Passphrase;
use chartlock::{Actor, Document, Error, MemoryStorage, Purpose, RecordId, Subject, Vault};
use proptest::prelude::*;
use serde_json::json;

fn from_json<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_value(json!(text)).map_err(|error| error.to_string())
}

#[test]
fn text_forms_of_special_characters_are_stable() {
    let forms = [
        (
            "MRN-1042",
            "Observation/bp",
            "patient/MRN-1042/Observation/bp",
        ),
        ("urn:oid:1.2|7", "a", "patient/urn:oid:1.2|7/a"),
        ("a/b", "a/b/", "patient/a%2Fb/a/b/"),
        ("100%", "%2F", "patient/100%25/%252F"),
        (
            "Müller 山田",
            "blood pressure",
            "patient/Müller%20山田/blood%20pressure",
        ),
        ("1\u{202e}2", "/", "patient/1%E2%80%AE2//"),
        ("..", "../..", "patient/../../.."),
        ("e\u{301}", "é", "patient/e\u{301}/é"),
        (
            "\u{1f469}\u{200d}\u{2695}",
            "x",
            "patient/\u{1f469}%E2%80%8D\u{2695}/x",
        ),
    ];
    for (identifier, name, text) in forms {
        let id = RecordId::patient(identifier, name).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id.clone()));
        assert_eq!(serde_json::to_value(&id).unwrap(), json!(text));
        assert_eq!(from_json::<RecordId>(text), Ok(id));
    }
}

proptest! {
    #[test]
    fn any_id_parses_back_from_its_text(identifier in ".{1,60}", name in ".{1,250}", ward: bool) {
        let subject = match ward {
            true => Subject::organization(&identifier),
            false => Subject::patient(&identifier),
        };
        let Ok(subject) = subject else { return Ok(()) };
        let text = subject.to_string();
        prop_assert!(!text.contains(char::is_whitespace));
        prop_assert_eq!(text.parse::<Subject>(), Ok(subject.clone()));
        prop_assert_eq!(from_json::<Subject>(&text), Ok(subject.clone()));
        if let Ok(id) = RecordId::new(subject, &name) {
            let text = id.to_string();
            prop_assert!(!text.contains(char::is_whitespace));
            prop_assert_eq!(text.parse::<RecordId>(), Ok(id));
        }
    }

    #[test]
    fn any_text_that_parses_is_the_text_of_its_value(text in "(patient|organization)?/?.{0,20}(%[0-9A-Fa-f]{2})?/.{0,20}") {
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.to_string(), text.clone());
        }
        if let Ok(id) = text.parse::<RecordId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn texts_in_another_form_are_refused() {
    let not_parsed = |field| {
        Error::InvalidId(InvalidInput {
            field,
            fault: InputFault::NotParsed,
        })
    };
    let texts = [
        "",
        "patient",
        "Patient/1/a",
        "practitioner/1/a",
        "/1/a",
        "patient/1",
        "patient/%2f1/a",
        "patient/1/%",
        "patient/1/%2",
        "patient/1/%+1",
        "patient/1/%FF",
        "patient/1/%41",
        "patient/1 2/a",
        " patient/1/a",
        "patient/1/a ",
    ];
    for text in texts {
        let refused = text.parse::<RecordId>().unwrap_err();
        assert_eq!(refused, not_parsed(InputField::RecordId), "{text:?}");
        let error = from_json::<RecordId>(text).unwrap_err();
        assert_eq!(error, refused.to_string(), "{text:?}");
    }
    for text in ["", "patient", "patient/1/a", "patient/%2f", "clinic/1"] {
        let refused = text.parse::<Subject>();
        assert_eq!(refused, Err(not_parsed(InputField::Subject)), "{text:?}");
    }
}

#[test]
fn deserialization_runs_the_checks_of_the_constructors() {
    let long = "7".repeat(256);
    let texts = ["patient/", "patient/%20", &format!("patient/{long}")];
    for text in texts {
        let identifier = text.trim_start_matches("patient/").replace("%20", " ");
        let expected = Subject::patient(&identifier).unwrap_err();
        assert_eq!(text.parse::<Subject>(), Err(expected.clone()));
        assert_eq!(from_json::<Subject>(text), Err(expected.to_string()));
    }
    for text in [
        "patient/1/",
        "patient/1/%0A",
        "patient/1/%E2%80%8B",
        "patient//a",
    ] {
        assert!(text.parse::<RecordId>().is_err(), "{text}");
        assert!(from_json::<RecordId>(text).is_err(), "{text}");
    }
    for name in ["", " ", "a\nb", "dr.\u{202e}garcia", &long] {
        let expected = Actor::new(name).unwrap_err();
        assert_eq!(name.parse::<Actor>(), Err(expected.clone()));
        assert_eq!(from_json::<Actor>(name), Err(expected.to_string()));
    }
}

#[test]
fn actors_and_purposes_parse_back() {
    let actor = Actor::new("dr.garcia").unwrap();
    assert_eq!(actor.to_string(), "dr.garcia");
    assert_eq!(serde_json::to_value(&actor).unwrap(), json!("dr.garcia"));
    assert_eq!(from_json::<Actor>("dr.garcia"), Ok(actor));
    let codes = [
        "TREAT",
        "ETREAT",
        "BTG",
        "COC",
        "HPAYMT",
        "HOPERAT",
        "PATADMIN",
        "HQUALIMP",
        "HLEGAL",
        "HSYSADMIN",
        "PATRQT",
        "FAMRQT",
        "PUBHLTH",
        "HRESCH",
        "HMARKT",
    ];
    for code in codes {
        let purpose: Purpose = code.parse().unwrap();
        assert_eq!(purpose.to_string(), code);
        assert_eq!(serde_json::to_value(purpose).unwrap(), json!(code));
        assert_eq!(from_json::<Purpose>(code), Ok(purpose));
    }
    let (field, fault) = (InputField::Purpose, InputFault::NotParsed);
    for code in ["", "treat", "Treatment", "TREAT "] {
        let refused = Error::InvalidMetadata(InvalidInput { field, fault });
        assert_eq!(code.parse::<Purpose>(), Err(refused));
    }
}

#[test]
fn ids_serve_as_keys_of_json_maps() {
    let id = RecordId::patient("MRN-1042", "Observation/bp").unwrap();
    let map = std::collections::BTreeMap::from([(id, 7)]);
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(text, r#"{"patient/MRN-1042/Observation/bp":7}"#);
    assert_eq!(
        serde_json::from_str::<std::collections::BTreeMap<RecordId, i32>>(&text).unwrap(),
        map
    );
}

#[test]
fn record_info_serializes_every_field() {
    let passphrase = Passphrase::new("correct horse battery staple");
    let vault = Vault::create(MemoryStorage::new(), &passphrase).unwrap();
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    let id = RecordId::patient("MRN-1042", "Observation/bp").unwrap();
    let document = Document::new(b"{}")
        .content_type("application/json")
        .label("lab")
        .original_time(UNIX_EPOCH + Duration::from_millis(1_400_000_000_500))
        .original_author("dr.smith");
    session.put(&id, document).unwrap();
    session.retract(&id).unwrap();
    let history = session.history(&id).unwrap();
    for info in &history {
        let put = info.version() == 1;
        let written_at = chartlock::audit::Timestamp::from(info.written_at()).to_string();
        let expected = json!({
            "name": "Observation/bp",
            "version": info.version(),
            "length": put.then_some(2),
            "written_at": written_at,
            "content_type": put.then_some("application/json"),
            "labels": ["lab"],
            "original_time": put.then_some("2014-05-13T16:53:20.500Z"),
            "original_author": put.then_some("dr.smith"),
            "is_retraction": !put,
            "is_expunged": false,
        });
        assert_eq!(serde_json::to_value(info).unwrap(), expected);
    }
    assert_eq!(history.len(), 2);
    let plain = format!("{id:?} {:?} {history:?}", id.subject());
    assert!(!plain.contains("1042") && !plain.contains("bp"));
}
