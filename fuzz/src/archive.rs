//! Fuzz target for archives. The input is raw bytes, or bytes between a valid magic and a valid
//! digest. Writing a restored archive again must give the same bytes.

use std::io::Cursor;

use chartlock::internals::crypto::sha256;
use chartlock::storage::{MemoryStorage, Projection, Scan, Storage, archive};

use super::fixed::choice;

const MAGIC: &[u8] = b"\x89CLA\r\n\x1a\n";

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    if what & 1 == 0 {
        read(data);
    } else {
        let digest = sha256(&[MAGIC, data]);
        read(&[MAGIC, data, &digest].concat());
    }
}

fn read(bytes: &[u8]) {
    let storage = MemoryStorage::new();
    let verified = archive::verify(bytes);
    let report = match archive::read(Cursor::new(bytes), &storage) {
        Ok(report) => report,
        Err(error) => {
            assert_eq!(verified, Err(error));
            let all = Scan {
                prefix: b"",
                after: None,
                limit: 1,
                projection: Projection::Keys,
            };
            assert!(storage.scan(all).unwrap().items.is_empty());
            return;
        }
    };
    assert_eq!(verified, Ok(report));
    let mut again = Vec::new();
    assert_eq!(archive::write(&storage, &mut again), Ok(report));
    assert_eq!(again, bytes, "the archive was written differently");
}
