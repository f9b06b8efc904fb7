//! Content beyond the inline limit: segments written before, and read after, the record itself.

use super::{Vault, layout};
use crate::crypto::{self, ChartId, StreamId, StreamKey, Suite};
use crate::envelope::{Intent, Stream};
use crate::error::{Error, Result};
use crate::secret::{Plaintext, plaintext};
use crate::storage::{CommitError, Expect, Revision, Transaction};

/// Segments sent in one commit: 8 MiB that share a sync.
const SEGMENTS_AT_ONCE: u32 = 8;
/// Most bytes of one record: it is held in memory whole when it is read, so no more is taken either.
const WHOLE_MAX: u64 = 4 << 30;

/// A content stream whose segments are in storage, kept there by its intent.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) chart: ChartId,
    pub(super) stream: StreamId,
    pub(super) key: StreamKey,
    pub(super) length: u64,
    pub(super) intent: Revision,
}

impl Upload {
    /// Where its intent stands.
    pub(super) fn intent_key(&self) -> Vec<u8> {
        layout::intent(&self.chart, &self.stream)
    }
}

impl Vault {
    /// `[ put w Absent ] ; [ put s|i Absent ]*`. The stream id and key are drawn here: an upload
    /// that broke off is never taken up again under the same key.
    pub(super) fn upload(&self, suite: Suite, chart: &ChartId, content: &[u8]) -> Result<Upload> {
        let length = content.len() as u64;
        // What could not be read back must not be acknowledged.
        if length > WHOLE_MAX {
            return Err(Error::TooLarge);
        }
        let (stream, key) = (crypto::fresh()?, StreamKey::random()?);
        let sealer = Stream::new(suite, &key, chart, &stream, length)?;
        let intent = Intent {
            suite,
            started_at: self.store.clock.now(),
            writer: crypto::fresh()?,
        };
        let at = layout::intent(chart, &stream);
        let transaction = Transaction::new().put(&at[..], intent.encode(), Expect::Absent);
        let revision = self.store.put_own(transaction, &at)?;
        let upload = Upload {
            chart: *chart,
            stream,
            key,
            length,
            intent: revision,
        };
        if let Err(error) = self.upload_segments(&upload, &sealer, content) {
            self.store.discard(&upload);
            return Err(error);
        }
        Ok(upload)
    }

    fn upload_segments(&self, upload: &Upload, sealer: &Stream, content: &[u8]) -> Result<()> {
        let segments = sealer.segments();
        let mut first = 0;
        while first < segments {
            let next = segments.min(first + SEGMENTS_AT_ONCE);
            let transactions = (first..next)
                .map(|index| {
                    let at = layout::segment(&upload.chart, &upload.stream, index);
                    Ok(Transaction::new().put(at, sealer.seal(index, content)?, Expect::Absent))
                })
                .collect::<Result<Vec<_>>>()?;
            let results = self.store.storage.commit(&transactions).into_iter();
            let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
            for (result, transaction) in results.chain(unknown).zip(transactions) {
                match result {
                    Ok(_) => {}
                    Err(CommitError::Io(error)) => return Err(error.into()),
                    Err(_) => {
                        let at = transaction
                            .operations()
                            .first()
                            .map(|put| put.key().to_vec());
                        self.store.put_own(transaction, &at.unwrap_or_default())?;
                    }
                }
            }
            first = next;
        }
        Ok(())
    }

    /// The whole content of a stream.
    pub(super) fn download(
        &self,
        suite: Suite,
        chart: &ChartId,
        stream: &StreamId,
        key: &StreamKey,
        length: u64,
    ) -> Result<Plaintext> {
        if length > WHOLE_MAX {
            return Err(Error::TooLarge);
        }
        let opener = Stream::new(suite, key, chart, stream, length)?;
        let mut content = plaintext(length as usize);
        for index in 0..opener.segments() {
            let segment = self
                .store
                .read_one(&layout::segment(chart, stream, index))?;
            let segment = segment.ok_or(Error::SegmentMissing)?;
            opener.open(index, segment.value, &mut content)?;
        }
        Ok(content)
    }
}
