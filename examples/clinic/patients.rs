//! Extraction of each document's patient. The functions read only the necessary fields of each
//! format; do not use them as parsers.

use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, from_slice};

use crate::documents::{File, Format};

/// A record found in a file.
pub(crate) struct FoundRecord {
    /// `None` if the record belongs to no patient or contains no patient id.
    pub(crate) patient: Option<String>,
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) range: Range<usize>,
}

/// Returns the records of a file: the resources of FHIR lines and transaction bundles, otherwise
/// the whole file. A FHIR document bundle stays one record, because it was signed as a whole.
pub(crate) fn records_of(file: &File) -> Vec<FoundRecord> {
    let content = &file.content[..];
    let patient = match file.format {
        Format::FhirLines => return fhir_lines(content),
        Format::FhirJson => match from_slice::<Bundle<'_>>(content) {
            Ok(bundle) if bundle.is_transport() => return fhir_entries(&bundle, content),
            Ok(bundle) => bundle.patient(),
            Err(_) => Resource::of(content).whose(&Patients::new()),
        },
        Format::Ccda => ccda_patient(content),
        Format::Hl7v2 => hl7v2_patient(content),
        Format::Dicom => dicom_patient(content),
        Format::Other(_) => None,
    };
    vec![FoundRecord {
        patient: patient.filter(|patient| !patient.is_empty()),
        name: file.path.clone(),
        label: None,
        range: 0..content.len(),
    }]
}

fn fhir_lines(content: &[u8]) -> Vec<FoundRecord> {
    let lines = content.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let resources: Vec<_> = lines.map(|line| (line, Resource::of(line))).collect();
    resources_found(resources, content)
}

fn fhir_entries(bundle: &Bundle<'_>, content: &[u8]) -> Vec<FoundRecord> {
    resources_found(bundle.resources().collect(), content)
}

/// Returns a record for each resource. Collects the patients first, because a reference may precede
/// its patient.
fn resources_found(resources: Vec<(&[u8], Resource)>, content: &[u8]) -> Vec<FoundRecord> {
    let patients: Patients = resources
        .iter()
        .filter(|(_, resource)| resource.is_patient())
        .flat_map(|(_, resource)| resource.names())
        .collect();
    (1..)
        .zip(resources)
        .map(|(number, (part, resource))| {
            let kind = resource.resource_type.as_deref().unwrap_or("resource");
            let id = resource
                .id()
                .map_or_else(|| format!("#{number}"), str::to_owned);
            FoundRecord {
                patient: resource.whose(&patients),
                name: format!("{kind}/{id}"),
                label: resource.resource_type.clone(),
                range: range_of(part, content),
            }
        })
        .collect()
}

/// The patient ids of a file, by the identifiers that references use.
type Patients = HashMap<String, String>;

#[derive(Deserialize)]
struct Bundle<'a> {
    r#type: String,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "fullUrl")]
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

impl Bundle<'_> {
    /// Returns `true` if the bundle only transports resources between systems.
    fn is_transport(&self) -> bool {
        matches!(&*self.r#type, "transaction" | "batch")
    }

    fn resources(&self) -> impl Iterator<Item = (&[u8], Resource)> {
        self.entry.iter().filter_map(|entry| {
            let raw = entry.resource?.get().as_bytes();
            let mut resource = Resource::of(raw);
            resource.uuid = entry.full_url.as_deref().and_then(uuid).map(str::to_owned);
            Some((raw, resource))
        })
    }

    /// Returns the id of the first patient in the bundle.
    fn patient(&self) -> Option<String> {
        let mut resources = self.resources().map(|(_, resource)| resource);
        let patient = resources.find(Resource::is_patient)?;
        patient.id().map(str::to_owned)
    }
}

/// The fields that identify a resource and its patient. All fields are optional, so that every
/// resource becomes a record.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Resource {
    resource_type: Option<String>,
    id: Option<String>,
    /// The UUID from the bundle's `fullUrl`.
    #[serde(skip)]
    uuid: Option<String>,
    subject: Option<Value>,
    patient: Option<Value>,
    beneficiary: Option<Value>,
    r#for: Option<Value>,
}

impl Resource {
    fn of(json: &[u8]) -> Self {
        from_slice(json).unwrap_or_default()
    }

    fn is_patient(&self) -> bool {
        self.resource_type.as_deref() == Some("Patient")
    }

    fn id(&self) -> Option<&str> {
        self.id.as_deref().or(self.uuid.as_deref())
    }

    /// Returns the identifiers by which other resources may reference this resource, each with the
    /// resource's id.
    fn names(&self) -> Vec<(String, String)> {
        let names = [&self.id, &self.uuid].into_iter().flatten();
        names
            .filter_map(|name| Some((name.clone(), self.id()?.to_owned())))
            .collect()
    }

    fn whose(&self, patients: &Patients) -> Option<String> {
        if self.is_patient() {
            return self.id().map(str::to_owned);
        }
        [&self.subject, &self.patient, &self.beneficiary, &self.r#for]
            .into_iter()
            .flatten()
            .filter_map(|reference| reference.get("reference")?.as_str())
            .find_map(|reference| match uuid(reference) {
                Some(uuid) => patients.get(uuid).cloned(),
                None => {
                    let (kind, id) = reference.rsplit_once('/')?;
                    (kind == "Patient" || kind.ends_with("/Patient")).then(|| id.to_owned())
                }
            })
    }
}

fn uuid(url: &str) -> Option<&str> {
    url.strip_prefix("urn:uuid:")
}

/// Returns the range of `part` within `content`; `part` must be a subslice.
fn range_of(part: &[u8], content: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - content.as_ptr() as usize;
    start..start + part.len()
}

/// Returns the patient id: root and extension of the first id in the record target.
fn ccda_patient(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let (_, target) = text.split_once("<recordTarget")?;
    let (_, id) = target.split_once("<id")?;
    let (id, _) = id.split_once('>')?;
    let attribute = |name: &str| {
        let (_, value) = id.split_once(&format!("{name}=\""))?;
        Some(value.split_once('"')?.0)
    };
    let root = attribute("root")?;
    Some(match attribute("extension") {
        Some(extension) => format!("{root}^{extension}"),
        None => root.to_owned(),
    })
}

/// Returns the patient id: PID-3, first repetition, first component. Lossy decoding is safe because
/// identifiers are ASCII, even where names are not.
fn hl7v2_patient(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let mut segments = text.split(['\r', '\n']);
    let pid = segments.find(|segment| segment.starts_with("PID"))?;
    let separator = pid.chars().nth(3)?;
    let identifier = pid.split(separator).nth(3)?.split(['^', '~']).next()?;
    Some(identifier.trim().to_owned())
}

/// Returns the patient id: element (0010,0020), in little-endian order, with or without explicit
/// value representation.
fn dicom_patient(content: &[u8]) -> Option<String> {
    let tag = content
        .windows(4)
        .position(|tag| tag == [0x10, 0, 0x20, 0])?;
    let (length, value) = match content.get(tag + 4..)? {
        [b'L', b'O', low, high, value @ ..] => ([*low, *high], value),
        [low, high, 0, 0, value @ ..] => ([*low, *high], value),
        _ => return None,
    };
    let value = value.get(..u16::from_le_bytes(length).into())?;
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    Some(std::str::from_utf8(value).ok()?.trim().to_owned())
}
