//! Credential of kind 2: a key file with a secret of 32 random bytes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::crypto::{self, SlotSecret};
use crate::error::{Error, Result};
use crate::format::codec::take;
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::keys::credentials::secret_source::{self, Readers, key_file_error, read_up_to};
use crate::keys::hex;

const KIND: u16 = 2;
/// The first line of a key file.
const TITLE: &[u8] = b"chartlock key file 1";
/// The beginning of the first line in every version of the format.
const FAMILY: &[u8] = b"chartlock key file ";
/// The length of the text in bytes: three lines of 20, 64 and 8 characters, each with its line end.
const LENGTH: usize = 95;
/// The byte order mark that some editors write before the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The maximum number of bytes of a text, with a byte order mark and spaces at the ends of lines.
const TEXT_MAX: usize = 1024;

/// The name of the marker file in every `FileStorage` directory, and the beginning of its content.
const MARKER: (&str, &[u8]) = ("READ-ME-FIRST", b"chartlock storage");

/// A key file with 32 random bytes that open a vault without user input.
///
/// The text has three lines: `chartlock key file 1`; 64 hexadecimal digits, the slot secret; and 8
/// digits, the first 4 bytes of the SHA-256 of the secret. The last line detects copying mistakes.
///
/// Everyone who has the file can open the vault. Keep the file away from the data and the backups,
/// and keep a copy at another site. The secret is wiped on drop.
///
/// ```
/// # use chartlock::keys::KeyFile;
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("clinic.key");
/// KeyFile::create(&path)?;
/// let key = KeyFile::open(&path)?;
///
/// // Keep a copy of the key on paper, for example in a sealed envelope.
/// let paper = key.to_text();
/// assert!(KeyFile::from_text(&paper).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyFile(SlotSecret);

impl KeyFile {
    /// Writes a fresh key durably to a new file. On Unix, only the file's owner can read it.
    ///
    /// # Errors
    /// [`Error::KeyFileBesideData`] inside a storage directory; [`Error::KeyFile`] if the file
    /// exists or cannot be written; [`Error::Randomness`] if the system provides no random bytes.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        KeyFileOptions::new().create(path)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`Error::KeyFileBesideData`] inside a storage directory; [`Error::KeyFileExposed`] if other
    /// users can access the file (on Unix); [`Error::KeyFile`] if the file cannot be read;
    /// errors of [`KeyFile::from_text`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        KeyFileOptions::new().open(path)
    }

    /// Generates a fresh key without a file. The caller stores the text of the key elsewhere.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn random() -> Result<Self> {
        SlotSecret::random().map(Self)
    }

    /// Parses the text of a key file.
    ///
    /// Accepts what mail and editors change: digits of either case, a byte order mark, and one empty
    /// line after the last line. Lines can end with spaces, tabs or `\r\n`, and the last line can lack
    /// its end.
    ///
    /// # Errors
    /// [`Error::BadKeyFile`] for any other text, for more than 1,024 bytes, and for a wrong check
    /// value; [`Error::Unsupported`] if the first line names a later format.
    pub fn from_text(text: &str) -> Result<Self> {
        parse(text.as_bytes())
    }

    /// Returns the text of the key file. The text is wiped on drop.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        let mut digits = Zeroizing::new([[0; 2]; 36]);
        let (secret, check) = digits.split_at_mut(32);
        hex::encode(self.0.expose(), secret);
        hex::encode(&check_of(&self.0), check);
        text.extend(TITLE.iter().copied().map(char::from));
        for line in [secret, check] {
            text.push('\n');
            text.extend(line.as_flattened().iter().copied().map(char::from));
        }
        text.push('\n');
        text
    }
}

impl Credential for KeyFile {
    fn kind(&self) -> u16 {
        KIND
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        Ok((Vec::new(), SlotSecret::from_bytes(self.0.expose())))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>> {
        let is_key_file = parameters.is_empty();
        Ok(is_key_file.then(|| SlotSecret::from_bytes(self.0.expose())))
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

/// Options to create or open a key file.
///
/// ```
/// # use chartlock::keys::KeyFileOptions;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("clinic.key");
/// // Test fixtures may keep the key and the data in one directory.
/// let key = KeyFileOptions::new().allow_beside_data().create(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyFileOptions {
    beside_data: bool,
    readers: Readers,
}

impl KeyFileOptions {
    /// Creates the default options, which refuse key files inside a storage directory, and files that others
    /// than their owner can read.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows a key file inside a storage directory. Then every copy of the directory, such as a
    /// backup, contains the key and the data.
    pub fn allow_beside_data(self) -> Self {
        Self {
            beside_data: true,
            ..self
        }
    }

    /// Allows a key file that its group can read, such as a secret that Kubernetes mounts for the group of
    /// the pod (`fsGroup`, mode 0440) or a credential of systemd. Every process of the group can then open
    /// the vault. A file that others can read, or that the group can change, is still refused.
    pub fn allow_group_readers(self) -> Self {
        Self {
            readers: Readers::Group,
            ..self
        }
    }

    /// Creates a key file as [`KeyFile::create`] does, with these options.
    ///
    /// # Errors
    /// Errors of [`KeyFile::create`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<KeyFile> {
        let path = path.as_ref();
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = fs::canonicalize(directory).map_err(key_file_error)?;
        self.check_place(&directory)?;
        let key = KeyFile::random()?;
        let file = new_private(path).map_err(key_file_error)?;
        if let Err(error) = write_durably(file, &directory, key.to_text().as_bytes()) {
            // Remove the partial file; otherwise it would block the next attempt. Report the write
            // error, not an error of the removal.
            let _ = fs::remove_file(path);
            return Err(key_file_error(error));
        }
        Ok(key)
    }

    /// Opens a key file as [`KeyFile::open`] does, with these options.
    ///
    /// # Errors
    /// Errors of [`KeyFile::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<KeyFile> {
        let path = secret_source::resolved(path.as_ref())?;
        // Check again on open, because a storage may have been created around the key file since.
        self.check_place(&path)?;
        // Read one byte more, which reveals that a file is too long.
        let (text, length) = secret_source::read::<{ TEXT_MAX + 1 }>(&path, self.readers)?;
        parse(text.get(..length).ok_or(Error::BadKeyFile)?)
    }

    /// Refuses a path inside a storage directory, at any depth. `path` must be canonical; otherwise a
    /// link could hide the real location.
    fn check_place(self, path: &Path) -> Result<()> {
        let beside_data = !self.beside_data && path.ancestors().any(is_storage);
        (!beside_data).then_some(()).ok_or(Error::KeyFileBesideData)
    }
}

fn parse(text: &[u8]) -> Result<KeyFile> {
    if text.len() > TEXT_MAX {
        return Err(Error::BadKeyFile);
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (title, mut rest) = split_line(text);
    if title != TITLE {
        return Err(match title.strip_prefix(FAMILY).is_some_and(is_later) {
            true => Error::Unsupported,
            false => Error::BadKeyFile,
        });
    }
    digits(&mut rest).map_err(|_| Error::BadKeyFile)
}

/// Returns `true` for the number of a later format.
fn is_later(number: &[u8]) -> bool {
    match number {
        [b'1'..=b'9', more @ ..] => more.iter().all(u8::is_ascii_digit) && number != b"1",
        _ => false,
    }
}

/// Parses the two lines of digits at fixed positions, because searching would branch on secret
/// bytes.
fn digits(rest: &mut &[u8]) -> Result<KeyFile> {
    let secret: &[u8; 64] = take(rest)?;
    let (end, after) = split_line(rest);
    *rest = after;
    let check: &[u8; 8] = take(rest)?;
    let (last, after) = split_line(rest);
    let (empty, after) = split_line(after);
    let whole = [end, last, empty, after].iter().all(|part| part.is_empty());

    let (secret, _) = secret.as_chunks::<2>();
    let (check, _) = check.as_chunks::<2>();
    let key = SlotSecret::try_with(|out| {
        (hex::decode(secret, out).then_some(())).ok_or(Error::BadKeyFile)
    })?;
    let mut noted = [0; 4];
    let fits = hex::decode(check, &mut noted) && crypto::equal(&noted, &check_of(&key));
    (whole && fits)
        .then_some(KeyFile(key))
        .ok_or(Error::BadKeyFile)
}

/// Splits off the next line, without its line end and the spaces and tabs before its end.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or_default();
    let mut line = line.strip_suffix(b"\r").unwrap_or(line);
    while let [before @ .., b' ' | b'\t'] = line {
        line = before;
    }
    (line, parts.next().unwrap_or_default())
}

/// Returns the first 4 bytes of SHA-256(secret).
fn check_of(secret: &SlotSecret) -> [u8; 4] {
    let [a, b, c, d, ..] = crypto::sha256(&[secret.expose()]);
    [a, b, c, d]
}

fn new_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write_durably(mut file: File, directory: &Path, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    file.sync_all()?;
    // Sync the directory only on Unix, because other systems cannot open a directory as a file.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn is_storage(directory: &Path) -> bool {
    let (name, beginning) = MARKER;
    let marker = directory.join(name);
    let mut text = [0; MARKER.1.len()];
    marker.is_file()
        && File::open(marker).is_ok_and(|mut file| read_up_to(&mut file, &mut text).is_ok())
        && text == beginning
}
