//! SHA-256 vectors from the validation files that NIST published for FIPS 180-4.

use chartlock::internals::crypto::{Sha256Stream, sha256};

use crate::records::{file, from_lines, hex};

fn messages(path: &str) -> usize {
    let records = from_lines(&file(path), "Len");
    for record in &records {
        // The file represents the empty message by one byte.
        let message = &record.bytes("Msg")[..record.number("Len") / 8];
        let expected: [u8; 32] = record.array("MD");
        assert_eq!(sha256(&[message]), expected);
        let (first, second) = message.split_at(message.len() / 3);
        assert_eq!(sha256(&[first, second]), expected);
        let mut stream = Sha256Stream::default();
        for byte in message.chunks(7) {
            stream.update(byte);
        }
        assert_eq!(stream.finish(), expected);
    }
    records.len()
}

#[test]
fn sha256_passes_nist_short_message_vectors() {
    assert_eq!(messages("nist/SHA256ShortMsg.rsp"), 65);
}

#[test]
fn sha256_passes_nist_long_message_vectors() {
    assert_eq!(messages("nist/SHA256LongMsg.rsp"), 12);
}

#[test]
fn sha256_passes_nist_monte_carlo_vectors() {
    let text = file("nist/SHA256Monte.rsp");
    let seed = text.lines().find_map(|line| line.strip_prefix("Seed = "));
    let mut seed: [u8; 32] = hex(seed.unwrap()).try_into().unwrap();
    let records = from_lines(&text, "COUNT");
    assert_eq!(records.len(), 100);
    for record in records {
        let mut last = [seed; 3];
        for _ in 0..1000 {
            last = [last[1], last[2], sha256(&[last.as_flattened()])];
        }
        seed = last[2];
        assert_eq!(seed, record.array("MD"));
    }
}
