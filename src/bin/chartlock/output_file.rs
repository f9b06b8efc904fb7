//! Output files: written in full beside their place, then moved there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use super::failure::{Exit, Failure};

/// File that appears under its name only when it is complete. Dropped earlier, it leaves nothing.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    replaces: bool,
    is_published: bool,
}

impl OutputFile {
    /// Begins a file, which only its owner can read. Refuses an existing file unless `replaces`, and a place
    /// inside the vault's directory, where a foreign file prevents the vault from being opened.
    pub(crate) fn create(target: &Path, vault: &Path, replaces: bool) -> Result<Self, Failure> {
        let name = target.file_name().ok_or_else(|| {
            Failure::usage("the output has no file name", "pass the path of a file")
        })?;
        let folder = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(folder).map_err(|error| failed(&error))?;
        if fs::canonicalize(vault).is_ok_and(|vault| folder.starts_with(vault)) {
            return Err(Failure::usage(
                "the output file would be inside the vault's directory",
                "choose a place outside the vault",
            ));
        }
        let target = folder.join(name);
        if !replaces && fs::symlink_metadata(&target).is_ok() {
            return Err(exists());
        }
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{:08x}.tmp", random()?));
        let temporary = folder.join(temporary_name);
        let file = private().open(&temporary).map_err(|error| failed(&error))?;
        Ok(Self {
            file,
            temporary,
            target,
            replaces,
            is_published: false,
        })
    }

    /// Writes the whole content, then publishes the file.
    pub(crate) fn publish_with(mut self, content: &[u8]) -> Result<(), Failure> {
        self.write_all(content).map_err(|error| failed(&error))?;
        self.publish()
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn publish(mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| failed(&error))?;
        let published = match self.replaces {
            true => fs::rename(&self.temporary, &self.target),
            // A link fails if a file appeared meanwhile; a rename would replace it.
            false => {
                fs::hard_link(&self.temporary, &self.target).or_else(|error| self.reserve(error))
            }
        };
        published.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => failed(&error),
        })?;
        let _ = fs::remove_file(&self.temporary);
        self.is_published = true;
        if let Some(folder) = self
            .target
            .parent()
            .and_then(|folder| File::open(folder).ok())
        {
            // Some file systems cannot sync a directory.
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// Publishes on a file system without hard links.
    fn reserve(&self, error: io::Error) -> io::Result<()> {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        private().open(&self.target)?;
        fs::rename(&self.temporary, &self.target)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Returns a random number, so that the temporary file that a killed run left never blocks a later run.
fn random() -> Result<u32, Failure> {
    SysRng.try_next_u32().map_err(|_| {
        Failure::new(
            Exit::Storage,
            "the system supplies no random numbers",
            "check the system, then try again",
        )
    })
}

fn exists() -> Failure {
    Failure::usage(
        "the output file already exists",
        "choose another name, or replace the file with --force",
    )
}

pub(crate) fn failed(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Storage,
        format!("the output file could not be written ({})", error.kind()),
        "check its folder, its permissions and the free space, then try again",
    )
}
