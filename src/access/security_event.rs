//! Security events, and the handler that receives each event as it occurs.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::id::Actor;

/// An event that deserves investigation, passed to a [`SecurityEventHandler`] as it occurs.
///
/// Events contain no patient and no record; the journal records both. `Debug` and `Display` also
/// omit the actor, so their output is safe for any log. [`SecurityEvent::actor`] and the serialized
/// form contain the actor.
///
/// ```
/// # use chartlock::{Actor, access::SecurityEvent};
/// let event = SecurityEvent::HoneytokenRead { actor: Actor::new("dr.garcia")? };
/// assert_eq!(event.to_string(), "a honeytoken is being read");
/// assert_eq!(event.actor().map(Actor::name), Some("dr.garcia"));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecurityEvent {
    /// An actor began break-glass access. The handler receives the event before the session can
    /// read anything.
    GlassBroken {
        /// The actor who began the access.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// The duration for which the access is valid.
        #[serde(rename = "for_seconds", serialize_with = "seconds")]
        duration: Duration,
    },
    /// An actor requested a honeytoken. The handler receives the event before the record is
    /// released.
    HoneytokenRead {
        /// The actor who requested the honeytoken.
        #[serde(serialize_with = "name")]
        actor: Actor,
    },
    /// Credentials or stored objects failed to authenticate five times or more within ten minutes.
    RepeatedFailures {
        /// The number of failures, which is a lower bound.
        count: u64,
        /// The time window in which the failures occurred.
        #[serde(rename = "within_seconds", serialize_with = "seconds")]
        within: Duration,
    },
    /// The policy denied one actor ten times or more within ten minutes.
    RepeatedDenials {
        /// The denied actor.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// The number of denials, which is a lower bound.
        count: u64,
        /// The time window in which the denials occurred.
        #[serde(rename = "within_seconds", serialize_with = "seconds")]
        within: Duration,
    },
    /// The journal cannot be written. Reads and changes are refused until the journal can be
    /// written again.
    JournalFailing,
    /// An actor began the journal fallback: reads are now journaled to another storage.
    ///
    /// Keep the head. If the process ends before the fallback does, nothing in the vault shows that
    /// the spool ever existed.
    JournalFallbackBegun {
        /// The actor who began the fallback.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// The first page of the chain in the spool.
        spool: SpoolHead,
    },
    /// An actor ended the journal fallback. The vault's journal now contains the reads that were
    /// journaled during the fallback, unless chains are missing.
    JournalFallbackEnded {
        /// The actor who ended the fallback.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// The number of chains whose pages the vault lacks. A verification reports them.
        missing_chains: u64,
    },
    /// An actor accepted a restore: the differences between the storage and the journal are no longer
    /// findings of a verification.
    RestoreAccepted {
        /// The actor who accepted the restore.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// The number of erasures and expunges that were left out, so that their data is back.
        left_out: u64,
    },
    /// The vault was dropped while journal entries waited that could not be written. The entries are
    /// lost, and some may record reads that were released. [`Vault::close`](crate::Vault::close)
    /// reports such a failure before the entries are lost.
    JournalEntriesLost {
        /// The number of lost entries.
        count: u64,
    },
    /// The machine's clock was set back, or is more than 90 minutes behind the clock that began another
    /// journal chain, on this or another machine.
    /// Later journal entries and versions carry times that are too early.
    ClockSetBack {
        /// The difference, which is a lower bound.
        #[serde(rename = "by_seconds", serialize_with = "seconds")]
        by: Duration,
    },
    /// Another writer, for example a copy of this process, continued this writer's journal chain.
    JournalForked,
    /// The vault's header is older than the objects stored with it.
    HeaderRolledBack,
}

/// A page of a journal chain in a spool. `Display` and the serialized form write the id of the
/// chain's writer, the number of the page and its SHA-256 digest.
///
/// ```
/// # use chartlock::access::SpoolHead;
/// let head = SpoolHead { writer: [0; 16], page: 3, digest: [0; 32] };
/// assert!(head.to_string().contains("/3/"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpoolHead {
    /// The id of the chain's writer.
    pub writer: [u8; 16],
    /// The number of the page, counted from 0.
    pub page: u64,
    /// The SHA-256 digest of the stored page.
    pub digest: [u8; 32],
}

impl fmt::Display for SpoolHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        hex(f, &self.writer)?;
        write!(f, "/{}/", self.page)?;
        hex(f, &self.digest)
    }
}

impl fmt::Debug for SpoolHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolHead({self})")
    }
}

impl Serialize for SpoolHead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl SecurityEvent {
    /// Returns the actor who caused the event; `None` if no actor did.
    pub fn actor(&self) -> Option<&Actor> {
        match self {
            Self::GlassBroken { actor, .. }
            | Self::HoneytokenRead { actor }
            | Self::RepeatedDenials { actor, .. }
            | Self::JournalFallbackBegun { actor, .. }
            | Self::RestoreAccepted { actor, .. }
            | Self::JournalFallbackEnded { actor, .. } => Some(actor),
            Self::RepeatedFailures { .. }
            | Self::JournalFailing
            | Self::JournalEntriesLost { .. }
            | Self::ClockSetBack { .. }
            | Self::JournalForked
            | Self::HeaderRolledBack => None,
        }
    }
}

impl fmt::Display for SecurityEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GlassBroken { duration, .. } => {
                let minutes = duration.as_secs().div_ceil(60);
                write!(f, "break-glass access was opened for {minutes} minutes")
            }
            Self::HoneytokenRead { .. } => f.write_str("a honeytoken is being read"),
            Self::RepeatedFailures { count, within } => {
                write!(f, "{count} failures to authenticate within {within:?}")
            }
            Self::RepeatedDenials { count, within, .. } => {
                write!(f, "one actor was denied {count} times within {within:?}")
            }
            Self::JournalFailing => f.write_str("the audit journal cannot be written"),
            Self::JournalFallbackBegun { .. } => {
                f.write_str("journal fallback begun: reads are journaled to another storage")
            }
            Self::JournalFallbackEnded {
                missing_chains: 0, ..
            } => f.write_str("journal fallback ended: its entries are in the journal"),
            Self::JournalFallbackEnded { missing_chains, .. } => write!(
                f,
                "journal fallback ended: the pages of {missing_chains} chains are missing"
            ),
            Self::RestoreAccepted { left_out: 0, .. } => {
                f.write_str("a restore was accepted: its differences are no longer reported")
            }
            Self::RestoreAccepted { left_out, .. } => write!(
                f,
                "a restore was accepted, and {left_out} erasures or expunges were not repeated"
            ),
            Self::JournalEntriesLost { count } => write!(
                f,
                "the vault was dropped, and {count} journal entries could not be written"
            ),
            Self::ClockSetBack { by } => write!(
                f,
                "the clock is {} seconds behind an earlier time, so later journal entries are dated too early",
                by.as_secs()
            ),
            Self::JournalForked => {
                f.write_str("another writer continued this vault's journal chain")
            }
            Self::HeaderRolledBack => f.write_str("the vault header is older than the data"),
        }
    }
}

impl fmt::Debug for SecurityEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecurityEvent({self})")
    }
}

fn name<S: Serializer>(actor: &Actor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(actor.name())
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// A handler of security events. Every `Fn(&SecurityEvent)` closure implements this trait.
///
/// The vault calls the handler on the thread whose operation raised the event, and the operation
/// waits until the handler returns. So the handler should forward the event and return quickly. The
/// handler must not call the vault. A panic in the handler unwinds into the operation, which then
/// releases no content. On a background thread, and when a handle is dropped, a panic is caught.
///
/// ```
/// # use chartlock::access::{SecurityEvent, SecurityEventHandler};
/// fn install(handler: impl SecurityEventHandler) {}
/// install(|event: &SecurityEvent| eprintln!("{event}"));
/// ```
pub trait SecurityEventHandler: Send + Sync {
    /// Receives a security event.
    fn event(&self, event: &SecurityEvent);
}

impl<F: Fn(&SecurityEvent) + Send + Sync> SecurityEventHandler for F {
    fn event(&self, event: &SecurityEvent) {
        self(event);
    }
}
