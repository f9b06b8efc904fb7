//! Two synthetic patients of tests/data, imported into a new vault.

use std::fs;
use std::io::Read;
use std::path::Path;

use axum::body::Bytes;
use chartlock::{Actor, Document, Error, Purpose, RecordId, Vault};
use serde_json::Value;

use crate::Outcome;
use crate::fhir_records;

/// Actor of the import.
pub(crate) const IMPORTER: &str = "import";
const FILES: [&str; 2] = ["Arlen_Ward_ee510063", "Jan_Harris_ecfd27e5"];

/// Imports the sample patients, unless the vault has patients already.
pub(crate) fn import(vault: &Vault) -> Outcome<()> {
    let session = vault.session(Actor::new(IMPORTER)?, Purpose::SystemAdministration);
    // An entry that cannot be read also counts as a patient.
    if session.subjects()?.next().is_some() {
        return Ok(());
    }
    for file in FILES {
        let records = read(file)?;
        let puts = records.iter().map(|(id, document)| (id, document.clone()));
        for put in session.put_many(puts)? {
            match put {
                // `Erased` means that all patients of the vault were erased, this one included.
                Ok(_) | Err(Error::Erased) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn read(file: &str) -> Outcome<Vec<(RecordId, Document<'static>)>> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fhir/synthea-us");
    let packed = fs::read(sample.join(format!("{file}.ndjson.gz")))?;
    let mut lines = String::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut lines)?;
    let mut resources = Vec::new();
    for line in lines.lines() {
        let resource: Value = serde_json::from_str(line)?;
        let text = |field: &str| resource.get(field).and_then(Value::as_str);
        let kind = text("resourceType").ok_or("a resource has no type")?;
        let id = text("id").ok_or("a resource has no id")?;
        resources.push((kind.to_owned(), id.to_owned(), line.to_owned()));
    }
    let patient = resources.iter().find(|(kind, ..)| kind == "Patient");
    let patient = patient.ok_or("the sample has no patient")?.1.clone();
    let records = resources.into_iter().map(|(kind, id, line)| {
        let record = RecordId::patient(&patient, &format!("{kind}/{id}"))?;
        let document = fhir_records::document(&kind, &id, Bytes::from(line));
        let document = document.map_err(|_| "a resource of the sample is not valid")?;
        Ok((record, document))
    });
    records.collect()
}
