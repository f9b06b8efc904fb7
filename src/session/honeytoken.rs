//! Honeytokens: records that no user has a legitimate reason to read, so that a read raises a
//! security event.
//!
//! The mark is an extension of the sealed metadata, not a label, because lists show labels to the
//! very users whom a honeytoken should detect. The mark is not visible to the storage or to the
//! policy. Each version has its own mark, and re-encryption keeps the mark. Listing, counting,
//! verifying and re-encrypting raise no event, because they release no content.

use crate::access::security_event::SecurityEvent;
use crate::format::envelope::Meta;
use crate::id::Actor;

/// Returns the event to raise before content with this metadata is released to `actor`.
pub fn alarm(meta: &Meta, actor: &Actor) -> Option<SecurityEvent> {
    meta.is_honeytoken().then(|| SecurityEvent::HoneytokenRead {
        actor: actor.clone(),
    })
}
