//! Segmented records of any length. Writers store short content inline, but readers accept both
//! forms.

use chartlock::RecordId;
use chartlock::internals::crypto::{DataKey, Place, StreamKey, fresh, record_tag};
use chartlock::internals::envelope::{Address, Body, Meta, Segment, StreamSealer, seal};
use chartlock::internals::keys::{PatientEntry, wrap};

use crate::raw;
use crate::stage::Stage;

/// A content stream in the storage.
pub(super) struct Stream {
    /// Storage key of the version that references the stream.
    pub(super) named_at: Vec<u8>,
    /// Common prefix of the segment keys: the class byte `s`, then the chart id and the stream id,
    /// each of 16 bytes.
    pub(super) prefix: Vec<u8>,
    pub(super) segments: Vec<Vec<u8>>,
}

/// Replaces a stored version with one that has this content in segments, and returns the new
/// stream. Version 1 is stored as an earlier version, and any other version as the current one.
pub(super) fn put_segmented(stage: &Stage, id: &RecordId, version: u64, content: &[u8]) -> Stream {
    let entry = entry(stage, id);
    let chart = entry.chart().unwrap();
    let address = Address {
        chart: *chart.id(),
        record: record_tag(chart.name_key(), id.name()).unwrap(),
    };
    let (stream, key) = (fresh().unwrap(), StreamKey::random().unwrap());
    let sealer = StreamSealer::new(stage.suite, &key, chart.id(), &stream).unwrap();
    let segments = sealed(sealer, content);
    let body = Body::Segmented {
        stream,
        key: &key,
        length: content.len() as u64,
    };
    let meta = Meta {
        name: id.name().into(),
        ..Meta::default()
    };
    let (place, at) = match version {
        1 => (
            Place::Earlier,
            [
                b"h",
                &address.chart[..],
                &address.record,
                &1_u64.to_be_bytes(),
            ]
            .concat(),
        ),
        _ => (
            Place::Current,
            [b"r", &address.chart[..], &address.record].concat(),
        ),
    };
    let data_key = DataKey::random().unwrap();
    let value = seal(
        stage.suite,
        &address,
        version,
        &meta,
        body,
        data_key,
        |commitment, key| {
            let patient = chart.active_key();
            let number = patient.number;
            let wrapped = wrap(stage.suite, &patient.key, place, number, commitment, key)?;
            Ok((number, wrapped))
        },
    );
    raw::put(&stage.storage, &at, &value.unwrap());
    let prefix = [b"s", &address.chart[..], &stream].concat();
    let stream = Stream {
        named_at: at,
        prefix,
        segments,
    };
    for (index, segment) in (0..).zip(&stream.segments) {
        raw::put(&stage.storage, &stream.key(index), segment);
    }
    stream
}

impl Stream {
    pub(super) fn key(&self, index: u32) -> Vec<u8> {
        [&self.prefix[..], &index.to_be_bytes()].concat()
    }
}

fn entry(stage: &Stage, id: &RecordId) -> PatientEntry {
    let header = raw::header_value(&stage.storage);
    let entries = raw::entries(&stage.storage, &header).into_iter();
    let mut entries = entries.map(|(_, entry)| entry.unwrap());
    entries
        .find(|entry| entry.subject() == id.subject())
        .unwrap()
}

fn sealed(mut sealer: StreamSealer, mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut sealed = Vec::new();
    let mut segment = Segment::new(None);
    while !content.is_empty() {
        if segment.is_full() {
            sealed.push(sealer.next(segment).unwrap().seal().unwrap());
            segment = Segment::new(None);
        }
        let free = segment.free();
        let (now, later) = content.split_at(content.len().min(free.len()));
        free[..now.len()].copy_from_slice(now);
        segment.advance(now.len());
        content = later;
    }
    sealer.end(&segment).unwrap();
    while let Some(unsealed) = sealer.pad(segment).unwrap() {
        sealed.push(unsealed.seal().unwrap());
        segment = Segment::new(None);
    }
    sealed
}
