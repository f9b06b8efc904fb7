//! Messages of the PostgreSQL client in the app's log.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chartlock::Vault;
use chartlock::storage::{PostgresStorage, Storage};
use log::{LevelFilter, Log, Metadata, Record};

use crate::common::objects::all_objects;
use crate::common::{Fixed, postgres_server, record, session, subject};

static LOG: CapturingLog = CapturingLog(Mutex::new(Vec::new()));

/// Logger that keeps all messages.
struct CapturingLog(Mutex<Vec<String>>);

impl Log for CapturingLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Returns the texts by which a log would show the first bytes of the stored keys and values.
fn logged_forms(storage: &dyn Storage) -> Vec<String> {
    let mut forms = Vec::new();
    for (key, value) in all_objects(storage) {
        // The header's key has one byte, which other texts contain too.
        for first in [key.get(..16), value.get(..16)].into_iter().flatten() {
            let as_slice = format!("{first:?}");
            forms.push(as_slice.trim_matches(['[', ']']).to_owned());
            let as_bytes = format!("{:?}", Bytes::copy_from_slice(first));
            forms.push(as_bytes.trim_matches(['b', '"']).to_owned());
        }
    }
    forms
}

/// Puts records, reads them, and erases the patient. Returns the logged forms of everything that was stored.
fn put_and_erase(storage: PostgresStorage) -> Vec<String> {
    let storage = Arc::new(storage);
    let vault = Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let session = session(&vault);
    for (name, length) in [("Observation/1", 100), ("ImagingStudy/ct/1", 200_000)] {
        let id = record("MRN-1", name);
        session.put(&id, &vec![7; length]).unwrap();
        assert_eq!(session.get(&id).unwrap().unwrap().len(), length);
    }
    let mut forms = logged_forms(&*storage);
    session
        .erase_subject(&subject("MRN-1"), "asked for")
        .unwrap();
    forms.extend(logged_forms(&*storage));
    forms
}

#[test]
fn debug_log_of_the_client_contains_no_stored_byte() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    log::set_logger(&LOG).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let forms = put_and_erase(server.storage());
    log::set_max_level(LevelFilter::Off);
    let messages = LOG.0.lock().unwrap();
    let statements = messages
        .iter()
        .filter(|text| text.contains("with parameters"));
    assert!(statements.count() > 10, "the client logs its statements");
    assert!(forms.len() > 20);
    for form in forms {
        let shown = messages.iter().any(|text| text.contains(&form));
        assert!(!shown, "a message contains {form}");
    }
}
