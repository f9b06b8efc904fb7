//! Session methods that put and get serde values as JSON.

use crate::error::{Error, Result};
use crate::id::RecordId;
use crate::records::document::Document;
use crate::secret::PlaintextWriter;
use crate::session::Session;
use crate::session::finite_check::has_non_finite_number;

impl Session {
    /// Writes a value as JSON, with content type `application/json`. Returns the version number.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the value contains a number that is NaN or infinite; [`Error::Json`] when the value
    /// has no JSON form for another reason; otherwise the errors of [`Session::put`].
    pub fn put_json<T: serde::Serialize + ?Sized>(&self, id: &RecordId, value: &T) -> Result<u64> {
        let mut json = PlaintextWriter::default();
        serde_json::to_writer(&mut json, value).map_err(|_| Error::Json)?;
        let json = json.finish();
        // `serde_json` writes NaN as `null`. Without a `null`, the value is not serialized again.
        if json.windows(4).any(|part| part == b"null") && has_non_finite_number(value) {
            return Err(Error::NotFinite);
        }
        self.put(id, Document::new(&*json).content_type("application/json"))
    }

    /// Returns the current version of a record, parsed from JSON; `None` if the record does not
    /// exist or was retracted.
    ///
    /// # Errors
    /// [`Error::Json`] when the content is not JSON of this type; otherwise the errors of
    /// [`Session::get`].
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, id: &RecordId) -> Result<Option<T>> {
        let record = self.get(id)?;
        record
            .map(|record| serde_json::from_slice(&record).map_err(|_| Error::Json))
            .transpose()
    }
}
