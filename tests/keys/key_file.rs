//! Key files: their text, permissions and location.

use std::fs;
use std::path::PathBuf;

use chartlock::Error;
use chartlock::internals::crypto::sha256;
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{KeyFile, KeyFileOptions};
use tempfile::TempDir;

use crate::fixtures::*;

fn scratch() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clinic.key");
    (directory, path)
}

/// Makes a directory look like the directory of a [`FileStorage`].
fn mark(directory: &std::path::Path) {
    fs::write(
        directory.join("READ-ME-FIRST"),
        "chartlock storage, format 1\nmore\n",
    )
    .unwrap();
}

fn text_of(secret: [u8; 32]) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    format!(
        "chartlock key file 1\n{}\n{}\n",
        hex(&secret),
        hex(&sha256(&[&secret])[..4])
    )
}

#[test]
fn key_file_opens_header_it_enrolled() {
    let (_directory, path) = scratch();
    let key = KeyFile::create(&path).unwrap();
    for suite in SUITES {
        let (value, _) = Header::create(suite, &Keyring::new(NOW).unwrap(), &key).unwrap();
        let header = Header::parse(&value).unwrap();
        assert_eq!(header.slots()[0].kind, 2);
        header.unlock(&KeyFile::open(&path).unwrap()).unwrap();
        let other = KeyFile::random().unwrap();
        assert_eq!(header.unlock(&other).unwrap_err(), Error::WrongKey);
    }
}

#[test]
fn key_file_text_matches_format() {
    let text = text_of([0xab; 32]);
    assert_eq!(*KeyFile::from_text(&text).unwrap().to_text(), text);
    let (_directory, path) = scratch();
    let key = KeyFile::create(&path).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), *key.to_text());
}

#[test]
fn key_file_text_changed_by_mail_or_editor_is_accepted() {
    let text = text_of([0xab; 32]);
    let upper = text.replace("ab", "AB");
    for text in [
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
        upper,
    ] {
        let key = KeyFile::from_text(&text).unwrap();
        assert_eq!(*key.to_text(), text_of([0xab; 32]));
    }
}

#[test]
fn damaged_key_file_is_refused() {
    let text = text_of([0xab; 32]);
    let mut damaged: Vec<String> = (0..text.len() - 1).map(|n| text[..n].to_owned()).collect();
    damaged.extend([
        format!("{text}\n"),
        format!("{text}x"),
        format!(" {text}"),
        text.replace("1\n", "1\n\n"),
        text.replacen('a', "g", 1),
        text.replace("chartlock key", "some other key"),
        text.replace('\n', "\n\n"),
    ]);
    // Change each digit of the secret and of the check value in turn.
    for offset in (21..85).chain(86..94) {
        let mut bytes = text.clone().into_bytes();
        bytes[offset] = if bytes[offset] == b'0' { b'1' } else { b'0' };
        damaged.push(String::from_utf8(bytes).unwrap());
    }
    for text in damaged {
        let error = KeyFile::from_text(&text).unwrap_err();
        // A text that ends before the version number could belong to a later version.
        let cut = text == "chartlock key file ";
        let expected = if cut {
            Error::Unsupported
        } else {
            Error::BadKeyFile
        };
        assert_eq!(error, expected, "{text:?}");
    }
    let later = text.replace("file 1", "file 2");
    assert_eq!(KeyFile::from_text(&later).unwrap_err(), Error::Unsupported);
}

#[test]
fn key_file_too_long_or_binary_is_refused() {
    let (directory, path) = scratch();
    KeyFile::create(&path).unwrap();
    for content in [vec![0xff; 95], vec![b'a'; 1 << 20], Vec::new()] {
        fs::write(&path, content).unwrap();
        assert_eq!(KeyFile::open(&path).unwrap_err(), Error::BadKeyFile);
    }
    let long = text_of([0xab; 32]) + "\n";
    for text in [long.replace('\n', "\r\n"), long + &"x".repeat(1000)] {
        fs::write(&path, text).unwrap();
        assert_eq!(KeyFile::open(&path).unwrap_err(), Error::BadKeyFile);
    }
    let crlf = text_of([0xab; 32]).replace('\n', "\r\n");
    fs::write(&path, crlf).unwrap();
    KeyFile::open(&path).unwrap();
    let none = KeyFile::open(directory.path().join("none")).unwrap_err();
    assert_eq!(none, Error::KeyFile(std::io::ErrorKind::NotFound));
    assert_eq!(
        KeyFile::open(directory.path()).unwrap_err(),
        Error::BadKeyFile
    );
}

#[test]
fn key_file_creation_never_overwrites() {
    let (_directory, path) = scratch();
    KeyFile::create(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let again = KeyFile::create(&path).unwrap_err();
    assert_eq!(again, Error::KeyFile(std::io::ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn key_file_without_directory_is_in_working_directory() {
    // Tests run in the directory that contains `tests`. Creation must fail, because `tests` exists.
    let created = KeyFile::create("tests").unwrap_err();
    assert_eq!(created, Error::KeyFile(std::io::ErrorKind::AlreadyExists));
}

#[cfg(unix)]
#[test]
fn key_file_readable_by_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = scratch();
    KeyFile::create(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for exposed in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
        let refused = KeyFile::open(&path).unwrap_err();
        assert_eq!(refused, Error::KeyFileExposed, "{exposed:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    KeyFile::open(&path).unwrap();
}

#[test]
fn key_file_beside_data_is_refused() {
    let (directory, beside) = scratch();
    let deep = directory.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let deep = deep.join("clinic.key");
    KeyFile::create(&beside).unwrap();
    // Create the storage beside an existing key file.
    mark(directory.path());
    let opened = KeyFile::open(&beside).unwrap_err();
    assert_eq!(opened, Error::KeyFileBesideData);
    let created = KeyFile::create(&deep).unwrap_err();
    assert_eq!(created, Error::KeyFileBesideData);
    assert!(!deep.exists());
    let allowed = KeyFileOptions::new().allow_beside_data();
    allowed.open(&beside).unwrap();
    allowed.create(&deep).unwrap();
}

#[cfg(unix)]
#[test]
fn symlink_to_key_file_beside_data_is_refused() {
    let (data, hidden) = scratch();
    mark(data.path());
    let allowed = KeyFileOptions::new().allow_beside_data();
    allowed.create(&hidden).unwrap();
    let (_elsewhere, link) = scratch();
    std::os::unix::fs::symlink(&hidden, &link).unwrap();
    assert_eq!(KeyFile::open(&link).unwrap_err(), Error::KeyFileBesideData);
}

#[test]
fn key_file_beside_foreign_readme_is_accepted() {
    let (directory, path) = scratch();
    for text in ["chartlock is nice", "", "chartlock stor"] {
        fs::write(directory.path().join("READ-ME-FIRST"), text).unwrap();
        KeyFile::create(&path).unwrap();
        KeyFile::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }
}
