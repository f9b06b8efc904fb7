//! Values that apps store and pass on: identifiers, purposes and descriptions of records, as texts and with serde.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod limits;
mod nfc;
mod text_forms;
mod times;
