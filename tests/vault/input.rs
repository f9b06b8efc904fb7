//! Invalid input: each case returns a typed error and leaves the storage unchanged.

use chartlock::access::Reason;
use chartlock::input::{InputFault, InputField};
use chartlock::keys::Credential;
use chartlock::storage::{FaultAction, FaultPoint, StorageError};
use chartlock::{Actor, CipherSuite, Error, Precondition, RecordId, Subject, Vault};

use crate::common::invalid::{invalid_id, invalid_id_text, invalid_metadata};
use crate::common::{Fixed, passphrase};
use crate::model::{small_clinic, smaller_clinic};
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    hostile_names_are_stored_like_any_other,
    hidden_characters_in_reasons_and_actors_are_refused,
    open_with_wrong_credential_is_refused,
    open_without_vault_and_create_over_vault_are_refused,
    open_with_damaged_header_is_refused,
    objects_of_unknown_classes_are_preserved,
    locked_vault_refuses_every_operation,
    put_on_failing_storage_returns_the_storage_error,
);

#[test]
fn names_beyond_limits_return_invalid_id() {
    let long = |bytes: usize| "n".repeat(bytes);
    let refused = [
        "",
        "\0",
        "a\0b",
        "a\nb",
        "\r",
        "\u{7f}",
        "\u{85}",
        "tab\t",
        "\u{1b}[31m",
    ];
    for text in refused
        .iter()
        .map(|text| (*text).to_owned())
        .chain([long(1025)])
    {
        let invalid = |field| Some(invalid_id_text(field, &text));
        let identifier = invalid(InputField::Identifier);
        assert_eq!(Subject::patient(&text).err(), identifier);
        assert_eq!(Subject::organization(&text).err(), identifier);
        assert_eq!(RecordId::patient(&text, "name").err(), identifier);
        let name = RecordId::patient("MRN-1", &text).err();
        assert_eq!(name, invalid(InputField::RecordName));
        assert_eq!(Actor::new(&text).err(), invalid(InputField::Actor));
    }
    // The limit counts bytes, not characters.
    let too_long = |field, length| Some(invalid_id(field, InputFault::TooLong { length }));
    for (longest, longer) in [(long(255), long(256)), ("é".repeat(127), "é".repeat(128))] {
        assert!(Subject::patient(&longest).is_ok() && Actor::new(&longest).is_ok());
        let identifier = Subject::patient(&longer).err();
        assert_eq!(identifier, too_long(InputField::Identifier, 256));
        let actor = Actor::new(&longer).err();
        assert_eq!(actor, too_long(InputField::Actor, 256));
    }
    assert!(RecordId::patient("MRN-1", &long(1024)).is_ok());
    let name = RecordId::patient("MRN-1", &long(1025)).err();
    assert_eq!(name, too_long(InputField::RecordName, 1025));
}

#[test]
fn invisible_names_return_invalid_id() {
    let invisible = [
        " ",
        "  ",
        "\u{a0}",
        "\u{ad}",
        "\u{61c}",
        "\u{180e}",
        "\u{2003}\u{3000}",
        "\u{200b}",
        "\u{200d}",
        "\u{202e}",
        "\u{2066} \u{2069}",
        "\u{2060}",
        "\u{2800}",
        "\u{3164}",
        "\u{fe0f}",
        "\u{feff}",
        "\u{e0020}",
    ];
    for text in invisible {
        let invalid = |field| Some(invalid_id(field, InputFault::OnlyInvisible));
        let identifier = invalid(InputField::Identifier);
        assert_eq!(Subject::patient(text).err(), identifier, "{text:?}");
        assert_eq!(Subject::organization(text).err(), identifier, "{text:?}");
        let name = RecordId::patient("MRN-1", text).err();
        assert_eq!(name, invalid(InputField::RecordName), "{text:?}");
        assert!(Actor::new(text).is_err(), "{text:?}");
        for visible in [format!("1{text}"), format!("{text}\u{301}")] {
            RecordId::patient(&visible, &visible).unwrap();
        }
    }
    let blank = invalid_id(InputField::Actor, InputFault::OnlyInvisible);
    assert_eq!(Actor::new("  ").err(), Some(blank));
}

#[test]
fn errors_of_input_name_field_limit_and_length() {
    let text = |field, fault| invalid_id(field, fault).to_string();
    let long = InputFault::TooLong { length: 1500 };
    assert_eq!(
        text(InputField::RecordName, long),
        "the record name has 1500 bytes, more than the limit of 1024; shorten it"
    );
    assert_eq!(
        text(InputField::Actor, InputFault::Empty),
        "the name of the actor is empty; use 1 to 255 bytes"
    );
    assert_eq!(
        text(InputField::Holds, InputFault::TooMany { count: 65 }),
        "the list of legal holds has 65 items, more than the limit of 64; use fewer"
    );
}

fn hidden_characters_in_reasons_and_actors_are_refused(_: &Stage) {
    let ranges = [
        0x061c..=0x061c,
        0x200b..=0x200f,
        0x2028..=0x202e,
        0x2060..=0x206f,
        0xfeff..=0xfeff,
    ];
    for character in ranges.into_iter().flatten() {
        let character = char::from_u32(character).unwrap();
        let text = format!("dr.garcia{character}");
        let hidden = InputFault::HiddenCharacter { position: 9 };
        let actor = Actor::new(&text).err();
        let invalid = invalid_id(InputField::Actor, hidden);
        assert_eq!(actor, Some(invalid), "{text:?}");
        let is_joiner = matches!(character, '\u{200c}' | '\u{200d}');
        let invalid = invalid_metadata(InputField::Reason, hidden);
        let reason = Reason::new(&text).err();
        assert_eq!(reason, Some(invalid).filter(|_| !is_joiner), "{text:?}");
    }
    for text in ["Müller-Lüdenscheidt", "山田", "عمر", "e\u{301}", "👩"] {
        assert!(Actor::new(text).is_ok() && Reason::new(text).is_ok());
    }
}

fn hostile_names_are_stored_like_any_other(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let (identifier, name) = ("i".repeat(255), "n".repeat(1024));
    let hostile = [
        "../../../etc/passwd",
        "..",
        ".",
        "/",
        "C:\\con",
        "a/b",
        "%00",
        "' OR 1=1 --",
        "\u{202e}gnp.exe",
        "\u{200b}1",
        "1\u{feff}",
        "e\u{301}\u{301}\u{301}",
        "👩‍⚕️",
        " 1",
        "1  ",
        "null",
        "v",
        "p",
        "r",
        &identifier,
    ];
    for (index, text) in hostile.iter().enumerate() {
        let id = record(text, text);
        assert_eq!(session.put(&id, &[index as u8]), Ok(1));
    }
    for (index, text) in hostile.iter().enumerate() {
        assert_eq!(
            session.get(&record(text, text)).unwrap().unwrap()[..],
            [index as u8]
        );
        let names = session.list(&subject(text)).unwrap();
        let names: Vec<_> = names.map(|info| info.unwrap().name().to_owned()).collect();
        assert_eq!(names, [*text]);
    }
    assert_eq!(session.put(&record("MRN-1", &name), b"x"), Ok(1));
    assert_eq!(session.subjects().unwrap().count(), hostile.len() + 1);
    // No key contains any of the names: each key is a class letter and one or two 16-byte tags.
    for key in raw::objects(&stage.storage)
        .keys()
        .filter(|key| key[..] != b"v"[..])
    {
        assert!(matches!((key[0], key.len()), (b'p', 17) | (b'r', 33)));
    }
}

fn open_with_wrong_credential_is_refused(stage: &Stage) {
    let right = passphrase("right");
    let vault = stage.options().create(stage.shared(), &right).unwrap();
    smaller_clinic(&vault);
    let before = raw::objects(&stage.storage);
    let open = |credential: &dyn Credential| stage.options().open(stage.shared(), credential);
    assert_eq!(open(&passphrase("wrong")).unwrap_err(), Error::WrongKey);
    assert_eq!(open(&passphrase("Right")).unwrap_err(), Error::WrongKey);
    assert_eq!(open(&Fixed(1)).unwrap_err(), Error::NoSlotOfKind);
    assert_eq!(open(&passphrase("")).unwrap_err(), Error::InvalidPassphrase);
    let long = "p".repeat(1025);
    assert_eq!(
        open(&passphrase(long)).unwrap_err(),
        Error::InvalidPassphrase
    );
    assert!(raw::objects(&stage.storage) == before);
    assert!(open(&right).is_ok());
    assert!(
        raw::objects(&stage.storage) == before,
        "open wrote to the storage"
    );
}

fn open_without_vault_and_create_over_vault_are_refused(stage: &Stage) {
    let open = || stage.options().open(stage.shared(), &Fixed(1));
    let create = |credential: &dyn Credential| stage.options().create(stage.shared(), credential);
    assert_eq!(open().unwrap_err(), Error::NoVault);
    assert_eq!(
        create(&passphrase("")).unwrap_err(),
        Error::InvalidPassphrase
    );
    assert!(raw::objects(&stage.storage).is_empty());
    let model = smaller_clinic(&create(&Fixed(1)).unwrap());
    let before = raw::objects(&stage.storage);
    assert_eq!(create(&Fixed(1)).unwrap_err(), Error::NotEmpty);
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&open().unwrap());
    // Creation is refused even if only the header is missing.
    raw::delete(&stage.storage, b"v");
    assert_eq!(create(&Fixed(1)).unwrap_err(), Error::NotEmpty);
    assert_eq!(open().unwrap_err(), Error::NoVault);
}

fn open_with_damaged_header_is_refused(stage: &Stage) {
    let right = passphrase("right");
    let model = smaller_clinic(&stage.options().create(stage.shared(), &right).unwrap());
    let header = raw::header_value(&stage.storage);
    let open = |value: &[u8]| {
        raw::put(&stage.storage, b"v", value);
        let before = raw::objects(&stage.storage);
        let error = stage.options().open(stage.shared(), &right).unwrap_err();
        assert!(raw::objects(&stage.storage) == before);
        error
    };
    for length in (0..header.len()).step_by(stage.stride) {
        assert_eq!(open(&header[..length]), Error::Malformed);
    }
    assert_eq!(open(&[&header[..], b"\0"].concat()), Error::Malformed);
    for garbage in [&[0; 400][..], &[0xff; 400], b"PK\x03\x04", &content(1, 700)] {
        assert_eq!(open(garbage), Error::Malformed);
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut altered = header.clone();
        altered[at..at + bytes.len()].copy_from_slice(bytes);
        altered
    };
    assert_eq!(
        open(&with(8, &[2, 0])),
        Error::Unsupported,
        "a newer format"
    );
    assert_eq!(open(&with(10, &[9])), Error::Unsupported, "a newer suite");
    // The slot begins at byte 36 with kind, id and length, then memory, passes and lanes. The vault
    // must reject costs outside the limits before any key derivation, which would take a terabyte
    // or years.
    let planted = [
        (44, u32::MAX),
        (44, 0),
        (44, 8 * 1024 - 1),
        (44, 1024 * 1024 + 1),
        (48, 0),
        (48, 17),
        (48, u32::MAX),
        (52, 0),
        (52, 17),
        (52, u32::MAX),
    ];
    for (at, number) in planted {
        assert_eq!(open(&with(at, &number.to_le_bytes())), Error::WrongKey);
    }
    raw::put(&stage.storage, b"v", &header);
    model.verify(&stage.options().open(stage.shared(), &right).unwrap());
}

fn objects_of_unknown_classes_are_preserved(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    // The format reserves these classes; the vault must keep their objects.
    let free: Vec<_> = b"xqgalj".iter().map(|class| vec![*class; 33]).collect();
    for key in &free {
        raw::put(&stage.storage, key, b"of a newer release");
    }
    model.verify(&vault);
    assert_eq!(vault.rotate_master_key().unwrap().entries_blocking, 0);
    assert_eq!(vault.reencrypt().unwrap().blocking, 0);
    session_on(&vault)
        .erase_subject(&subject("MRN-2"), "asked for")
        .unwrap();
    let after = raw::all_objects(&stage.storage);
    assert!(free.iter().all(|key| after[key] == b"of a newer release"));
}

fn locked_vault_refuses_every_operation(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/amended");
    let patient = subject("MRN-1");
    session.get(&id).unwrap();
    let listing = session.list(&patient).unwrap();
    vault.lock();
    let before = raw::objects(&stage.storage);
    let locked = Error::Locked;
    assert_eq!(session.get(&id).unwrap_err(), locked);
    assert_eq!(session.get_version(&id, 1).unwrap_err(), locked);
    assert_eq!(session.history(&id).unwrap_err(), locked);
    assert_eq!(
        session.list(&patient).map(Iterator::count).unwrap_err(),
        locked
    );
    assert_eq!(session.subjects().map(Iterator::count).unwrap_err(), locked);
    assert_eq!(session.put(&id, b"x"), Err(locked.clone()));
    assert_eq!(
        session.put_if(&id, Precondition::Absent, b"x"),
        Err(locked.clone())
    );
    assert_eq!(
        session.put_many([(&id, b"x".into())]).unwrap(),
        [Err(locked.clone())]
    );
    assert_eq!(session.retract(&id), Err(locked.clone()));
    assert_eq!(
        session.erase_subject(&patient, "asked for"),
        Err(locked.clone())
    );
    assert_eq!(session.reopen_chart(&patient), Err(locked.clone()));
    assert_eq!(
        session.place_hold(&patient, "subpoena"),
        Err(locked.clone())
    );
    assert_eq!(session.lift_hold(&patient, 7), Err(locked.clone()));
    assert_eq!(session.holds(&patient), Err(locked.clone()));
    assert_eq!(session.retain_until(&patient, None), Err(locked.clone()));
    assert_eq!(session.retained_until(&patient), Err(locked.clone()));
    assert_eq!(vault.rotate_master_key().unwrap_err(), locked);
    assert_eq!(vault.rotate_subject_key(&patient).unwrap_err(), locked);
    assert_eq!(vault.reencrypt().unwrap_err(), locked);
    assert_eq!(vault.destroy_master_key(1).unwrap_err(), locked);
    assert_eq!(vault.key_usage().unwrap_err(), locked);
    assert_eq!(vault.slots().unwrap_err(), locked);
    assert_eq!(vault.add_slot(&Fixed(2)).unwrap_err(), locked);
    assert_eq!(vault.add_auditor_slot(&Fixed(2)).unwrap_err(), locked);
    assert_eq!(
        vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap_err(),
        locked
    );
    assert_eq!(vault.recovery_kit().unwrap_err(), locked);
    drop(listing);
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&stage.open());
}

/// Makes each commit fail as on a full, read-only or broken storage. The error must report the
/// cause, and stored records must stay readable.
fn put_on_failing_storage_returns_the_storage_error(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let refusals = [
        StorageError::Full,
        StorageError::Denied,
        StorageError::Io(std::io::ErrorKind::Other),
    ];
    for (refusal, nth) in refusals.into_iter().zip([0, 1, 2]) {
        for body in [&b"small"[..], &content(1, 70_000)] {
            raw::reset(&stage.storage, &before);
            let commits = std::sync::atomic::AtomicU64::new(0);
            let (vault, _) = stage.open_with(move |_, point| match point {
                FaultPoint::Commit(_)
                    if commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= nth =>
                {
                    FaultAction::Fail(refusal)
                }
                _ => FaultAction::Proceed,
            });
            let id = record("MRN-1", "Observation/amended");
            match session_on(&vault).put(&id, body) {
                Err(error) => assert_eq!(error, Error::Storage(refusal)),
                // The put made fewer commits, so no fault occurred.
                Ok(version) => assert_eq!(version, 4),
            }
            let vault = stage.open();
            let now = session_on(&vault).get(&id).unwrap().unwrap();
            let expected = model.0[&id].last().unwrap().as_deref().unwrap();
            assert!(now[..] == *expected || (now[..] == *body && now.version() == 4));
            assert_eq!(session_on(&vault).put(&id, b"later"), Ok(now.version() + 1));
        }
    }
}

#[test]
fn open_with_other_cipher_suite_keeps_stored_suite() {
    let stage = Stage::memory();
    let model = small_clinic(&stage.create());
    let other = stage.options().cipher_suite(CipherSuite::ChaCha20Poly1305);
    let vault = stage.open_by(other);
    model.verify(&vault);
    session_on(&vault).put(&record("MRN-9", "x"), b"x").unwrap();
    for value in raw::objects_of(&stage.storage, b"r").values() {
        assert_eq!(value[1], CipherSuite::Aes256Gcm.code());
    }
    let _: Vault = vault;
}
