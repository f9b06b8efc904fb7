//! The limit of records that are read whole: it counts the bytes of the content, however they were written.

use std::io::Write;

use chartlock::keys::Passphrase;
use chartlock::{Actor, Document, Error, MemoryStorage, Purpose, RecordId, Session, VaultOptions};

/// Writes content in each way that a session has. Returns the ids of the records.
fn put_each_way(session: &Session, content: &[u8]) -> [RecordId; 5] {
    let ids = ["put", "many", "reader", "writer", "parts"];
    let ids = ids.map(|name| RecordId::patient("MRN-1042", name).unwrap());
    session.put(&ids[0], content).unwrap();
    let many = session.put_many([(&ids[1], Document::new(content))]);
    many.unwrap().remove(0).unwrap();
    session.put_reader(&ids[2], content).unwrap();
    let mut writer = session.writer(&ids[3]);
    writer.write_all(content).unwrap();
    writer.finish().unwrap();
    let mut writer = session.writer(&ids[4]);
    for part in content.chunks(777) {
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap();
    ids
}

#[test]
fn record_limit_is_exact_for_each_way_to_write() {
    // Content up to 65,536 bytes is stored inline, larger content in segments. Padded lengths differ from the exact
    // ones at all of these limits.
    for limit in [0, 1, 1_000, 65_535, 65_536, 65_537, 100_000, 1_100_000] {
        let options = VaultOptions::new().whole_record_limit(limit);
        let passphrase = Passphrase::new("correct horse battery staple");
        let vault = options.create(MemoryStorage::new(), &passphrase).unwrap();
        let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
        for length in [limit.saturating_sub(1), limit, limit + 1] {
            let content = vec![b'7'; usize::try_from(length).unwrap()];
            for id in put_each_way(&session, &content) {
                let version = session.history(&id).unwrap().last().unwrap().version();
                let found = session.get(&id).map(|record| record.unwrap().len() as u64);
                let expected = match length <= limit {
                    true => Ok(length),
                    false => Err(Error::BeyondLimit),
                };
                assert_eq!(found, expected, "{length} bytes by {}", id.name());
                let found = session.get_version(&id, version);
                let found = found.map(|record| record.unwrap().len() as u64);
                assert_eq!(found, expected, "{length} bytes by {}", id.name());
                let reader = session.reader(&id).unwrap().unwrap();
                assert_eq!(reader.len(), length);
            }
            let all = session.get_all(id_subject().subject()).unwrap();
            let refused = all.filter(Result::is_err).count();
            assert_eq!(refused, if length > limit { 5 } else { 0 });
        }
    }
}

fn id_subject() -> RecordId {
    RecordId::patient("MRN-1042", "put").unwrap()
}
