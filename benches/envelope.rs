//! Benchmark of sealing and opening a record, compared with the bare cipher under a fresh key, by
//! record size and cipher suite.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/ratio.rs"]
mod ratio;
#[path = "common/timed.rs"]
mod timed;

use std::hint::black_box;

use aes_gcm::aead::{AeadInOut, KeyInit};
use chartlock::CipherSuite;
use chartlock::internals::crypto::{DataKey, PatientKey, Place, fill};
use chartlock::internals::envelope::{Address, Body, Head, Meta, open, seal};
use chartlock::internals::keys::{unwrap, wrap};
use criterion::{BenchmarkId, Criterion, Throughput};
use ratio::ratio;
use timed::timed;

const SIZES: [usize; 5] = [64, 1024, 4096, 16 * 1024, 64 * 1024];
const SUITES: [(CipherSuite, &str); 2] = [
    (CipherSuite::Aes256Gcm, "aes256gcm"),
    (CipherSuite::ChaCha20Poly1305, "chacha20poly1305"),
];
const ADDRESS: Address = Address {
    chart: [1; 16],
    record: [2; 16],
};

fn meta() -> Meta {
    Meta {
        written_at: 1_763_700_000_000,
        content_type: "application/fhir+json".into(),
        name: "Observation/bp-2026-11-21".into(),
        ..Meta::default()
    }
}

fn ours_seal(suite: CipherSuite, patient: &PatientKey, meta: &Meta, content: &[u8]) -> Vec<u8> {
    let key = DataKey::random().unwrap();
    let body = Body::Inline(content);
    seal(suite, &ADDRESS, 1, meta, body, key, |commitment, key| {
        let wrapped = wrap(suite, patient, Place::Current, 9, commitment, key)?;
        Ok((9, wrapped))
    })
    .unwrap()
}

fn ours_open(patient: &PatientKey, value: Vec<u8>) -> usize {
    let head = Head::parse(&value).unwrap();
    let (number, commitment) = (head.key_number, &head.commitment);
    let place = Place::Current;
    let key = unwrap(
        head.suite,
        patient,
        place,
        number,
        commitment,
        &head.wrapped,
    )
    .unwrap();
    let name = Some("Observation/bp-2026-11-21");
    let opened = open(value, &head, &ADDRESS, name, &key).unwrap();
    opened.meta.name.len()
}

fn bare<C: AeadInOut + KeyInit>(content: &[u8]) -> Vec<u8> {
    let mut key = aes_gcm::aead::Key::<C>::default();
    fill(&mut key).unwrap();
    let nonce = Default::default();
    let mut buffer = Vec::with_capacity(content.len() + 16);
    buffer.extend_from_slice(content);
    let tag = C::new(&key).encrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into());
    let tag = tag.unwrap();
    buffer.extend_from_slice(&tag);
    let (body, _) = buffer.split_at_mut(content.len());
    C::new(&key)
        .decrypt_inout_detached(&nonce, b"", body.into(), &tag)
        .unwrap();
    buffer
}

fn bare_of(suite: CipherSuite, content: &[u8]) -> Vec<u8> {
    match suite {
        CipherSuite::Aes256Gcm => bare::<aes_gcm::Aes256Gcm>(content),
        _ => bare::<chacha20poly1305::ChaCha20Poly1305>(content),
    }
}

fn by_size(criterion: &mut Criterion) {
    let patient = PatientKey::random().unwrap();
    let meta = meta();
    for (suite, name) in SUITES {
        let mut group = criterion.benchmark_group(format!("envelope/{name}"));
        for size in SIZES {
            let content = vec![7; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_with_input(
                BenchmarkId::new("seal", size),
                &content,
                |bench, content| {
                    bench.iter(|| ours_seal(suite, &patient, &meta, black_box(content)));
                },
            );
            let value = ours_seal(suite, &patient, &meta, &content);
            group.bench_with_input(BenchmarkId::new("open", size), &value, |bench, value| {
                bench.iter(|| ours_open(&patient, black_box(value.clone())));
            });
            group.bench_with_input(
                BenchmarkId::new("bare", size),
                &content,
                |bench, content| {
                    bench.iter(|| bare_of(suite, black_box(content)));
                },
            );
        }
        group.finish();
    }
}

fn ratios() {
    let patient = PatientKey::random().unwrap();
    let meta = meta();
    println!("\nseal and open of one record, against the bare cipher with a fresh key");
    for (suite, name) in SUITES {
        for size in SIZES {
            let content = vec![7; size];
            let calls = 20_000_000 / (size + 4000);
            let ours = || {
                timed(calls, || {
                    let value = ours_seal(suite, &patient, &meta, black_box(&content));
                    black_box(ours_open(&patient, value));
                })
            };
            let bare = || {
                timed(calls, || {
                    drop(black_box(bare_of(suite, black_box(&content))))
                })
            };
            let per_call = |time: std::time::Duration| time / calls as u32;
            ratio(
                &format!("{name} {size} bytes"),
                15,
                || per_call(ours()),
                || per_call(bare()),
            );
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    by_size(&mut criterion);
    criterion.final_summary();
    ratios();
}
