//! A vault of images. Each step of the example is a method, and records are written and read as
//! streams.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::keys::KeyFile;
use chartlock::storage::{FileOptions, Projection, Scan, Storage};
use chartlock::{
    Actor, FileStorage, Purpose, RecordId, RecordReader, Session, Vault,
    progress::{Phase, ProgressUpdate},
};
use dicom_object::from_reader;
use indicatif::ProgressBar;

use crate::Outcome;
use crate::common::next_to;
use crate::steps::{Steps, bar};
use crate::study::{Instance, Study, attribute};

/// The size of the database cache, in bytes: small, so that the cache does not dominate the peak
/// memory of this process.
pub(crate) const CACHE: u64 = 1 << 20;

/// The length of each range read, in bytes.
pub(crate) const RANGE: usize = 256 << 10;

pub(crate) struct Archive {
    vault: Vault,
    storage: Arc<FileStorage>,
}

/// The attributes of an image that was read back.
pub(crate) struct Slice {
    pub(crate) modality: String,
    pub(crate) rows: String,
    pub(crate) columns: String,
    pub(crate) series: String,
    pub(crate) images_of_series: usize,
    pub(crate) transfer_syntax: String,
    pub(crate) bytes: u64,
}

/// A byte range of a record that was read back.
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) of: u64,
}

/// The objects of each class in the storage: class name, count, and size of keys and values in
/// bytes.
pub(crate) type Sizes = Vec<(&'static str, u64, u64)>;

impl Archive {
    /// Creates a vault that a key file opens, as on a device without an operator.
    pub(crate) fn create(place: &Path, steps: &mut Steps) -> Outcome<Self> {
        steps.time("create the vault", || {
            let key = KeyFile::create(key_of(place)?)?;
            let storage = FileOptions::new().cache_bytes(CACHE).open(place);
            let storage = storage.map_err(|error| format!("{}: {error}", place.display()))?;
            let storage = Arc::new(storage);
            let vault = Vault::create(Arc::clone(&storage), &key)?;
            Ok((Self { vault, storage }, None))
        })
    }

    /// Stores every file as a stream and returns the total size of the content segments.
    pub(crate) fn seal(&self, study: &Study, steps: &mut Steps) -> Outcome<u64> {
        let bar = bar("encrypting", study.bytes())?;
        let mut segments = 0;
        steps.time("encrypt and store", || {
            for instance in &study.instances {
                segments += self.with_bar(&bar, instance.length, |session| {
                    let mut writer = session
                        .writer(&instance.id)
                        .content_type("application/dicom");
                    if let Some(modality) = &instance.modality {
                        writer = writer.label(modality);
                    }
                    writer.read_from(File::open(&instance.path)?)?;
                    writer.finish()?;
                    Ok(())
                })?;
            }
            bar.finish_and_clear();
            Ok((segments, all(study)))
        })
    }

    /// Advances `bar` while `put` stores a record of `length` bytes. Returns the size of its
    /// content segments, which is 0 up to 64 KiB.
    pub(crate) fn with_bar(
        &self,
        bar: &ProgressBar,
        length: u64,
        put: impl FnOnce(&Session) -> Outcome<()>,
    ) -> Outcome<u64> {
        let before = bar.position();
        let stored = Arc::new(AtomicU64::new(0));
        let (shown, counted) = (bar.clone(), Arc::clone(&stored));
        let vault = self.vault.with_progress(move |step: ProgressUpdate| {
            if step.phase == Phase::Storing {
                shown.set_position(before + step.done.min(length));
                counted.store(step.done, Ordering::Relaxed);
            }
        });
        put(&session(&vault)?)?;
        bar.set_position(before + length);
        Ok(stored.load(Ordering::Relaxed))
    }

    /// Reads all records and stops at the first difference from the files.
    pub(crate) fn compare(&self, study: &Study, steps: &mut Steps) -> Outcome<()> {
        let bar = bar("reading back", study.bytes())?;
        steps.time("read back and compare", || {
            for instance in &study.instances {
                let reader = self.reader(&instance.id)?;
                if !are_equal(reader, File::open(&instance.path)?)? {
                    return Err(differs(instance));
                }
                bar.inc(instance.length);
            }
            bar.finish_and_clear();
            Ok(((), all(study)))
        })
    }

    /// Parses one image, including its pixels, directly from the record reader.
    pub(crate) fn slice(&self, study: &Study, steps: &mut Steps) -> Outcome<Option<Slice>> {
        let Some(instance) = study.middle_slice() else {
            return Ok(None);
        };
        steps.time("read one slice", || {
            let object = from_reader(self.reader(&instance.id)?)?;
            let text = |name| attribute(&object, name).unwrap_or_else(|| "unknown".to_owned());
            let series = text("SeriesInstanceUID");
            let slice = Slice {
                modality: text("Modality"),
                rows: text("Rows"),
                columns: text("Columns"),
                images_of_series: study.images_of(&series).count(),
                series: attribute(&object, "SeriesDescription").unwrap_or(series),
                transfer_syntax: object.meta().transfer_syntax().to_owned(),
                bytes: instance.length,
            };
            Ok((Some(slice), Some((1, Some(instance.length)))))
        })
    }

    /// Reads a range from the middle of the largest record.
    pub(crate) fn range(&self, study: &Study, steps: &mut Steps) -> Outcome<Range> {
        let instance = study.largest().ok_or("there is no record")?;
        let offset = instance.length.saturating_sub(RANGE as u64) / 2;
        let mut part = vec![0; RANGE];
        let bytes = steps.time("read one range", || {
            let bytes = self.reader(&instance.id)?.read_at(offset, &mut part)?;
            Ok((bytes, Some((1, Some(bytes as u64)))))
        })?;
        part.truncate(bytes);
        let mut file = File::open(&instance.path)?;
        file.seek(SeekFrom::Start(offset))?;
        if !are_equal(&part[..], file.take(bytes as u64))? {
            return Err(differs(instance));
        }
        Ok(Range {
            offset,
            bytes: bytes as u64,
            of: instance.length,
        })
    }

    /// Counts the objects of each class, which anyone with access to the storage can do without a
    /// key. `segments` is the size of the content segments, which [`Archive::seal`] counted.
    pub(crate) fn sizes(&self, segments: u64) -> Outcome<Sizes> {
        let classes: [(&'static str, &[u8], Projection, u64); 4] = [
            ("records", b"r", Projection::Values, 0),
            ("content segments", b"s", Projection::Keys, segments),
            ("patient entries", b"p", Projection::Values, 0),
            ("header", b"v", Projection::Values, 0),
        ];
        let sizes = classes.map(|(name, prefix, projection, segments)| {
            let (number, bytes) = self.size(prefix, projection)?;
            Ok((name, number, bytes + segments))
        });
        sizes.into_iter().collect()
    }

    fn size(&self, prefix: &[u8], projection: Projection) -> Outcome<(u64, u64)> {
        let (mut number, mut bytes) = (0, 0);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.storage.scan(Scan {
                prefix,
                after: after.as_deref(),
                limit: 100,
                projection,
            })?;
            for item in &page.items {
                number += 1;
                bytes += (item.key.len() + item.value.len()) as u64;
            }
            after = page.items.last().map(|item| item.key.clone()).or(after);
            if !page.more {
                return Ok((number, bytes));
            }
        }
    }

    pub(crate) fn session(&self) -> Outcome<Session> {
        session(&self.vault)
    }

    pub(crate) fn reader(&self, id: &RecordId) -> Outcome<RecordReader> {
        let reader = self.session()?.reader(id)?;
        reader.ok_or_else(|| "a stored record is missing".into())
    }
}

/// Returns the path of the key file: outside the vault, so that a copy of the data contains no key.
pub(crate) fn key_of(place: &Path) -> Outcome<PathBuf> {
    next_to(place, ".key")
}

fn all(study: &Study) -> Option<(u64, Option<u64>)> {
    Some((study.instances.len() as u64, Some(study.bytes())))
}

fn differs(instance: &Instance) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{} differs from what was stored", instance.path.display()).into()
}

/// Returns `true` if two readers return the same bytes.
fn are_equal(mut one: impl Read, mut other: impl Read) -> Outcome<bool> {
    let (mut left, mut right) = (vec![0; RANGE], vec![0; RANGE]);
    loop {
        let bytes = fill(&mut one, &mut left)?;
        if bytes != fill(&mut other, &mut right)? || left.get(..bytes) != right.get(..bytes) {
            return Ok(false);
        }
        if bytes == 0 {
            return Ok(true);
        }
    }
}

fn fill(source: &mut impl Read, out: &mut [u8]) -> Outcome<usize> {
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest)? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    Ok(filled)
}

fn session(vault: &Vault) -> Outcome<Session> {
    let actor = Actor::new("imaging example")?;
    Ok(vault.session(actor, Purpose::SystemAdministration))
}
