//! Rival that stores a file for each record, in a directory for each patient, without encryption,
//! versions or an access journal.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chartlock::{RecordId, Subject};

use super::{Handle, Item, Peer};

pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    fn chart(&self, subject: &Subject) -> PathBuf {
        self.directory.join(subject.identifier())
    }

    fn file(&self, id: &RecordId) -> PathBuf {
        self.chart(id.subject()).join(id.name().replace('/', "_"))
    }

    /// Writes and syncs a record's file. The file's name becomes durable only when the caller syncs
    /// the directory.
    fn write(&self, (id, content): Item<'_>) -> Result<PathBuf> {
        let path = self.file(id);
        let directory = path.parent().context("the file path has no directory")?;
        if !directory.exists() {
            fs::create_dir(directory)?;
            File::open(&self.directory)?.sync_all()?;
        }
        let unfinished = path.with_extension("unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        Ok(directory.to_owned())
    }
}

impl Peer for Files {
    fn name(&self) -> &'static str {
        "one file per record"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        Ok(Box::new(Each(self)))
    }

    fn reopen(&mut self) -> Result<()> {
        Ok(())
    }
}

struct Each<'a>(&'a Files);

impl Handle for Each<'_> {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        self.put_many(&[item])
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        let directories = items.iter().map(|item| self.0.write(*item));
        for directory in directories.collect::<Result<HashSet<_>>>()? {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        take(&fs::read(self.0.file(id))?);
        Ok(())
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        for entry in fs::read_dir(self.0.chart(subject))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().replace('_', "/");
            take(&name, &fs::read(entry.path())?);
        }
        Ok(())
    }
}
