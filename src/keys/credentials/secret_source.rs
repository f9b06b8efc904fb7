//! Files and environment variables that contain a secret: a key, a passphrase, a PIN or a token.

use std::env::{self, VarError};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The maximum length of a line end, in bytes.
pub(super) const LINE_END_MAX: usize = 2;

/// The users besides the owner who may read a file with a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Readers {
    #[default]
    OwnerOnly,
    /// The file's group may also read it. Nobody else may, and only the owner may write.
    Group,
    /// Anyone may read it, because the secret alone does not open a vault, and programs that write such files
    /// often use this mode. Only the owner may write.
    #[cfg(any(feature = "pkcs11", feature = "transit"))]
    Anyone,
}

/// Resolves the links of a path to a regular file.
///
/// # Errors
/// [`Error::KeyFile`] if the path does not exist, and for a pipe or device, because opening it could block forever.
pub(super) fn resolved(path: &Path) -> Result<PathBuf> {
    let path = fs::canonicalize(path).map_err(key_file_error)?;
    let is_file = fs::metadata(&path).map_err(key_file_error)?.is_file();
    is_file
        .then_some(path)
        .ok_or(Error::KeyFile(io::ErrorKind::InvalidInput))
}

/// Reads at most `BYTES` bytes of a file that only `readers` can read (on Unix). Returns the buffer and the
/// number of bytes, which is `BYTES` for a file that is too long.
///
/// # Errors
/// [`Error::KeyFileExposed`] if others can read or change the file; [`Error::KeyFile`] if the file cannot
/// be read, or is a pipe or device.
pub(super) fn read<const BYTES: usize>(
    path: &Path,
    readers: Readers,
) -> Result<(Zeroizing<[u8; BYTES]>, usize)> {
    let mut file = File::open(path).map_err(key_file_error)?;
    let metadata = file.metadata().map_err(key_file_error)?;
    // The path may lead to another file than in `resolved`. If that is a pipe, the call to open it has waited for
    // a writer: only the flag `O_NONBLOCK` prevents that, and the standard library does not have it.
    if !metadata.is_file() {
        return Err(Error::KeyFile(io::ErrorKind::InvalidInput));
    }
    if is_exposed(&metadata, readers) {
        return Err(Error::KeyFileExposed);
    }
    let mut bytes = Zeroizing::new([0; BYTES]);
    let length = read_up_to(&mut file, bytes.as_mut()).map_err(key_file_error)?;
    Ok((bytes, length))
}

/// Reads a file with a line of text as [`read`] does, and returns its first `BYTES` bytes without one line end at
/// their end.
///
/// # Errors
/// Errors of [`resolved`] and [`read`].
pub(super) fn read_line<const BYTES: usize>(
    path: &Path,
    readers: Readers,
) -> Result<Zeroizing<Vec<u8>>> {
    let (bytes, length) = read::<BYTES>(&resolved(path)?, readers)?;
    let text = bytes.get(..length).unwrap_or_default();
    Ok(Zeroizing::new(without_line_end(text).to_vec()))
}

/// Returns the text of an environment variable without one line end at its end.
///
/// # Errors
/// [`Error::KeyFile`] if there is no such variable, or if it is not UTF-8.
pub(super) fn variable(name: &str) -> Result<Zeroizing<String>> {
    let text = env::var(name).map_err(|error| match error {
        VarError::NotPresent => Error::KeyFile(io::ErrorKind::NotFound),
        VarError::NotUnicode(_) => Error::KeyFile(io::ErrorKind::InvalidData),
    });
    let mut text = Zeroizing::new(text?);
    let length = without_line_end(text.as_bytes()).len();
    text.truncate(length);
    Ok(text)
}

/// Returns the bytes without one `\n` or `\r\n` at their end.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n");
    line.map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

pub(super) fn key_file_error(error: io::Error) -> Error {
    Error::KeyFile(error.kind())
}

fn is_exposed(metadata: &fs::Metadata, readers: Readers) -> bool {
    #[cfg(unix)]
    {
        let refused = match readers {
            Readers::OwnerOnly => 0o077,
            Readers::Group => 0o037,
            #[cfg(any(feature = "pkcs11", feature = "transit"))]
            Readers::Anyone => 0o022,
        };
        std::os::unix::fs::MetadataExt::mode(metadata) & refused != 0
    }
    #[cfg(not(unix))]
    {
        let _ = (metadata, readers);
        false
    }
}

/// Reads until `out` is full or the file ends. Reads directly into `out`, so that no other buffer
/// contains the secret.
pub(super) fn read_up_to(file: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = out.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns one byte at a time and reports an interruption before each byte.
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            let one = out.len().min(1);
            match self.1 {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => self.0.read(out.split_at_mut(one).0),
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn device_is_refused_without_its_check_by_path() {
        let read = read::<4>(Path::new("/dev/zero"), Readers::Group);
        let expected = Error::KeyFile(io::ErrorKind::InvalidInput);
        assert!(read.is_err_and(|error| error == expected));
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    #[test]
    fn read_up_to_retries_interruptions_and_returns_other_errors() {
        for (content, out) in [(&b"abcdef"[..], &mut [0; 4]), (b"abc", &mut [0; 4])] {
            let read = read_up_to(&mut Interrupted(content, false), out);
            let length = content.len().min(out.len());
            assert!(matches!(read, Ok(read) if read == length));
            assert_eq!(out.get(..length), content.get(..length));
        }
        let failed = read_up_to(&mut Failing, &mut [0; 4]);
        assert!(failed.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied));
    }
}
