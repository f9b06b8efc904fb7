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

/// Writes the readme by which a directory is recognized as a [`FileStorage`].
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
        format!("\u{feff}{text}"),
        format!("{text}\n"),
        format!("{text} \t\r\n"),
        text.replace('\n', " \n"),
        text.replacen('\n', "  \t\n", 1),
        format!("\u{feff}{}\r\n", text.replace('\n', " \r\n")),
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
        format!("{text}\n\n"),
        format!("{text}x"),
        format!("{text}\nx"),
        format!(" {text}"),
        format!("\u{feff}\u{feff}{text}"),
        format!("{text}{}", " ".repeat(1024)),
        text.replace('\n', " x\n"),
        text.replace("file 1", "file 1 2"),
        text.replace("file 1", "file 01"),
        text.replace("file 1", "file 0"),
        text.replace("file 1", "file two"),
        text.replace("file 1", "file -2"),
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
        assert_eq!(error, Error::BadKeyFile, "{text:?}");
    }
}

#[test]
fn key_file_of_later_format_is_unsupported() {
    let text = text_of([0xab; 32]);
    for number in ["2", "2 ", "9\t\r", "10", "4294967296000000000000"] {
        let later = text.replace("file 1", &format!("file {number}"));
        for later in [format!("\u{feff}{later}"), later] {
            assert_eq!(KeyFile::from_text(&later).unwrap_err(), Error::Unsupported);
        }
    }
    let title = "chartlock key file 2";
    assert_eq!(KeyFile::from_text(title).unwrap_err(), Error::Unsupported);
}

#[test]
fn key_file_too_long_or_binary_is_refused() {
    let (directory, path) = scratch();
    KeyFile::create(&path).unwrap();
    for content in [vec![0xff; 95], vec![b'a'; 1 << 20], Vec::new()] {
        fs::write(&path, content).unwrap();
        assert_eq!(KeyFile::open(&path).unwrap_err(), Error::BadKeyFile);
    }
    let long = text_of([0xab; 32]) + "\n\n";
    for text in [long.replace('\n', "\r\n"), long + &"x".repeat(1000)] {
        fs::write(&path, text).unwrap();
        assert_eq!(KeyFile::open(&path).unwrap_err(), Error::BadKeyFile);
    }
    let crlf = text_of([0xab; 32]).replace('\n', "\r\n");
    let edited = format!("\u{feff}{}\n", text_of([0xab; 32]).replace('\n', " \n"));
    for text in [crlf, edited] {
        fs::write(&path, text).unwrap();
        KeyFile::open(&path).unwrap();
    }
    let none = KeyFile::open(directory.path().join("none")).unwrap_err();
    assert_eq!(none, Error::KeyFile(std::io::ErrorKind::NotFound));
    assert_eq!(
        KeyFile::open(directory.path()).unwrap_err(),
        Error::KeyFile(std::io::ErrorKind::InvalidInput)
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
    // The tests run in the crate's root directory, where `tests` exists, so this call creates
    // nothing.
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
    // Simulate the creation of a storage beside an existing key file.
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
