//! What stands, compared with what should.

use std::io::Read;
use std::sync::Arc;

use chartlock::{Actor, Error, Purpose, RecordReader, Vault};

use super::{History, NAMES, State, World, id, subject};

impl World {
    /// A failed first put may have left an entry without records.
    pub(super) fn is_known(&self, who: usize) -> bool {
        let mut subjects = self.session().subjects().unwrap();
        self.states[who] != State::Unknown || subjects.any(|found| found.unwrap() == subject(who))
    }

    /// All versions of a record, as the vault gives them.
    pub(super) fn stored(&self, who: usize, what: usize) -> History {
        let id = id(who, what);
        let session = self.session();
        let history = session.history(&id).unwrap();
        // Of what was expunged, the version that stands for it is left.
        let gone = history.first().map_or(0, |first| first.version() - 1);
        assert!(gone == 0 || history.first().unwrap().is_expunged());
        for version in 1..=gone {
            assert!(session.get_version(&id, version).unwrap().is_none());
        }
        let gone = (0..gone).map(|_| None);
        let told = history.iter().map(|info| {
            let record = session.get_version(&id, info.version()).unwrap();
            assert_eq!(record.is_none(), info.is_retraction());
            record.map(|record| {
                assert_eq!(info.length(), Some(record.len() as u64));
                record.to_vec()
            })
        });
        gone.chain(told).collect()
    }

    pub(super) fn compare(&self, who: usize) {
        self.compare_kept(who);
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

    /// Somebody else, whom no fault strikes.
    pub(super) fn witness(&self) -> Vault {
        let last = self.credentials.last().unwrap();
        self.options().open(Arc::clone(&self.disk), last).unwrap()
    }

    /// Readers of what stands of a subject, and what they should read.
    pub(super) fn readers(&self, witness: &Vault, who: usize) -> Vec<(RecordReader, Vec<u8>)> {
        let session = witness.session(Actor::new("witness").unwrap(), Purpose::Treatment);
        let reader = |what| {
            let content = self.versions(who, what).pop()??;
            let reader = session.reader(&id(who, what)).unwrap().unwrap();
            Some((reader, content))
        };
        (0..NAMES.len()).filter_map(reader).collect()
    }
}

/// Whatever happened since: what stood when the reader was opened, or why not.
pub(super) fn read_on((reader, expected): (RecordReader, Vec<u8>)) {
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
