//! DICOM files below a directory, with the patient of each file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use chartlock::RecordId;
use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag};

use crate::Outcome;

/// The tag that ends the header: elements from this tag on contain pixels or follow them.
const PIXELS: Tag = Tag(0x7FE0, 0x0008);

/// The organization for files without a patient id and for files that the parser cannot read.
const UNASSIGNED: &str = "unassigned images";

#[derive(Default)]
pub(crate) struct Study {
    pub(crate) instances: Vec<Instance>,
    /// The number of files that are not DICOM.
    pub(crate) skipped: u64,
}

/// A file that is stored as one record.
pub(crate) struct Instance {
    pub(crate) path: PathBuf,
    pub(crate) id: RecordId,
    pub(crate) length: u64,
    pub(crate) modality: Option<String>,
    /// The series instance UID, if the file is an image.
    pub(crate) series: Option<String>,
}

impl Study {
    pub(crate) fn below(root: &Path) -> Outcome<Self> {
        let mut study = Self::default();
        let mut ids = HashSet::new();
        for path in files_below(root)? {
            if is_dicom(&path)? {
                let instance = Instance::of(root, path, &mut ids)?;
                study.instances.push(instance);
            } else {
                study.skipped += 1;
            }
        }
        Ok(study)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.instances.iter().map(|instance| instance.length).sum()
    }

    pub(crate) fn largest(&self) -> Option<&Instance> {
        self.instances.iter().max_by_key(|instance| instance.length)
    }

    /// Returns the middle image of the series with the most images. If several series have the most
    /// images, the series with the largest image is chosen.
    pub(crate) fn middle_slice(&self) -> Option<&Instance> {
        let series = self
            .instances
            .iter()
            .filter_map(|instance| Some((instance.series.as_deref()?, instance.length)))
            .max_by_key(|(series, length)| (self.images_of(series).count(), *length));
        let (series, _) = series?;
        let middle = self.images_of(series).count() / 2;
        self.images_of(series).nth(middle)
    }

    pub(crate) fn images_of(&self, series: &str) -> impl Iterator<Item = &Instance> {
        let instances = self.instances.iter();
        instances.filter(move |instance| instance.series.as_deref() == Some(series))
    }
}

impl Instance {
    fn of(root: &Path, path: PathBuf, ids: &mut HashSet<RecordId>) -> Outcome<Self> {
        // Skip the pixels, because they may be larger than memory.
        let header = OpenFileOptions::new().read_until(PIXELS).open_file(&path);
        let header = header.ok();
        let text = |name: &str| attribute(header.as_ref()?, name);
        let patient = text("PatientID");
        let is_image = text("Rows").is_some();
        let id = |name: &str| match &patient {
            Some(patient) => RecordId::patient(patient, name),
            None => RecordId::organization(UNASSIGNED, name),
        };
        let below = path.strip_prefix(root)?.to_string_lossy().into_owned();
        let uids = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"];
        let uids: Option<Vec<_>> = uids.into_iter().map(text).collect();
        let name = uids.map_or_else(|| below.clone(), |uids| uids.join("/"));
        // A copy of the same instance may already use this id, for example a copy in another
        // encoding.
        let id = match id(&name)? {
            taken if ids.contains(&taken) => id(&below)?,
            id => id,
        };
        ids.insert(id.clone());
        Ok(Self {
            length: fs::metadata(&path)?.len(),
            path,
            id,
            modality: text("Modality"),
            series: text("SeriesInstanceUID").filter(|_| is_image),
        })
    }
}

/// Returns an attribute as text; `None` if it is absent or empty.
pub(crate) fn attribute(object: &DefaultDicomObject, name: &str) -> Option<String> {
    let text = object.element_by_name(name).ok()?.to_str().ok()?;
    let text = text.trim_matches(['\0', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Detects DICOM by magic bytes or by extension, because some files have no magic bytes.
fn is_dicom(path: &Path) -> Outcome<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(132).read_to_end(&mut start)?;
    let named = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("dcm"));
    Ok(named || start.get(128..) == Some(b"DICM"))
}

/// Returns all regular files, in order.
fn files_below(root: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
