//! Comparison of the vault with the model.

use std::io::Read;
use std::sync::Arc;

use chartlock::{Actor, Error, Purpose, RecordReader, Vault};

use super::{History, NAMES, State, World, id, subject};

impl World {
    /// Returns `true` if the vault lists the subject. A failed first put may leave a patient entry
    /// without records.
    pub(super) fn is_known(&self, who: usize) -> bool {
        let mut subjects = self.session().subjects().unwrap();
        self.states[who] != State::Unknown || subjects.any(|found| found.unwrap() == subject(who))
    }

    /// Returns all versions of a record from the vault.
    pub(super) fn stored(&self, who: usize, what: usize) -> History {
        let id = id(who, what);
        let session = self.session();
        let history = session.history(&id).unwrap();
        // An expunged record keeps only its marker, so earlier versions are missing from the
        // history.
        let expunged = history.first().map_or(0, |first| first.version() - 1);
        assert!(expunged == 0 || history.first().unwrap().is_expunged());
        for version in 1..=expunged {
            assert!(session.get_version(&id, version).unwrap().is_none());
        }
        let expunged = (0..expunged).map(|_| None);
        let present = history.iter().map(|info| {
            let record = session.get_version(&id, info.version()).unwrap();
            assert_eq!(record.is_none(), info.is_retraction());
            record.map(|record| {
                assert_eq!(info.length(), Some(record.len() as u64));
                record.to_vec()
            })
        });
        expunged.chain(present).collect()
    }

    pub(super) fn compare(&self, who: usize) {
        self.compare_protection(who);
        for what in 0..NAMES.len() {
            let id = id(who, what);
            if self.states[who] == State::Erased {
                assert_eq!(self.session().get(&id).err(), Some(Error::Erased));
                assert_eq!(self.session().history(&id).err(), Some(Error::Erased));
                continue;
            }
            let expected = self.versions(who, what);
            assert_eq!(self.stored(who, what), expected);
            let current = self.session().get(&id).unwrap();
            let current = current.map(|record| record.to_vec());
            assert_eq!(current, expected.last().cloned().flatten());
            let reader = self.session().reader(&id).unwrap();
            assert_eq!(reader.map(|reader| whole(reader).unwrap()), current);
        }
    }

    pub(super) fn compare_all(&self) {
        for (who, state) in self.states.iter().enumerate() {
            self.compare(who);
            if let State::Live(records) = state {
                let expected = records.values().filter(|history| {
                    let last = history.last();
                    last.is_some_and(Option::is_some)
                });
                let listed = self.session().list(&subject(who)).unwrap();
                let listed = listed.map(Result::unwrap).count();
                assert_eq!(listed, expected.count());
            }
        }
        self.vault().key_usage().unwrap();
    }

    /// Opens the vault without faults, as another process would.
    pub(super) fn observer(&self) -> Vault {
        let last = self.credentials.last().unwrap();
        self.options().open(Arc::clone(&self.disk), last).unwrap()
    }

    /// Returns a reader on each record of a subject, with the expected content.
    pub(super) fn readers(&self, observer: &Vault, who: usize) -> Vec<(RecordReader, Vec<u8>)> {
        let session = observer.session(Actor::new("observer").unwrap(), Purpose::Treatment);
        let reader = |what| {
            let content = self.versions(who, what).pop()??;
            let reader = session.reader(&id(who, what)).unwrap().unwrap();
            Some((reader, content))
        };
        (0..NAMES.len()).filter_map(reader).collect()
    }
}

/// Reads to the end. Later operations may make the reader fail, but must never change the content
/// that it returns.
pub(super) fn check_reader((reader, expected): (RecordReader, Vec<u8>)) {
    match whole(reader) {
        Ok(content) => assert_eq!(content, expected),
        Err(error) => {
            let named = [Error::Erased, Error::Conflict, Error::RootKeyChanged];
            assert!(named.contains(&error), "{error:?}");
        }
    }
}

fn whole(mut reader: RecordReader) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let read = reader.read_to_end(&mut content);
    read.map_err(|error| error.downcast::<Error>().unwrap())?;
    Ok(content)
}
