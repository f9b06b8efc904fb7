//! Passphrase credentials, tested with the minimum cost of key stretching.

use chartlock::Error;
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{Cost, Credential, Passphrase, SlotContext};

use crate::common::passphrase::{LEAST, passphrase};
use crate::fixtures::*;

fn context() -> SlotContext {
    SlotContext::new([1; 16], 1, 2, SUITES[0])
}

#[test]
fn header_opens_only_with_its_passphrase() {
    for suite in SUITES {
        let keyring = Keyring::new(NOW).unwrap();
        let (value, _) = Header::create(suite, &keyring, &passphrase("staple")).unwrap();
        let header = Header::parse(&value).unwrap();
        assert_eq!(header.slots()[0].kind, 1);
        // The cost in the slot must apply instead of the credential's cost.
        header.unlock(&Passphrase::new("staple")).unwrap();
        for wrong in ["stapl", "staple ", "Staple", "staplé"] {
            let error = header.unlock(&Passphrase::new(wrong)).unwrap_err();
            assert_eq!(error, Error::WrongKey);
        }
    }
}

#[test]
fn passphrase_is_not_unicode_normalized() {
    let (parameters, composed) = passphrase("\u{e9}").enrol(&context()).unwrap();
    let decomposed = passphrase("e\u{301}")
        .secret(&parameters, &context())
        .unwrap();
    assert_ne!(composed.expose(), decomposed.unwrap().expose());
}

#[test]
fn slot_secret_equals_argon2id_of_passphrase_and_salt() {
    let (parameters, secret) = passphrase("staple").enrol(&context()).unwrap();
    assert_eq!(parameters.len(), 44);
    assert_eq!(parameters[..12], [0, 0x20, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    let salt = parameters[12..].try_into().unwrap();
    let mut expected = [0; 32];
    chartlock::internals::crypto::argon2id(b"staple", salt, LEAST, &mut expected).unwrap();
    assert_eq!(secret.expose(), &expected);
    // Every slot must have its own salt, even for the same passphrase.
    let (again, _) = passphrase("staple").enrol(&context()).unwrap();
    assert_ne!(parameters[12..], again[12..]);
}

#[test]
fn passphrase_outside_1_to_1024_bytes_is_refused() {
    let keyring = Keyring::new(NOW).unwrap();
    let (value, _) = Header::create(SUITES[0], &keyring, &passphrase("x")).unwrap();
    let header = Header::parse(&value).unwrap();
    for wrong in [String::new(), "x".repeat(1025)] {
        let created = Header::create(SUITES[0], &keyring, &passphrase(wrong.as_str()));
        assert_eq!(created.unwrap_err(), Error::InvalidPassphrase);
        let unlocked = header.unlock(&passphrase(wrong.as_str()));
        assert_eq!(unlocked.unwrap_err(), Error::InvalidPassphrase);
    }
    passphrase("x".repeat(1024)).enrol(&context()).unwrap();
}

#[test]
fn new_passphrase_slot_has_default_cost() {
    let (old, _) = passphrase("staple").enrol(&context()).unwrap();
    let opened = Passphrase::new("staple").allow_weak();
    opened.secret(&old, &context()).unwrap().unwrap();
    let (parameters, _) = opened.enrol(&context()).unwrap();
    assert_eq!(parameters[..12], [0, 0, 1, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
}

#[test]
fn passphrase_cost_out_of_bounds_is_refused() {
    for cost in [
        Cost {
            memory_kib: 8 * 1024 - 1,
            ..LEAST
        },
        Cost { passes: 0, ..LEAST },
        Cost { lanes: 17, ..LEAST },
    ] {
        let refused = Passphrase::new("staple")
            .with_cost(cost)
            .allow_weak()
            .enrol(&context());
        assert_eq!(refused.unwrap_err(), Error::Stretching);
    }
}

#[test]
fn passphrase_cost_within_bounds_is_accepted() {
    let gib = 1024 * 1024;
    for (memory_kib, passes, lanes) in [(8 * 1024, 16, 16), (gib, 1, 1), (gib, 4, 16)] {
        let cost = Cost {
            memory_kib,
            passes,
            lanes,
        };
        assert_eq!(cost.checked(), Ok(cost));
        let above = Cost {
            memory_kib: memory_kib + 1,
            passes: 4,
            ..cost
        };
        assert_eq!(above.checked().is_ok(), memory_kib < gib);
    }
}

#[test]
fn planted_passphrase_cost_is_rejected_before_derivation() {
    let keyring = Keyring::new(NOW).unwrap();
    let (planted, root) = Header::create(SUITES[0], &keyring, &passphrase("staple")).unwrap();
    let mut header = Header::parse(&planted).unwrap();
    let second = header.add_slot(&root, &passphrase("staple"), None).unwrap();
    let value = header.sealed_with(&root, &keyring, 2).unwrap();
    let gib = 1024 * 1024;
    for (memory, passes, lanes) in [
        (0, 1, 1),
        (8 * 1024 - 1, 1, 1),
        (gib + 1, 1, 1),
        (u32::MAX, 1, 1),
        (8 * 1024, 0, 1),
        (8 * 1024, 17, 1),
        (8 * 1024, u32::MAX, 1),
        (8 * 1024, 1, 0),
        (8 * 1024, 1, 17),
        (8 * 1024, 1, u32::MAX),
        // Each parameter is in bounds, but the total work exceeds 4 GiB.
        (gib, 5, 1),
    ] {
        // Alter the parameters of the first slot, which follow the header's fixed part and the
        // slot's head.
        let mut altered = value.clone();
        for (n, number) in [memory, passes, lanes].into_iter().enumerate() {
            altered[44 + 4 * n..48 + 4 * n].copy_from_slice(&u32::to_le_bytes(number));
        }
        // The second slot opens, but the keyring's commitment then detects the change in the first
        // slot.
        let header = Header::parse(&altered).unwrap();
        let error = header.unlock(&Passphrase::new("staple")).unwrap_err();
        assert_eq!(error, Error::HeaderDamaged);
        // Without the second slot, no slot opens.
        let mut alone = header.clone();
        alone.remove_slot(second).unwrap();
        let error = alone.unlock(&Passphrase::new("staple")).unwrap_err();
        assert_eq!(error, Error::WrongKey);
        // After resealing with the altered slot, the header opens through the second slot.
        let sealed = header.sealed_with(&root, &keyring, 3).unwrap();
        let header = Header::parse(&sealed).unwrap();
        let opened = header.unlock(&Passphrase::new("staple")).unwrap().slot;
        assert_eq!(opened, second);
    }
    for length in [0, 43, 45] {
        let none = passphrase("staple").secret(&vec![1; length], &context());
        assert!(none.unwrap().is_none());
    }
}

#[test]
fn new_passphrase_needs_15_characters() {
    let created = |words: &str| Passphrase::new(words).with_cost(LEAST).enrol(&context());
    // 14 characters in 56 bytes, then 15 characters. Neither is easy to guess.
    assert_eq!(
        created(&"🦉".repeat(14)).map(drop),
        Err(Error::WeakPassphrase)
    );
    assert!(created("vR8#qLw2!tZ9$k").is_err());
    assert!(created("vR8#qLw2!tZ9$kM").is_ok());
    // An existing slot opens with the passphrase that it has.
    let (parameters, _) = passphrase("short").enrol(&context()).unwrap();
    let opened = Passphrase::new("short").secret(&parameters, &context());
    assert!(opened.unwrap().is_some());
}

#[cfg(feature = "strength")]
#[test]
fn new_passphrase_that_is_easy_to_guess_is_refused() {
    for weak in [
        "passwordpassword",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "123456789012345678",
        "qwertyuiopasdfgh",
    ] {
        let created = Passphrase::new(weak).with_cost(LEAST).enrol(&context());
        assert_eq!(created.map(drop), Err(Error::WeakPassphrase), "{weak}");
        Passphrase::new(weak)
            .with_cost(LEAST)
            .allow_weak()
            .enrol(&context())
            .unwrap();
    }
    for strong in ["correct horse battery staple", "what we remember this year"] {
        Passphrase::new(strong)
            .with_cost(LEAST)
            .enrol(&context())
            .unwrap();
    }
}

#[test]
fn passphrase_is_read_without_one_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passphrase");
    let write = |content: &[u8], mode: u32| {
        std::fs::write(&path, content).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
        let _ = mode;
    };
    let (parameters, expected) = passphrase("staple").enrol(&context()).unwrap();
    let secret_of = |read: Result<Passphrase, Error>| {
        let secret = read
            .unwrap()
            .secret(&parameters, &context())
            .unwrap()
            .unwrap();
        *secret.expose()
    };
    for content in ["staple", "staple\n", "staple\r\n"] {
        write(content.as_bytes(), 0o600);
        assert_eq!(&secret_of(Passphrase::from_file(&path)), expected.expose());
    }
    for other in ["staple\n\n", "staple ", "\nstaple"] {
        write(other.as_bytes(), 0o600);
        assert_ne!(&secret_of(Passphrase::from_file(&path)), expected.expose());
    }
    let refused = |read: Result<Passphrase, Error>| read.unwrap_err();
    for invalid in [&b""[..], b"\n", &[b'x'; 1025], &[b'x'; 5000]] {
        write(invalid, 0o600);
        assert_eq!(
            refused(Passphrase::from_file(&path)),
            Error::InvalidPassphrase
        );
    }
    write(&[b'x'; 1024], 0o600);
    Passphrase::from_file(&path).unwrap();
    if cfg!(unix) {
        write(b"staple", 0o440);
        assert_eq!(refused(Passphrase::from_file(&path)), Error::KeyFileExposed);
        assert_eq!(
            &secret_of(Passphrase::from_group_file(&path)),
            expected.expose()
        );
        for exposed in [0o444, 0o460, 0o640 | 0o001, 0o604] {
            write(b"staple", exposed);
            assert_eq!(
                refused(Passphrase::from_group_file(&path)),
                Error::KeyFileExposed
            );
        }
    }
    let missing = Passphrase::from_file(directory.path().join("missing"));
    assert_eq!(
        refused(missing),
        Error::KeyFile(std::io::ErrorKind::NotFound)
    );
    let of_a_directory = Passphrase::from_file(directory.path());
    assert_eq!(
        refused(of_a_directory),
        Error::KeyFile(std::io::ErrorKind::InvalidInput)
    );
    let unset = Passphrase::from_env("CHARTLOCK_TEST_NO_SUCH_VARIABLE");
    assert_eq!(refused(unset), Error::KeyFile(std::io::ErrorKind::NotFound));
}

/// The name of the variable that the child below reads.
const VARIABLE: &str = "CHARTLOCK_TEST_PASSPHRASE";

#[cfg(unix)]
#[test]
fn passphrase_comes_from_variable_and_systemd_credential() {
    use crate::common::child::{assert_success, child, directory_from_parent};
    if let Some(directory) = directory_from_parent() {
        let (parameters, expected) = passphrase("staple").enrol(&context()).unwrap();
        for read in [
            Passphrase::from_env(VARIABLE),
            Passphrase::from_systemd_credential("vault"),
        ] {
            let secret = read
                .unwrap()
                .secret(&parameters, &context())
                .unwrap()
                .unwrap();
            assert_eq!(secret.expose(), expected.expose());
        }
        for name in ["../vault", "", "/etc/passwd", ".."] {
            let read = Passphrase::from_systemd_credential(name).unwrap_err();
            assert_eq!(read, Error::KeyFile(std::io::ErrorKind::InvalidInput));
        }
        drop(directory);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    std::fs::write(&path, "staple\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    let name = "passphrase::passphrase_comes_from_variable_and_systemd_credential";
    let mut command = child(name, directory.path());
    command
        .env(VARIABLE, "staple\n")
        .env("CREDENTIALS_DIRECTORY", directory.path());
    assert_success(command);
}
