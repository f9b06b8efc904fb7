//! Two synthetic patients of tests/data.

use std::fs;
use std::io::Read;
use std::path::Path;

use chartlock::{Document, RecordId, Session, Subject};
use serde_json::Value;

use crate::Outcome;

/// The name of the record that the attacker rolls back.
pub(crate) const ALLERGIES: &str = "AllergyIntolerance/list";
/// The types of resources that the front desk may read.
const ADMINISTRATION: [&str; 5] = ["Patient", "Coverage", "Encounter", "Claim", "Organization"];

/// A patient of the sample.
pub(crate) struct Patient {
    pub(crate) name: String,
    pub(crate) subject: Subject,
    resources: Vec<Resource>,
}

struct Resource {
    kind: String,
    id: String,
    content: String,
}

impl Patient {
    pub(crate) fn read(file: &str) -> Outcome<Self> {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fhir/synthea-us");
        let packed = fs::read(sample.join(format!("{file}.ndjson.gz")))?;
        let mut lines = String::new();
        flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut lines)?;
        let resources = lines
            .lines()
            .map(Resource::read)
            .collect::<Outcome<Vec<_>>>()?;
        let patient = resources.iter().find(|resource| resource.kind == "Patient");
        let patient = patient.ok_or("the sample has no patient")?;
        let resource: Value = serde_json::from_str(&patient.content)?;
        let part = |place| {
            resource
                .pointer(place)
                .and_then(Value::as_str)
                .unwrap_or("?")
        };
        let (given, family) = (part("/name/0/given/0"), part("/name/0/family"));
        Ok(Self {
            name: format!("{given} {family}"),
            subject: Subject::patient(&patient.id)?,
            resources,
        })
    }

    pub(crate) fn record(&self, name: &str) -> Outcome<RecordId> {
        Ok(RecordId::new(self.subject.clone(), name)?)
    }

    /// Returns the id of the patient's first resource of a type.
    pub(crate) fn first(&self, kind: &str) -> Outcome<RecordId> {
        let mut resources = self.resources.iter();
        let resource = resources.find(|resource| resource.kind == kind);
        let resource = resource.ok_or("the sample has no resource of this type")?;
        self.record(&resource.record_name())
    }

    /// Stores all resources of the patient, and an allergy list without entries. Returns the count
    /// of records.
    pub(crate) fn store(&self, session: &Session) -> Outcome<usize> {
        let list = self.allergy_list(false);
        let mut records = vec![(self.record(ALLERGIES)?, fhir(&list).label("clinical"))];
        for resource in &self.resources {
            let label = match ADMINISTRATION.contains(&&*resource.kind) {
                true => "administration",
                false => "clinical",
            };
            let id = self.record(&resource.record_name())?;
            records.push((id, fhir(&resource.content).label(label)));
        }
        let puts = records.iter().map(|(id, document)| (id, document.clone()));
        session
            .put_many(puts)?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        Ok(records.len())
    }

    pub(crate) fn allergy_list(&self, is_known: bool) -> String {
        let allergies = self.resources.iter();
        let allergies = allergies.filter(|resource| resource.kind == "AllergyIntolerance");
        let entries: Vec<_> = allergies
            .filter(|_| is_known)
            .map(|allergy| format!(r#"{{"resource":{}}}"#, allergy.content))
            .collect();
        let entries = entries.join(",");
        format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{entries}]}}"#)
    }
}

impl Resource {
    fn record_name(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    fn read(line: &str) -> Outcome<Self> {
        let resource: Value = serde_json::from_str(line)?;
        let text = |field: &str| resource.get(field)?.as_str().map(str::to_owned);
        Ok(Self {
            kind: text("resourceType").ok_or("a resource has no type")?,
            id: text("id").ok_or("a resource has no id")?,
            content: line.to_owned(),
        })
    }
}

pub(crate) fn fhir(content: &str) -> Document<'_> {
    Document::new(content).content_type("application/fhir+json")
}
