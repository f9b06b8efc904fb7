//! Reading one record: current, at a version, and its history.

use super::document::{Record, RecordInfo};
use super::entries::{Freshness, Held};
use super::{ROUNDS, Vault, layout};
use crate::crypto::{self, DataKey, Place};
use crate::envelope::{self, Address, Content, Head, Opened};
use crate::error::{Error, Result};
use crate::id::RecordId;
use crate::keys::wrap;
use crate::storage::{Revision, Scan, Stored, Want};

/// What a look at storage found, and the state of the record that it found it in.
struct Look<T> {
    state: Option<Revision>,
    found: Result<Option<T>>,
}

impl Vault {
    pub(super) fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let head = Head::parse(&current.value)?;
            vault.record(held, address, id.name(), Place::Current, head, current)
        })
    }

    pub(super) fn get_version(&self, id: &RecordId, version: u64) -> Result<Option<Record>> {
        self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            // An altered version must not pass for "there is no such version yet".
            let (head, _) = authentic(held, address, &current.value)?;
            if version == head.version {
                return vault.record(held, address, id.name(), Place::Current, head, current);
            }
            if version == 0 || version > head.version {
                return Ok(None);
            }
            let stored = vault.store.read_one(&layout::earlier(address, version))?;
            let stored = stored.ok_or(Error::HistoryGap)?;
            let head = earlier_head(&stored.value, version)?;
            vault.record(held, address, id.name(), Place::Earlier, head, stored)
        })
    }

    pub(super) fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let history = self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, data_key) = authentic(held, address, &current.value)?;
            let mut versions = vault.earlier_infos(held, address, id.name(), head.version)?;
            let opened = envelope::open(current.value, &head, address, Some(id.name()), &data_key)?;
            versions.push(info(&head, &opened));
            Ok(Some(versions))
        })?;
        Ok(history.unwrap_or_default())
    }

    /// The versions below `current`, without gaps.
    fn earlier_infos(
        &self,
        held: &Held,
        address: &Address,
        name: &str,
        current: u64,
    ) -> Result<Vec<RecordInfo>> {
        let mut infos = Vec::new();
        let prefix = layout::earlier_versions(address);
        self.each_page(&prefix, Want::Values, &mut |entries| {
            for entry in entries {
                let (_, version) = layout::record_of(&entry.key).ok_or(Error::Malformed)?;
                let version = version.ok_or(Error::Malformed)?;
                // One that is not below the current version is left of a put that broke off.
                if version >= current {
                    continue;
                }
                if version != infos.len() as u64 + 1 {
                    return Err(Error::HistoryGap);
                }
                let head = earlier_head(&entry.value, version)?;
                let key = unwrap(held, &head, Place::Earlier)?;
                let opened = envelope::open(entry.value, &head, address, Some(name), &key)?;
                infos.push(info(&head, &opened));
            }
            Ok(())
        })?;
        if infos.len() as u64 + 1 != current {
            return Err(Error::HistoryGap);
        }
        Ok(infos)
    }

    /// Looks at a record until what is found can be told: content at once; absence and errors only
    /// when entry and record stood still between two looks, the last of them at a fresh entry.
    fn settled<T>(
        &self,
        id: &RecordId,
        look: impl Fn(&Self, &Held, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut freshness = Freshness::Held;
        let mut before = None;
        for round in 0..ROUNDS {
            self.store.back_off(round);
            let (held, seen) = self.entry(id.subject(), freshness)?;
            let Some(held) = held else {
                return Ok(None);
            };
            let Look { state, found } = self.look(&held, id, &look)?;
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                found => {
                    let now = Some((held.revision.clone(), state));
                    if seen == Freshness::Fresh && now == before {
                        return found;
                    }
                    before = now;
                    freshness = Freshness::Fresh;
                }
            }
        }
        Err(Error::Contended)
    }

    fn look<T>(
        &self,
        held: &Held,
        id: &RecordId,
        look: impl Fn(&Self, &Held, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<Look<T>> {
        let address = address(held, id.name())?;
        let current = self.store.read_one(&layout::current(&address))?;
        Ok(Look {
            state: current.as_ref().map(|stored| stored.revision.clone()),
            found: look(self, held, &address, current),
        })
    }

    /// No current version: nothing was ever written, unless an earlier version says otherwise.
    fn absence<T>(&self, address: &Address) -> Result<Option<T>> {
        if self.has_earlier(address)? {
            return Err(Error::CurrentMissing);
        }
        Ok(None)
    }

    /// Whether any earlier version of a record stands in storage.
    pub(super) fn has_earlier(&self, address: &Address) -> Result<bool> {
        self.has_any(&layout::earlier_versions(address))
    }

    /// Whether any key begins with `prefix`.
    pub(super) fn has_any(&self, prefix: &[u8]) -> Result<bool> {
        let page = self.store.storage.scan(Scan {
            prefix,
            after: None,
            limit: 1,
            want: Want::Keys,
        })?;
        Ok(!page.entries.is_empty() || page.more)
    }

    /// Opens a stored version with its content; `None` for a retraction.
    fn record(
        &self,
        held: &Held,
        address: &Address,
        name: &str,
        place: Place,
        head: Head,
        stored: Stored,
    ) -> Result<Option<Record>> {
        let key = unwrap(held, &head, place)?;
        let opened = envelope::open(stored.value, &head, address, Some(name), &key)?;
        let info = info(&head, &opened);
        let (buffer, content) = match opened.content {
            Content::Retraction => return Ok(None),
            Content::Inline(buffer, content) => (buffer, content),
            Content::Segmented {
                stream,
                key,
                length,
            } => {
                let content = self.download(head.suite, &address.chart, &stream, &key, length)?;
                let range = 0..content.len();
                (content, range)
            }
        };
        Ok(Some(Record {
            info,
            buffer,
            content,
        }))
    }
}

/// Where a record of a live subject stands.
pub(super) fn address(held: &Held, name: &str) -> Result<Address> {
    let chart = held.chart()?;
    Ok(Address {
        chart: *chart.id(),
        record: crypto::record_tag(chart.name_key(), name)?,
    })
}

/// Unwraps the data key of a version that stands at `place`.
pub(super) fn unwrap(held: &Held, head: &Head, place: Place) -> Result<DataKey> {
    let key = held
        .entry
        .key(head.key_number)
        .ok_or(Error::UnknownPatientKey)?;
    wrap::unwrap(
        head.suite,
        &key.key,
        place,
        head.key_number,
        &head.commitment,
        &head.wrapped,
    )
}

/// The head of a current value, once its data key is known to belong to this record and version.
pub(super) fn authentic(held: &Held, address: &Address, value: &[u8]) -> Result<(Head, DataKey)> {
    let head = Head::parse(value)?;
    let key = unwrap(held, &head, Place::Current)?;
    envelope::admit(&head, address, &key)?;
    Ok((head, key))
}

/// The head of an earlier value: its version is the one in its storage key.
pub(super) fn earlier_head(value: &[u8], version: u64) -> Result<Head> {
    let head = Head::parse(value)?;
    if head.version != version {
        return Err(Error::NotAuthentic);
    }
    Ok(head)
}

/// What is known of an opened version.
pub(super) fn info(head: &Head, opened: &Opened) -> RecordInfo {
    let length = match &opened.content {
        Content::Inline(_, range) => Some(range.len() as u64),
        Content::Segmented { length, .. } => Some(*length),
        Content::Retraction => None,
    };
    RecordInfo {
        version: head.version,
        length,
        meta: opened.meta.clone(),
    }
}
