//! Envelope of chartlock: the cryptographic work of `put` and `get`.

use std::io::Read;

use anyhow::{Result, bail};
use chartlock::CipherSuite;
use chartlock::internals::crypto::{ChartId, DataKey, PatientKey, Place, StreamId, StreamKey};
use chartlock::internals::envelope::{
    Address, Body, Content, Head, INLINE_MAX, Meta, SEGMENT, Segment, StreamOpener, StreamSealer,
    open, seal,
};
use chartlock::internals::keys::{unwrap, wrap};

use super::{Envelope, Sealed};

const CHART: ChartId = [1; 16];
const STREAM: StreamId = [3; 16];
const ADDRESS: Address = Address {
    chart: CHART,
    record: [2; 16],
};
/// The number of the patient key. The number does not affect the time.
const NUMBER: u32 = 9;
const NAME: &str = "Observation/bp-2026-11-21";

pub(crate) struct Ours {
    patient: PatientKey,
    meta: Meta,
}

impl Ours {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            patient: PatientKey::random()?,
            meta: Meta {
                written_at: 1_763_700_000_000,
                content_type: "application/fhir+json".into(),
                name: NAME.into(),
                ..Meta::default()
            },
        })
    }

    fn seal_record(&self, body: Body<'_>) -> Result<Vec<u8>> {
        let suite = CipherSuite::default();
        let key = DataKey::random()?;
        let value = seal(
            suite,
            &ADDRESS,
            1,
            &self.meta,
            body,
            key,
            |commitment, key| {
                let place = Place::Current;
                let wrapped = wrap(suite, &self.patient, place, NUMBER, commitment, key)?;
                Ok((NUMBER, wrapped))
            },
        )?;
        Ok(value)
    }
}

impl Envelope for Ours {
    fn name(&self) -> String {
        "chartlock".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        if content.len() <= INLINE_MAX {
            return Ok(Sealed::Whole(self.seal_record(Body::Inline(content))?));
        }
        let key = StreamKey::random()?;
        let segments = seal_stream(&key, content)?;
        let record = self.seal_record(Body::Segmented {
            stream: STREAM,
            key: &key,
            length: content.len() as u64,
        })?;
        Ok(Sealed::Parts { record, segments })
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (record, segments) = match sealed {
            Sealed::Whole(record) => (record, Vec::new()),
            Sealed::Parts { record, segments } => (record, segments),
        };
        let head = Head::parse(&record)?;
        let key = unwrap(
            head.suite,
            &self.patient,
            Place::Current,
            head.key_number,
            &head.commitment,
            &head.wrapped,
        )?;
        match open(record, &head, &ADDRESS, Some(NAME), &key)?.content {
            Content::Inline(buffer, content) => then(buffer.get(content).unwrap_or_default()),
            Content::Segmented {
                stream,
                key,
                length,
            } => {
                let opener = StreamOpener::new(head.suite, &key, &CHART, &stream, length)?;
                then(&open_stream(&opener, segments)?);
            }
            Content::Retraction => bail!("a retraction was opened instead of a record"),
        }
        Ok(())
    }
}

/// Seals a stream on one thread. Every segment is a separate allocation, as storages require.
fn seal_stream(key: &StreamKey, mut content: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut sealer = StreamSealer::new(CipherSuite::default(), key, &CHART, &STREAM)?;
    let mut segments = Vec::with_capacity(content.len() / SEGMENT + 2);
    let mut segment = Segment::new(None);
    while !content.is_empty() {
        if segment.is_full() {
            let full = std::mem::replace(&mut segment, Segment::new(None));
            segments.push(sealer.next(full)?.seal()?);
        }
        let bytes = content.read(segment.free())?;
        segment.advance(bytes);
    }
    sealer.end(&segment)?;
    while let Some(unsealed) = sealer.pad(segment)? {
        segments.push(unsealed.seal()?);
        segment = Segment::new(None);
    }
    Ok(segments)
}

fn open_stream(opener: &StreamOpener, segments: Vec<Vec<u8>>) -> Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(opener.length())?];
    let mut free = &mut content[..];
    for (value, index) in segments.into_iter().zip(0..) {
        let mut segment = opener.segment(index, value)?;
        let bytes = segment.copy(opener, 0, free)?;
        free = free.split_at_mut(bytes).1;
        segment.open_padding(opener)?;
    }
    Ok(content)
}
