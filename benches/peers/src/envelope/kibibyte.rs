//! Measurement of one record of 1 KiB, which shows the fixed cost of each record.

use anyhow::Result;

use super::{CRATES, compare, rivals};
use crate::Run;
use crate::measure::Table;
use crate::second::Work;

const ROUNDS: usize = 45;
const SIZE: usize = 1024;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let says = "seal + open 1 KiB";
    Ok(vec![Table {
        name: "envelope".to_owned(),
        title: "The envelope: one record of 1 KiB".to_owned(),
        intro: INTRO.to_owned(),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows: compare(run, says, &Work::Bytes(SIZE), &rivals()?, ROUNDS, target)?,
    }])
}

fn target(ours: &str, rival: &str) -> Option<f64> {
    match (ours, rival) {
        ("chartlock", "tink envelope") => Some(0.85),
        ("chartlock, aws-lc-rs", "tink envelope") => Some(1.1),
        ("chartlock", "aws-esdk, no signing") => Some(60.0),
        ("chartlock", "age") => Some(32.0),
        _ => None,
    }
}

const INTRO: &str = "\
Sealed, then opened, in memory, on one thread. Every side draws a fresh key for each message, and the program checks that it \
opens what it sealed. The sides do different amounts of work:

- **chartlock**: wraps the data key under a patient key and binds the wrap to its place and version. Stores a commitment to key \
and context, and compares it before it opens anything. Binds chart, record, version and time to the padded content, seals names \
and types with it, and wipes what it opened. The rest of `put` and `get` (chart lookup, storage, journal entry) is not measured \
here. **chartlock, aws-lc-rs** is the same with the second provider, in a \
process of its own.
- **tink envelope**: `KmsEnvelopeAead`, AES-256-GCM under AES-256-GCM, with a key of this process in place of the key service. \
No commitment; the wrapped key is bound to nothing, the content to the context that the caller gives.
- **aws-esdk**: raw AES keyring, so nothing leaves the process; a suite that commits to its key; the context is bound and \
checked. With signing, which is its default, every message is signed with an ECDSA key of its own as well.
- **age**: for one X25519 key, so each message costs an elliptic-curve agreement, which a symmetric envelope does not need. \
No context.
- **orion**: has no envelope; this is one of two calls of its AEAD, XChaCha20-Poly1305: content under a fresh key, that key \
under another. No commitment, no context.
- **bare aes-gcm**, **bare aws-lc-rs**: the cipher alone, under a fresh key that nothing wraps; no context, no commitment. The \
floor, no rival.";
