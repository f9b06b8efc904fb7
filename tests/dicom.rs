//! Tests of a DICOM parser that reads directly from a stored record, whole or by fragment. The parser
//! must return the same object as for the file, or an error, but never a partial or altered object.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chartlock::storage::{
    Expect, FaultAction, FaultPoint, Faulty, Projection, Scan, Storage, Transaction,
};
use chartlock::{Error, MemoryStorage, RecordReader, Session, Vault, storage::StorageError};
use common::{Fixed, record, session};
use dicom_object::{
    DefaultDicomObject, DicomCollector, InMemDicomObject, OpenFileOptions, Tag, from_reader,
    open_file,
};

const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// Sample image of 113,550 bytes, which is stored in one segment of two chunks.
const SEGMENTED: &str = "tests/data/dicom/MR2_J2KI.dcm";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => below(&path),
            false => vec![path],
        })
        .collect()
}

/// Returns the sample files, and the files of a larger collection if it exists next to the
/// repository.
fn instances() -> Vec<PathBuf> {
    let mut paths = below(&root().join("tests/data/dicom"));
    assert!(paths.len() >= 7);
    paths.extend(below(&root().join("../shared/clinic/dicom")));
    paths
}

fn create(storage: impl Storage + 'static) -> Vault {
    Vault::create(storage, &Fixed(1)).unwrap()
}

fn put(session: &Session, path: &Path) -> RecordReader {
    let name = path.file_name().unwrap().to_str().unwrap();
    let id = record("MRN-1", name);
    session.put_reader(&id, File::open(path).unwrap()).unwrap();
    session.reader(&id).unwrap().unwrap()
}

fn attribute(object: &DefaultDicomObject, name: &str) -> String {
    let element = object.element_by_name(name).unwrap();
    element.to_str().unwrap().into_owned()
}

/// Encodes an object for comparison, because an object with sequences of undefined length does not
/// compare equal to itself.
fn encoded(object: &DefaultDicomObject) -> Vec<u8> {
    let mut encoded = Vec::new();
    object.write_all(&mut encoded).unwrap();
    encoded
}

#[test]
fn dicom_record_parses_like_its_file() {
    let vault = create(MemoryStorage::new());
    let session = session(&vault);
    let (mut images, mut segmented) = (0, 0);
    for path in instances() {
        let reader = put(&session, &path);
        assert_eq!(reader.len(), fs::metadata(&path).unwrap().len());
        segmented += usize::from(reader.len() > 64 << 10);
        let filed = open_file(&path);
        let stored = from_reader(reader);
        let (Ok(stored), Ok(filed)) = (stored, &filed) else {
            // Some samples are not in the standard file format, so the parser rejects the file
            // itself.
            assert!(filed.is_err(), "{}", path.display());
            continue;
        };
        assert!(stored.meta() == filed.meta());
        assert!(encoded(&stored) == encoded(filed), "{}", path.display());
        if let Ok(pixels) = filed.element(PIXEL_DATA) {
            assert!(stored.element(PIXEL_DATA).unwrap().value() == pixels.value());
            images += 1;
        }
    }
    assert!(images >= 5 && segmented >= 1);
}

#[test]
fn ct_slice_is_parsed_with_all_pixels() {
    let vault = create(MemoryStorage::new());
    let session = session(&vault);
    let slice = put(&session, &root().join("tests/data/dicom/CT_small.dcm"));
    let slice = from_reader(slice).unwrap();
    assert_eq!(attribute(&slice, "Modality"), "CT");
    let size = ["Rows", "Columns"].map(|name| attribute(&slice, name));
    assert_eq!(size, ["128", "128"]);
    let pixels = slice.element(PIXEL_DATA).unwrap().to_bytes().unwrap();
    assert_eq!(pixels.len(), 128 * 128 * 2);
}

/// Reads the fragments one at a time, because an application may not keep all pixel data in memory.
#[test]
fn dicom_fragments_read_separately_equal_file() {
    let vault = create(MemoryStorage::new());
    let session = session(&vault);
    let path = root().join(SEGMENTED);
    let filed = open_file(&path).unwrap();

    let reader = BufReader::new(put(&session, &path));
    let mut collector = DicomCollector::new(reader);
    assert!(collector.read_file_meta().unwrap() == filed.meta());
    let mut header = InMemDicomObject::new_empty();
    collector.read_dataset_up_to_pixeldata(&mut header).unwrap();
    let header = header.with_exact_meta(filed.meta().clone());
    let mut without = filed.clone();
    assert!(without.remove_element(PIXEL_DATA));
    assert!(encoded(&header) == encoded(&without));

    let mut offsets = Vec::new();
    collector.read_basic_offset_table(&mut offsets).unwrap();
    let fragments = filed.element(PIXEL_DATA).unwrap().fragments().unwrap();
    assert!(!fragments.is_empty());
    for fragment in fragments {
        let mut stored = Vec::new();
        collector.read_next_fragment(&mut stored).unwrap().unwrap();
        assert!(stored == *fragment);
    }
    assert!(
        collector
            .read_next_fragment(&mut Vec::new())
            .unwrap()
            .is_none()
    );
}

/// Returns the vault's error that caused the parser's error.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let below = std::iter::successors(Some(error), |error| error.source());
    below
        .filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref())
        .find_map(|inner| inner.downcast_ref())
}

#[test]
fn altered_pixel_segment_returns_not_authentic() {
    let storage = Arc::new(MemoryStorage::new());
    let vault = create(Arc::clone(&storage));
    let session = session(&vault);
    let path = root().join(SEGMENTED);
    drop(put(&session, &path));
    let id = record("MRN-1", "MR2_J2KI.dcm");
    let reader = || session.reader(&id).unwrap().unwrap();

    let scan = Scan {
        prefix: b"s",
        after: None,
        limit: 2,
        projection: Projection::Values,
    };
    let mut segments = storage.scan(scan).unwrap().items;
    let segment = segments.pop().unwrap();
    assert!(segments.is_empty());
    let mut value = Vec::from(segment.value);
    *value.last_mut().unwrap() ^= 1;
    let altered = Transaction::new().put(&segment.key[..], value, Expect::Any);
    assert!(storage.commit(&[altered])[0].is_ok());

    let error = from_reader(reader()).unwrap_err();
    assert_eq!(cause(&error), Some(&Error::NotAuthentic));
    // The parser can still read the attributes in the chunk before the altered chunk.
    let header = OpenFileOptions::new().read_until(PIXEL_DATA);
    let header = header.from_reader(reader()).unwrap();
    assert_eq!(attribute(&header, "Modality"), "MR");

    let deleted = Transaction::new().delete(&segment.key[..]);
    assert!(storage.commit(&[deleted])[0].is_ok());
    let error = from_reader(reader()).unwrap_err();
    assert_eq!(cause(&error), Some(&Error::SegmentMissing));
}

/// Parsers accept an unexpected end of input as the end of the object, and `std` retries after an
/// interruption. A storage failure must therefore not be reported as either of these errors.
#[test]
fn storage_failure_during_parsing_returns_error() {
    let path = root().join(SEGMENTED);
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::Interrupted] {
        let failure = StorageError::Io(kind);
        let storage = Faulty::new(MemoryStorage::new(), move |_, point| match point {
            FaultPoint::Read([key, ..]) if key[0] == b's' => FaultAction::Fail(failure),
            _ => FaultAction::Proceed,
        });
        let vault = create(storage);
        let session = session(&vault);
        let error = put(&session, &path).read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error, Error::Storage(failure));
    }
}
