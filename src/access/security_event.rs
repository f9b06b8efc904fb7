//! Security events, and the handler that receives them at once.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::id::Actor;

/// Something that should be looked into, told to a [`SecurityEventHandler`] as it happens.
///
/// It names no patient and no record; those stand in the journal. `Debug` and `Display` do not name
/// the actor either, so they can go to any log. Where it helps to know the actor, ask
/// [`SecurityEvent::actor`]; the serialized form names the actor, too.
///
/// ```
/// # use chartlock::{Actor, access::SecurityEvent};
/// let event = SecurityEvent::HoneytokenRead { actor: Actor::new("dr.garcia")? };
/// assert_eq!(event.to_string(), "a poison record is being read");
/// assert_eq!(event.actor().map(Actor::name), Some("dr.garcia"));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecurityEvent {
    /// Somebody broke the glass; told before the session can read.
    GlassBroken {
        /// Who.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// For how long.
        #[serde(rename = "for_seconds", serialize_with = "seconds")]
        duration: Duration,
    },
    /// Somebody reads a record that nobody has a reason to read; told before it is handed out.
    HoneytokenRead {
        /// Who.
        #[serde(serialize_with = "name")]
        actor: Actor,
    },
    /// Credentials or stored objects failed to authenticate again and again.
    RepeatedFailures {
        /// How often, at least.
        count: u64,
        /// Within which time.
        #[serde(rename = "within_seconds", serialize_with = "seconds")]
        within: Duration,
    },
    /// The policy denied one actor again and again.
    RepeatedDenials {
        /// Whom.
        #[serde(serialize_with = "name")]
        actor: Actor,
        /// How often, at least.
        count: u64,
        /// Within which time.
        #[serde(rename = "within_seconds", serialize_with = "seconds")]
        within: Duration,
    },
    /// The journal cannot be written; reads and changes are refused until it can.
    JournalFailing,
    /// Somebody declared an emergency: what is read is journaled later.
    JournalFallbackBegun {
        /// Who.
        #[serde(serialize_with = "name")]
        actor: Actor,
    },
    /// The emergency is over, and what was read meanwhile is in the journal.
    JournalFallbackEnded {
        /// Who ended it.
        #[serde(serialize_with = "name")]
        actor: Actor,
    },
    /// Somebody else continued this writer's chain of the journal.
    JournalForked,
    /// The vault's header is older than its data.
    HeaderRolledBack,
}

impl SecurityEvent {
    /// Who did it, for an event that somebody is behind.
    pub fn actor(&self) -> Option<&Actor> {
        match self {
            Self::GlassBroken { actor, .. }
            | Self::HoneytokenRead { actor }
            | Self::RepeatedDenials { actor, .. }
            | Self::JournalFallbackBegun { actor }
            | Self::JournalFallbackEnded { actor } => Some(actor),
            Self::RepeatedFailures { .. }
            | Self::JournalFailing
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
                write!(f, "somebody broke the glass, for {minutes} minutes")
            }
            Self::HoneytokenRead { .. } => f.write_str("a poison record is being read"),
            Self::RepeatedFailures { count, within } => {
                write!(f, "{count} failures to authenticate within {within:?}")
            }
            Self::RepeatedDenials { count, within, .. } => {
                write!(f, "one actor was denied {count} times within {within:?}")
            }
            Self::JournalFailing => f.write_str("the audit journal cannot be written"),
            Self::JournalFallbackBegun { .. } => f.write_str("a journal emergency was begun"),
            Self::JournalFallbackEnded { .. } => f.write_str("a journal emergency was ended"),
            Self::JournalForked => f.write_str("a chain of the audit journal is forked"),
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

/// Is told of security events. Any `Fn(&SecurityEvent)` is one.
///
/// It is called on the thread whose operation raised the event, which waits for it: hand the event on
/// and return. It must not call the vault. If it panics, the operation does, and releases nothing.
///
/// ```
/// # use chartlock::access::{SecurityEvent, SecurityEventHandler};
/// fn watch(handler: impl SecurityEventHandler) {}
/// watch(|event: &SecurityEvent| eprintln!("{event}"));
/// ```
pub trait SecurityEventHandler: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: &SecurityEvent);
}

impl<F: Fn(&SecurityEvent) + Send + Sync> SecurityEventHandler for F {
    fn event(&self, event: &SecurityEvent) {
        self(event);
    }
}
