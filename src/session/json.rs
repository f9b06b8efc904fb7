//! Puts and gets values that implement serde's traits, as JSON.

use crate::error::{Error, Result};
use crate::id::RecordId;
use crate::records::document::Document;
use crate::secret::PlaintextWriter;
use crate::session::Session;

impl Session {
    /// Puts a value as JSON, with content type `application/json`.
    ///
    /// # Errors
    /// [`Error::Json`] when the value has no JSON form; else those of [`Session::put`].
    pub fn put_json<T: serde::Serialize + ?Sized>(&self, id: &RecordId, value: &T) -> Result<u64> {
        let mut json = PlaintextWriter::default();
        serde_json::to_writer(&mut json, value).map_err(|_| Error::Json)?;
        let json = json.finish();
        self.put(id, Document::new(&*json).content_type("application/json"))
    }

    /// The current version of a record, as a value.
    ///
    /// # Errors
    /// [`Error::Json`] when the record is no such value; else those of [`Session::get`].
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, id: &RecordId) -> Result<Option<T>> {
        let record = self.get(id)?;
        record
            .map(|record| serde_json::from_slice(&record).map_err(|_| Error::Json))
            .transpose()
    }
}
