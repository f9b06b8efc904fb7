//! Codec of the keyring and of patient entries, field by field.

use zeroize::Zeroizing;

use crate::crypto::{
    AuthorityKey, JournalKey, MasterKey, NameKey, PatientKey, PatientNameKey, ReservedKey,
};
use crate::error::{Error, Result};
use crate::format::codec::{
    Body, Decode, Decoded, Decoder, Encode, Encoded, Encoder, Reader, Writer, fields, numbers,
    refused,
};
use crate::id::{Subject, SubjectKind};
use crate::keys::closing::Closing;
use crate::keys::entry::{Chart, ChartState, EntryState, PatientEntry};
use crate::keys::extensions::{Extension, Extensions};
use crate::keys::holds::Hold;
use crate::keys::keyring::Keyring;
use crate::keys::ring::{KeyState, KeyVersion, Ring};

impl Body for Keyring {}
impl Body for PatientEntry {}

fields! { Chart { id name_key state created keys } }
fields! { Hold { id since reason } }

numbers! { KeyState { 0 Active 1 Inactive } }
numbers! { ChartState { 0 Steady 1 Reencrypting } }

/// Implements the codec for key types: a key is stored as its 32 bytes.
macro_rules! keys {
    ($($key:ident)*) => {$(
        impl Encode for $key {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
                encoder.writer().write(self.expose())
            }
        }

        impl<C> Decode<C> for $key {
            fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
                decoder.claim_bytes_read(32)?;
                let reader = decoder.reader();
                Self::try_with(|out| reader.read(out).map_err(|_| Error::Malformed))
                    .map_err(refused)
            }
        }
    )*};
}

keys! { MasterKey NameKey JournalKey AuthorityKey ReservedKey PatientNameKey PatientKey }

/// A key type that a ring can contain.
trait Role: Encode {
    /// `true` if the encoding has a reserved u16, the compartment, between number and state. Only
    /// compartment 0 exists.
    const COMPARTMENT: bool = false;
}
impl Role for MasterKey {}
impl Role for NameKey {}
impl Role for JournalKey {}
impl Role for AuthorityKey {}
impl Role for ReservedKey {}
impl Role for PatientKey {
    const COMPARTMENT: bool = true;
}

impl<K: Role> Encode for KeyVersion<K> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.number.encode(encoder)?;
        if K::COMPARTMENT {
            0_u16.encode(encoder)?;
        }
        self.state.encode(encoder)?;
        self.created.encode(encoder)?;
        self.key.encode(encoder)
    }
}

impl<C, K: Role + Decode<C>> Decode<C> for KeyVersion<K> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let number = Decode::decode(decoder)?;
        if K::COMPARTMENT && u16::decode(decoder)? != 0 {
            return Err(refused(Error::Unsupported));
        }
        Ok(Self {
            number,
            state: Decode::decode(decoder)?,
            created: Decode::decode(decoder)?,
            key: Decode::decode(decoder)?,
        })
    }
}

impl<K: Role> Encode for Ring<K> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        (self.iter().count() as u64).encode(encoder)?;
        self.iter().try_for_each(|key| key.encode(encoder))
    }
}

impl<C, K: Role + Decode<C>> Decode<C> for Ring<K> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        Self::from_stored(Decode::decode(decoder)?).map_err(refused)
    }
}

/// Numbers of the roles that every keyring contains.
const MASTERS: u16 = 1;
const NAME_KEYS: u16 = 2;
const JOURNAL_KEYS: u16 = 3;
const AUTHORITY_KEYS: u16 = 4;

impl Encode for Keyring {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        (4 + self.reserved.len() as u64).encode(encoder)?;
        (MASTERS, &self.masters).encode(encoder)?;
        (NAME_KEYS, &self.name_keys).encode(encoder)?;
        (JOURNAL_KEYS, &self.journal_keys).encode(encoder)?;
        (AUTHORITY_KEYS, &self.authority_keys).encode(encoder)?;
        for (role, ring) in &self.reserved {
            (role, ring).encode(encoder)?;
        }
        self.closings.encode(encoder)?;
        self.extensions.encode(encoder)
    }
}

impl<C> Decode<C> for Keyring {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let count = u64::decode(decoder)?;
        let mut keyring = Self {
            masters: ring_of(MASTERS, decoder)?,
            name_keys: ring_of(NAME_KEYS, decoder)?,
            journal_keys: ring_of(JOURNAL_KEYS, decoder)?,
            authority_keys: ring_of(AUTHORITY_KEYS, decoder)?,
            reserved: Vec::new(),
            closings: Vec::new(),
            extensions: Extensions::default(),
        };
        let further = count.checked_sub(4).ok_or(refused(Error::Malformed))?;
        let mut last = AUTHORITY_KEYS;
        for _ in 0..further {
            decoder.claim_container_read::<Ring<ReservedKey>>(1)?;
            let role = u16::decode(decoder)?;
            if role <= last {
                return Err(refused(Error::Malformed));
            }
            last = role;
            keyring.reserved.push((role, Decode::decode(decoder)?));
        }
        keyring.closings = Decode::decode(decoder)?;
        let journal = keyring.journal_keys.inactive_count();
        let authority = keyring.authority_keys.inactive_count();
        Closing::check(&keyring.closings, journal, authority).map_err(refused)?;
        let extensions = Decode::decode(decoder)?;
        keyring.extensions = Extensions::of_keyring(extensions).map_err(refused)?;
        Ok(keyring)
    }
}

impl Encode for Closing {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        match self {
            Self::Open => 0_u32.encode(encoder),
            Self::Closed(heads) => (1_u32, heads.as_slice()).encode(encoder),
        }
    }
}

impl<C> Decode<C> for Closing {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        match u32::decode(decoder)? {
            0 => Ok(Self::Open),
            1 => Ok(Self::Closed(Decode::decode(decoder)?)),
            _ => Err(refused(Error::Unsupported)),
        }
    }
}

/// Decodes the ring of a role that every keyring contains.
fn ring_of<C, K: Role + Decode<C>, D: Decoder<Context = C>>(
    role: u16,
    decoder: &mut D,
) -> Decoded<Ring<K>> {
    if u16::decode(decoder)? != role {
        return Err(refused(Error::Malformed));
    }
    Decode::decode(decoder)
}

impl Encode for Extension {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.number.encode(encoder)?;
        self.bytes.as_slice().encode(encoder)
    }
}

impl<C> Decode<C> for Extension {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        Ok(Self {
            number: Decode::decode(decoder)?,
            bytes: Zeroizing::new(Decode::decode(decoder)?),
        })
    }
}

impl Encode for Extensions {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.as_stored().encode(encoder)
    }
}

impl<C> Decode<C> for Extensions {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        Self::from_stored(Decode::decode(decoder)?).map_err(refused)
    }
}

impl Encode for Subject {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.kind().code().encode(encoder)?;
        self.identifier().encode(encoder)
    }
}

impl<C> Decode<C> for Subject {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let kind = SubjectKind::from_code(u8::decode(decoder)?).map_err(refused)?;
        let identifier = String::decode(decoder)?;
        Self::stored(kind, &identifier).map_err(refused)
    }
}

/// The encoding of an absent former tag. A later release may store the former tag of a subject whose
/// identifier changed; this release supports no former tag.
const MOVING_FROM_NONE: u8 = 0;

impl Encode for PatientEntry {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.sequence.encode(encoder)?;
        self.generation.encode(encoder)?;
        match &self.state {
            EntryState::Live(_) => 0_u32.encode(encoder)?,
            EntryState::Erasing { chart } => (1_u32, chart).encode(encoder)?,
            EntryState::Erased => 2_u32.encode(encoder)?,
            EntryState::Alias(subject) => (3_u32, subject).encode(encoder)?,
        }
        self.subject.encode(encoder)?;
        self.chart().as_slice().encode(encoder)?;
        MOVING_FROM_NONE.encode(encoder)?;
        self.dead_charts.encode(encoder)?;
        self.holds.encode(encoder)?;
        self.retention.encode(encoder)?;
        self.extensions.encode(encoder)
    }
}

impl<C> Decode<C> for PatientEntry {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let sequence = Decode::decode(decoder)?;
        let generation = Decode::decode(decoder)?;
        let chartless = match u32::decode(decoder)? {
            0 => None,
            1 => Some(EntryState::Erasing {
                chart: Decode::decode(decoder)?,
            }),
            2 => Some(EntryState::Erased),
            3 => Some(EntryState::Alias(Decode::decode(decoder)?)),
            _ => return Err(refused(Error::Unsupported)),
        };
        let subject = Decode::decode(decoder)?;
        let state = with_charts(chartless, Decode::decode(decoder)?).map_err(refused)?;
        if u8::decode(decoder)? != MOVING_FROM_NONE {
            return Err(refused(Error::Unsupported));
        }
        Ok(Self {
            sequence,
            generation,
            state,
            subject,
            dead_charts: Decode::decode(decoder)?,
            holds: Decode::decode(decoder)?,
            retention: Decode::decode(decoder)?,
            extensions: Decode::decode(decoder)?,
        })
    }
}

/// Combines the stored state with the stored charts: a live entry requires exactly one chart, and
/// every other state requires none.
fn with_charts(chartless: Option<EntryState>, mut charts: Vec<Chart>) -> Result<EntryState> {
    match (chartless, charts.pop(), charts.is_empty()) {
        (None, Some(chart), true) => Ok(EntryState::Live(chart)),
        (Some(state), None, _) => Ok(state),
        (None, Some(_), false) => Err(Error::Unsupported),
        (None, None, _) | (Some(_), Some(_), _) => Err(Error::Malformed),
    }
}
