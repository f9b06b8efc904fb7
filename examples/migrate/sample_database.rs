//! A sample of a former database: the resources of two synthetic patients.

use std::fs;
use std::io::Read;
use std::path::Path;

use rusqlite::Connection;

use crate::Outcome;
use crate::former_database::SCHEMA;

const PATIENTS: [(&str, &str); 2] = [
    ("MRN-1042", "Arlen_Ward_ee510063"),
    ("MRN-1043", "Jan_Harris_ecfd27e5"),
];
/// Takes the time and the author from the resource, as far as it has them.
const INSERT: &str = "
    INSERT INTO resources (mrn, kind, body, changed_at, changed_by)
    SELECT ?1, json_extract(body, '$.resourceType'), CAST(body AS BLOB),
        strftime('%s', coalesce(
            json_extract(body, '$.issued'),
            json_extract(body, '$.recordedDate'),
            json_extract(body, '$.authoredOn'),
            json_extract(body, '$.period.start'),
            json_extract(body, '$.created'))),
        coalesce(
            json_extract(body, '$.participant[0].individual.display'),
            json_extract(body, '$.requester.display'),
            json_extract(body, '$.provider.display'),
            'unknown')
    FROM (SELECT ?2 AS body)";

pub(crate) fn create(path: &Path) -> Outcome<()> {
    let database = Connection::open(path)?;
    database.execute_batch(SCHEMA)?;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fhir/synthea-us");
    for (mrn, file) in PATIENTS {
        let packed = fs::read(sample.join(format!("{file}.ndjson.gz")))?;
        let mut resources = String::new();
        flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut resources)?;
        for resource in resources.lines() {
            database.execute(INSERT, (mrn, resource))?;
        }
    }
    Ok(())
}
