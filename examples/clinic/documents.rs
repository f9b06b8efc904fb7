//! Documents below a directory, split into records.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use chartlock::{Document, RecordId, Subject};

use crate::Outcome;
use crate::patients::{self, FoundRecord};

/// All documents of a directory, and their records.
#[derive(Default)]
pub(crate) struct Documents {
    pub(crate) files: Vec<File>,
    pub(crate) records: Vec<Record>,
    /// The number of skipped files, by extension.
    pub(crate) skipped: BTreeMap<String, u64>,
}

/// An unpacked file.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) format: Format,
}

/// A part of a file that is stored as one record.
pub(crate) struct Record {
    pub(crate) id: RecordId,
    pub(crate) labels: Vec<String>,
    pub(crate) content_type: &'static str,
    pub(crate) format: Format,
    file: usize,
    range: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    FhirLines,
    FhirJson,
    Ccda,
    Hl7v2,
    Dicom,
    Other(&'static str),
}

impl Format {
    fn of(extension: &str) -> Option<Self> {
        Some(match extension {
            "ndjson" => Self::FhirLines,
            "json" => Self::FhirJson,
            "xml" => Self::Ccda,
            "hl7" => Self::Hl7v2,
            "dcm" => Self::Dicom,
            "pdf" => Self::Other("application/pdf"),
            "txt" => Self::Other("text/plain"),
            "csv" => Self::Other("text/csv"),
            "vcf" => Self::Other("text/x-vcf"),
            _ => return None,
        })
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::FhirLines | Self::FhirJson => "application/fhir+json",
            Self::Ccda => "application/hl7-cda+xml",
            Self::Hl7v2 => "x-application/hl7-v2+er7",
            Self::Dicom => "application/dicom",
            Self::Other(content_type) => content_type,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::FhirLines | Self::FhirJson => "fhir",
            Self::Ccda => "c-cda",
            Self::Hl7v2 => "hl7v2",
            Self::Dicom => "dicom",
            Self::Other(_) => "other",
        }
    }
}

impl Documents {
    /// Reads all documents of a directory into memory.
    pub(crate) fn below(root: &Path) -> Outcome<Self> {
        let mut documents = Self::default();
        let mut names = HashSet::new();
        let (paths, others) = files_below(root)?;
        if others > 0 {
            documents
                .skipped
                .insert("links and devices".to_owned(), others);
        }
        for path in paths {
            let plain = path.to_string_lossy().into_owned();
            let plain = plain.strip_suffix(".gz").unwrap_or(&plain);
            let extension = extension(Path::new(plain));
            let Some(format) = Format::of(&extension) else {
                *documents.skipped.entry(extension).or_default() += 1;
                continue;
            };
            let file = File {
                content: unpacked(&path).map_err(|error| format!("{}: {error}", path.display()))?,
                path: shown(Path::new(plain).strip_prefix(root)?),
                format,
            };
            documents.add(file, &mut names)?;
        }
        Ok(documents)
    }

    /// Returns the total size of the unpacked files, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.content.len() as u64)
            .sum()
    }

    /// Returns the total size of the records, in bytes.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.records
            .iter()
            .map(|record| record.range.len() as u64)
            .sum()
    }

    /// Returns the bytes of a record, unchanged from its file.
    pub(crate) fn content(&self, record: &Record) -> &[u8] {
        let file = self.files.get(record.file);
        let part = file.and_then(|file| file.content.get(record.range.clone()));
        part.unwrap_or_default()
    }

    /// Returns a record as a document for `put`.
    pub(crate) fn document(&self, record: &Record) -> Document<'_> {
        let document = Document::new(self.content(record)).content_type(record.content_type);
        record
            .labels
            .iter()
            .fold(document, |document, label| document.label(label))
    }

    fn add(&mut self, file: File, names: &mut HashSet<RecordId>) -> Outcome<()> {
        for found in patients::records_of(&file) {
            let patient = found.patient.as_deref().map(Subject::patient);
            let subject = match patient {
                Some(Ok(patient)) => patient,
                _ => Subject::organization(group(&file.path))?,
            };
            // Another record may already have this name, because several files can contain the same
            // organization.
            let in_file = format!("{}#{}", file.path, found.name);
            let again = (2..).map(|number| format!("{in_file} ({number})"));
            let candidates = [found.name.clone(), in_file.clone()]
                .into_iter()
                .chain(again);
            for name in candidates {
                let id = RecordId::new(subject.clone(), &name)
                    .map_err(|error| format!("{}: {error}", file.path))?;
                if names.insert(id.clone()) {
                    self.records.push(self.record(id, found, &file));
                    break;
                }
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn record(&self, id: RecordId, found: FoundRecord, file: &File) -> Record {
        let mut labels = vec![file.format.label().to_owned()];
        labels.extend(found.label);
        Record {
            id,
            labels,
            content_type: file.format.content_type(),
            format: file.format,
            file: self.files.len(),
            range: found.range,
        }
    }
}

/// Returns the folder of a file, which serves as the organization of a record without a patient.
fn group(path: &str) -> &str {
    path.rsplit_once('/')
        .map_or("documents", |(group, _)| group)
}

/// Returns all regular files in order, and the number of other entries such as links.
fn files_below(root: &Path) -> Outcome<(Vec<PathBuf>, u64)> {
    let (mut files, mut others) = (Vec::new(), 0);
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            } else {
                others += 1;
            }
        }
    }
    files.sort();
    Ok((files, others))
}

fn extension(path: &Path) -> String {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.unwrap_or("no extension").to_lowercase()
}

fn shown(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(OsStr::to_string_lossy).collect();
    parts.join("/")
}

fn unpacked(path: &Path) -> Outcome<Vec<u8>> {
    let file = fs::read(path)?;
    if path.extension() != Some(OsStr::new("gz")) {
        return Ok(file);
    }
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut content)?;
    Ok(content)
}
