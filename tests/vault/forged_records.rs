//! Records that a holder of a chart's keys seals, with numbers that no session writes.

use chartlock::internals::crypto::{DataKey, Place, StreamKey};
use chartlock::internals::envelope::{Address, Body, Meta, seal};
use chartlock::internals::keys::wrap;

use crate::raw;
use crate::stage::Stage;

/// Seals one version under the active key of the only chart, for the record of a storage key of
/// class `r`.
pub(crate) fn sealed(
    stage: &Stage,
    key: &[u8],
    (name, version): (&str, u64),
    body: Body<'_>,
) -> Vec<u8> {
    let header = raw::header_value(&stage.storage);
    let entries = raw::entries(&stage.storage, &header);
    let entries = entries.into_iter().map(|(_, entry)| entry.unwrap());
    let mut entries =
        entries.filter(|entry| entry.chart().is_some_and(|it| it.id()[..] == key[1..17]));
    let entry = entries.next().unwrap();
    let patient = entry.chart().unwrap().active_key();
    let address = Address {
        chart: key[1..17].try_into().unwrap(),
        record: key[17..33].try_into().unwrap(),
    };
    let meta = Meta {
        name: name.into(),
        ..Meta::default()
    };
    let (suite, data_key) = (stage.suite, DataKey::random().unwrap());
    let number = patient.number;
    seal(
        suite,
        &address,
        version,
        &meta,
        body,
        data_key,
        |commitment, key| {
            let place = Place::Current;
            let wrapped = wrap(suite, &patient.key, place, number, commitment, key)?;
            Ok((number, wrapped))
        },
    )
    .unwrap()
}

/// Seals a version that claims segmented content of `length` bytes, none of which is stored.
pub(crate) fn sealed_with_length(
    stage: &Stage,
    key: &[u8],
    version: (&str, u64),
    length: u64,
) -> Vec<u8> {
    let stream_key = StreamKey::random().unwrap();
    let body = Body::Segmented {
        stream: [7; 16],
        key: &stream_key,
        length,
    };
    sealed(stage, key, version, body)
}
