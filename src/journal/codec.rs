//! Binary encoding of a journal page's body, field by field.

use std::collections::{HashMap, HashSet};

use crate::error::Error;
use crate::format::codec::{
    self, Body, Decode, DecodeError, Decoded, Decoder, Encode, Encoded, Encoder, fields, numbers,
    refused,
};
use crate::journal::authority::PageKind;
use crate::journal::entry::{
    Context, EntryTexts, Finding, READ_MAX, ReadVersion, RecordRef, SealedEntry, SlotRef,
    SubjectRef, Target,
};
use crate::journal::page::{Entry, Page, Stage};
use crate::journal::{AccessOutcome, Operation};

impl Body for Page {}

/// Number of the page extension that contains summaries of archived pages. The extension is critical, because a
/// reader that ignores the summaries would report the archived pages as missing.
const SUMMARIES: u16 = 0x8001;

fields! { Context { actor purpose request organization under_break_glass } }
fields! { EntryTexts { reason consent note } }
fields! { SubjectRef { chart tag } }
fields! { RecordRef { tag name } }
fields! { Finding { fault writer page pages } }
fields! { ReadVersion { record version } }
fields! { SealedEntry { sequence digest } }
fields! { SlotRef { id kind } }
numbers! { Stage { 0 Done 1 Announced } }

/// Implements encoding and decoding of an enum as its one-byte code.
macro_rules! codes {
    ($($type:ident)*) => {$(
        impl Encode for $type {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
                self.code().encode(encoder)
            }
        }

        impl<C> Decode<C> for $type {
            fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
                Self::from_code(u8::decode(decoder)?).map_err(refused)
            }
        }
    )*};
}

codes! { Operation AccessOutcome }

impl Encode for Page {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        encode_content(self, encoder)?;
        let Some(summaries) = &self.summaries else {
            return self.extensions.encode(encoder);
        };
        // Numbers must be ascending. The summaries come last, because all other extensions are non-critical, with
        // smaller numbers.
        let summaries = codec::encode_extension(summaries)?;
        let extensions = self.extensions.iter();
        (self.extensions.len() as u64 + 1).encode(encoder)?;
        for extension in extensions {
            extension.encode(encoder)?;
        }
        (SUMMARIES, summaries).encode(encoder)
    }
}

impl<C> Decode<C> for Page {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let page = decode_content(decoder)?;
        let mut stored: Vec<(u16, Vec<u8>)> = Decode::decode(decoder)?;
        let summaries = stored.pop_if(|(number, _)| *number == SUMMARIES);
        let summaries = summaries.map(|(_, content)| codec::decode_extension(&content));
        Ok(Self {
            summaries: summaries.transpose()?,
            extensions: extensions(stored)?,
            ..page
        })
    }
}

/// Encodes a page without its extensions.
pub(super) fn encode_content<E: Encoder>(page: &Page, encoder: &mut E) -> Encoded {
    page.previous.encode(encoder)?;
    page.began.encode(encoder)?;
    page.latest.encode(encoder)?;
    page.seen.encode(encoder)?;
    page.contexts.encode(encoder)?;
    page.subjects.encode(encoder)?;
    let subjects: HashMap<_, _> = page.subjects.iter().zip(0_u16..).collect();
    (page.entries.len() as u64).encode(encoder)?;
    for entry in &page.entries {
        let subject = entry.target.subject();
        let subject = subject.and_then(|subject| subjects.get(subject).copied());
        encode_entry(entry, subject.unwrap_or_default(), encoder)?;
    }
    Ok(())
}

/// Decodes a page without its extensions.
pub(super) fn decode_content<C, D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Page> {
    let previous = Decode::decode(decoder)?;
    let began = Decode::decode(decoder)?;
    let latest = Decode::decode(decoder)?;
    let seen = Decode::decode(decoder)?;
    let contexts: Vec<Context> = Decode::decode(decoder)?;
    let subjects: Vec<SubjectRef> = Decode::decode(decoder)?;
    // Refuse duplicate subjects; otherwise encoding the decoded page could produce other bytes.
    let unique: HashSet<_> = subjects.iter().collect();
    if unique.len() < subjects.len() {
        return Err(refused(Error::Malformed));
    }
    let count = u64::decode(decoder)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        decoder.claim_container_read::<Entry>(1)?;
        entries.push(decode_entry(decoder, contexts.len(), &subjects)?);
    }
    Ok(Page {
        previous,
        began,
        latest,
        seen,
        contexts,
        subjects,
        entries,
        summaries: None,
        extensions: Vec::new(),
        kind: PageKind::Vault,
    })
}

/// Checks that the numbers of the extensions are strictly ascending and not critical. This release
/// does not interpret the content of extensions.
pub(super) fn extensions(stored: Vec<(u16, Vec<u8>)>) -> Result<Vec<(u16, Vec<u8>)>, DecodeError> {
    if !stored.is_sorted_by(|(left, _), (right, _)| left < right) {
        return Err(refused(Error::Malformed));
    }
    match stored.last() {
        Some((0x8000.., _)) => Err(refused(Error::Unsupported)),
        _ => Ok(stored),
    }
}

/// Checks the number of records in an entry.
fn read_versions(read: Vec<ReadVersion>) -> Result<Vec<ReadVersion>, DecodeError> {
    match read.len() {
        1..=READ_MAX => Ok(read),
        _ => Err(refused(Error::Malformed)),
    }
}

/// Encodes an entry; `subject` is the index of the entry's subject in the page's table.
fn encode_entry<E: Encoder>(entry: &Entry, subject: u16, encoder: &mut E) -> Encoded {
    entry.after.encode(encoder)?;
    entry.context.encode(encoder)?;
    entry.operation.encode(encoder)?;
    entry.outcome.encode(encoder)?;
    entry.stage.encode(encoder)?;
    match &entry.target {
        Target::Vault => 0_u32.encode(encoder)?,
        Target::Header { generation, digest } => (1_u32, generation, digest).encode(encoder)?,
        Target::Subject(_) => (2_u32, subject).encode(encoder)?,
        Target::Entry {
            sequence, digest, ..
        } => (3_u32, subject, sequence, digest).encode(encoder)?,
        Target::Record {
            record, version, ..
        } => (4_u32, subject, record, version).encode(encoder)?,
        Target::Version {
            record,
            version,
            digest,
            ..
        } => (5_u32, subject, (record, version, digest)).encode(encoder)?,
        Target::Settled(page, index) => (6_u32, page, index).encode(encoder)?,
        Target::Finding(finding) => (7_u32, finding).encode(encoder)?,
        Target::Slot(slot) => (8_u32, slot).encode(encoder)?,
        Target::MasterKey(number) => (9_u32, number).encode(encoder)?,
        Target::Reencrypted {
            record,
            version,
            before,
            after,
            ..
        } => (10_u32, subject, (record, version, before, after)).encode(encoder)?,
        Target::Records { read, .. } => (11_u32, subject, read).encode(encoder)?,
        Target::Retention { written, until, .. } => {
            (12_u32, subject, written, until).encode(encoder)?;
        }
        Target::Hold { written, hold, .. } => (13_u32, subject, written, hold).encode(encoder)?,
    }
    match &entry.texts {
        Some(texts) => texts.encode(encoder),
        None => EntryTexts::default().encode(encoder),
    }
}

fn decode_entry<C, D: Decoder<Context = C>>(
    decoder: &mut D,
    contexts: usize,
    subjects: &[SubjectRef],
) -> Decoded<Entry> {
    let after = Decode::decode(decoder)?;
    let context = u16::decode(decoder)?;
    if usize::from(context) >= contexts {
        return Err(refused(Error::Malformed));
    }
    Ok(Entry {
        after,
        context,
        operation: Decode::decode(decoder)?,
        outcome: Decode::decode(decoder)?,
        stage: Decode::decode(decoder)?,
        target: decode_target(decoder, subjects)?,
        texts: Entry::boxed(Decode::decode(decoder)?),
    })
}

fn decode_target<C, D: Decoder<Context = C>>(
    decoder: &mut D,
    subjects: &[SubjectRef],
) -> Decoded<Target> {
    let subject = |decoder: &mut D| {
        let place = u16::decode(decoder)?;
        let subject = subjects.get(usize::from(place)).copied();
        subject.ok_or(refused(Error::Malformed))
    };
    Ok(match u32::decode(decoder)? {
        0 => Target::Vault,
        1 => Target::Header {
            generation: Decode::decode(decoder)?,
            digest: Decode::decode(decoder)?,
        },
        2 => Target::Subject(subject(decoder)?),
        3 => Target::Entry {
            subject: subject(decoder)?,
            sequence: Decode::decode(decoder)?,
            digest: Decode::decode(decoder)?,
        },
        4 => Target::Record {
            subject: subject(decoder)?,
            record: Decode::decode(decoder)?,
            version: Decode::decode(decoder)?,
        },
        5 => Target::Version {
            subject: subject(decoder)?,
            record: Decode::decode(decoder)?,
            version: Decode::decode(decoder)?,
            digest: Decode::decode(decoder)?,
        },
        6 => Target::Settled(Decode::decode(decoder)?, Decode::decode(decoder)?),
        7 => Target::Finding(Decode::decode(decoder)?),
        8 => Target::Slot(Decode::decode(decoder)?),
        9 => Target::MasterKey(Decode::decode(decoder)?),
        10 => Target::Reencrypted {
            subject: subject(decoder)?,
            record: Decode::decode(decoder)?,
            version: Decode::decode(decoder)?,
            before: Decode::decode(decoder)?,
            after: Decode::decode(decoder)?,
        },
        11 => Target::Records {
            subject: subject(decoder)?,
            read: read_versions(Decode::decode(decoder)?)?,
        },
        12 => Target::Retention {
            subject: subject(decoder)?,
            written: Decode::decode(decoder)?,
            until: Decode::decode(decoder)?,
        },
        13 => Target::Hold {
            subject: subject(decoder)?,
            written: Decode::decode(decoder)?,
            hold: Decode::decode(decoder)?,
        },
        _ => return Err(refused(Error::Unsupported)),
    })
}
