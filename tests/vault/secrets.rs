//! Search of printed values for secrets: keys, passphrases, identifiers, names, actors, content and
//! paths.

use std::fmt::{Debug, Display};
use std::io::ErrorKind;

use chartlock::input::{InputFault, InputField};
use chartlock::internals::crypto::{NameKey, patient_tag};
use chartlock::internals::keys::open_entry;
use chartlock::keys::{
    Credential, CredentialFailure, KeyFile, ShareError, SlotContext, SlotSecret,
};
use chartlock::storage::{
    CommitError, FaultAction, Faulty, MemoryStorage, PerOperation, SplitStorage,
};
use chartlock::{
    CipherSuite, Document, Error, Precondition, Purpose, VaultOptions,
    progress::{Phase, ProgressUpdate},
    storage::{BackendCode, StorageError},
};

use crate::common::invalid::{invalid_id, invalid_metadata};
use crate::common::passphrase::LEAST;
use crate::common::{Fixed, actor, passphrase, record, session as session_on, subject};
use crate::raw;
use crate::stage::Stage;

const PASSPHRASE: &str = "planted passphrase kestrel";
const IDENTIFIER: &str = "planted-mrn-heron";
const NAME: &str = "planted/record/egret";
const ACTOR: &str = "planted.actor.osprey";
const CONTENT: &str = "planted content bittern";
const LABEL: &str = "planted label avocet";
const TYPE: &str = "planted/type-whimbrel";
const REASON: &str = "planted reason godwit";
const PATH: &str = "planted-directory-curlew";

/// Texts that must not be printed, in each form in which bytes are printed.
struct Planted(Vec<String>);

impl Planted {
    fn new() -> Self {
        let mut planted = Self(Vec::new());
        for text in [
            PASSPHRASE, IDENTIFIER, NAME, ACTOR, CONTENT, LABEL, TYPE, REASON, PATH,
        ] {
            planted.0.push(text.to_owned());
            planted.plant(text.as_bytes());
        }
        planted
    }

    /// Adds each group of six consecutive bytes, in hex and as a list of decimal numbers.
    fn plant(&mut self, secret: &[u8]) {
        for bytes in secret.chunks_exact(6) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let spaced: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
            self.0.extend([
                hex.to_uppercase(),
                hex,
                spaced.join(" "),
                numbers.join(", "),
            ]);
            self.0.extend([numbers.join(","), spaced.join(", 0x")]);
        }
    }

    fn debug(&self, what: &dyn Debug) {
        for text in [format!("{what:?}"), format!("{what:#?}").replace("\n", " ")] {
            // The alternate format prints each number of a list on a separate line.
            let lists = text.split_whitespace().collect::<Vec<_>>().join(" ");
            self.assert_absent(&text);
            self.assert_absent(&lists);
        }
    }

    fn display(&self, what: &dyn Display) {
        self.assert_absent(&what.to_string());
    }

    fn assert_absent(&self, text: &str) {
        for secret in &self.0 {
            assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        }
        assert!(!text.contains("planted"), "{text}");
    }
}

#[test]
#[should_panic(expected = "is in")]
fn secret_search_finds_printed_bytes() {
    let mut planted = Planted::new();
    planted.plant(&[0xa1; 32]);
    planted.debug(&vec![0xa1_u8; 32]);
}

#[test]
fn api_values_print_no_secret() {
    let planted = Planted::new();
    let stage = Stage::memory();
    let passphrase = passphrase(PASSPHRASE);
    planted.debug(&passphrase);
    let vault = stage.options().create(stage.shared(), &passphrase).unwrap();
    let actor = actor(ACTOR);
    planted.debug(&actor);
    let session = vault.session(actor, Purpose::Treatment);
    let id = record(IDENTIFIER, NAME);
    let subject = subject(IDENTIFIER);
    let document = Document::new(CONTENT).content_type(TYPE).label(LABEL);
    planted.debug(&document);
    planted.debug(&id);
    planted.debug(&subject);
    session.put(&id, document).unwrap();
    planted.debug(&vault);
    planted.debug(&session);
    let record = session.get(&id).unwrap().unwrap();
    planted.debug(&record);
    planted.debug(record.info());
    planted.debug(&session.history(&id).unwrap());
    planted.debug(&session.list(&subject).unwrap().collect::<Vec<_>>());
    let mut subjects = session.subjects().unwrap();
    planted.debug(&subjects.next());
    planted.debug(&vault.key_usage().unwrap());
    planted.debug(&vault.subject_key_usage(&subject).unwrap());
    planted.debug(&vault.slots().unwrap());
    planted.debug(&vault.recovery_kit().unwrap());
    planted.debug(&vault.rotate_subject_key(&subject).unwrap());
    planted.debug(&vault.reencrypt().unwrap());
    planted.debug(&vault.rotate_master_key().unwrap());
    planted.debug(&vault.rotate_root_key(&[&passphrase], &[]).unwrap());
    planted.debug(&session.put_many([(&id, Document::new(CONTENT))]).unwrap());
    let hold = session.place_hold(&subject, REASON).unwrap();
    planted.debug(&session.holds(&subject).unwrap());
    let refused = session.erase_subject(&subject, REASON).unwrap_err();
    planted.debug(&refused);
    planted.display(&refused);
    session.lift_hold(&subject, hold).unwrap();
    planted.debug(&session.erase_subject(&subject, REASON).unwrap());
    planted.debug(&VaultOptions::new());
    for other in [
        &Precondition::Version(1) as &dyn Debug,
        &Phase::Erasing,
        &ProgressUpdate {
            phase: Phase::Erasing,
            done: 1,
        },
        &Purpose::BreakTheGlass,
        &CipherSuite::Aes256Gcm,
        &LEAST,
    ] {
        planted.debug(other);
    }
    planted.display(&Phase::Waiting);
}

#[test]
fn storages_print_no_secret() {
    let planted = Planted::new();
    let full = |_: u64, _: &chartlock::storage::FaultPoint<'_>| FaultAction::Proceed;
    let memory = || {
        let storage = MemoryStorage::new();
        raw::put(&storage, IDENTIFIER.as_bytes(), CONTENT.as_bytes());
        storage
    };
    planted.debug(&memory());
    planted.debug(&PerOperation::new(memory()));
    planted.debug(&SplitStorage::new(memory(), memory()));
    planted.debug(&Faulty::new(memory(), full));
    #[cfg(feature = "file")]
    {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join(PATH);
        let storage = chartlock::storage::FileStorage::open(&directory).unwrap();
        planted.debug(&storage);
        let second = chartlock::storage::FileStorage::open(&directory).unwrap_err();
        planted.debug(&second);
        planted.display(&second);
        let nowhere = chartlock::storage::FileStorage::open(directory.join("v/\0")).unwrap_err();
        planted.debug(&nowhere);
    }
    planted.debug(&CommitError::Conflict { operation: 1 });
    planted.display(&CommitError::Unknown);
}

#[test]
fn key_files_print_no_secret() {
    let mut planted = Planted::new();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join(PATH);
    let file = KeyFile::create(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    planted.0.extend(text.lines().skip(1).map(str::to_owned));
    planted.debug(&file);
    let errors = [
        KeyFile::open(scratch.path().join(PATH).join("x")).unwrap_err(),
        KeyFile::create(&path).unwrap_err(),
    ];
    for error in &errors {
        planted.debug(error);
        planted.assert_absent(&error.to_string());
    }
}

#[test]
fn keys_print_no_secret() {
    let mut planted = Planted::new();
    let stage = Stage::memory();
    let vault = stage.create();
    let id = record(IDENTIFIER, NAME);
    session_on(&vault).put(&id, CONTENT).unwrap();
    let (header, _) = raw::header(&raw::header_value(&stage.storage), &Fixed(1));
    let unlocked = header.unlock(&Fixed(1)).unwrap();
    let keyring = &unlocked.keyring;
    planted.plant(unlocked.root.expose());
    planted.plant(keyring.active_master().key.expose());
    planted.plant(keyring.active_name_key().key.expose());
    planted.plant(keyring.active_journal_key().key.expose());
    let name_key: &NameKey = &keyring.active_name_key().key;
    let tag = patient_tag(name_key, id.subject().kind(), IDENTIFIER).unwrap();
    let value = &raw::objects_of(&stage.storage, b"p")[&[b"p", &tag[..]].concat()];
    let entry = open_entry(value, keyring, header.vault(), &tag).unwrap();
    let patient_chart = entry.chart().unwrap();
    planted.plant(patient_chart.name_key().expose());
    planted.plant(patient_chart.active_key().key.expose());
    let secret = SlotSecret::from_bytes(&[0xa1; 32]);
    planted.plant(secret.expose());
    for printed in [
        &unlocked as &dyn Debug,
        &unlocked.root,
        keyring,
        keyring.active_master(),
        name_key,
        keyring.active_journal_key(),
        &entry,
        patient_chart,
        patient_chart.active_key(),
        patient_chart.name_key(),
        &secret,
        &header,
        &vault,
    ] {
        planted.debug(printed);
    }
    let context = SlotContext::new([1; 16], 0x7001, 1, CipherSuite::default());
    let (parameters, secret) = Fixed(0xa1).enrol(&context).unwrap();
    planted.debug(&(context, secret));
    assert_eq!(parameters, [0xa1; 3]);
}

#[test]
fn errors_print_no_secret_and_state_next_step() {
    let planted = Planted::new();
    let errors = every_error();
    // The number of `#[error]` attributes shows that the list is complete. The attributes of `Storage`,
    // `Credential`, `Shares`, `InvalidId` and `InvalidMetadata` are counted in addition to those of their values.
    let attributes = [
        include_str!("../../src/error/mod.rs"),
        include_str!("../../src/error/storage.rs"),
        include_str!("../../src/error/credential.rs"),
        include_str!("../../src/error/share.rs"),
    ];
    let attributes = attributes.map(|file| file.matches("#[error(").count());
    let invalid = invalid_inputs();
    let others = errors.len() - invalid.len();
    assert_eq!(others + 5, attributes.iter().sum::<usize>());
    let faults = include_str!("../../src/error/invalid_input.rs");
    let faults = faults.matches("            InputFault::").count();
    // Two faults have a text for each of three fields.
    assert_eq!(invalid.len(), faults + 4);
    for error in &errors {
        planted.debug(error);
        planted.display(error);
        let text = error.to_string();
        // The next step follows a semicolon or a colon.
        assert!(text.contains([';', ':']), "{text} names no next step");
        assert!(!text.contains(std::path::MAIN_SEPARATOR), "{text}");
    }
    let mut texts: Vec<_> = errors.iter().map(Error::to_string).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), errors.len());
}

fn every_error() -> Vec<Error> {
    use Error::*;
    let storage = [
        StorageError::Io(ErrorKind::Other),
        StorageError::Full,
        StorageError::Denied,
        StorageError::ReadOnly,
        StorageError::UnfinishedBackup,
        StorageError::InUse,
        StorageError::Backend(BackendCode::Http(503)),
        StorageError::NotADirectory,
        StorageError::Foreign,
        StorageError::Layout,
        StorageError::NotEmpty,
        StorageError::TimedOut,
        StorageError::Unreachable,
        StorageError::Unsupported,
        StorageError::Damaged,
        StorageError::Forked,
        StorageError::Stopped,
        StorageError::TooLarge,
        StorageError::InvalidOptions,
        StorageError::NotMigrated,
    ];
    let own = [
        Malformed,
        Unsupported,
        UnknownMasterKey,
        UnknownPatientKey,
        NotAuthentic,
        WrongKey,
        HeaderDamaged,
        HeaderRolledBack,
        SegmentMissing,
        CurrentMissing,
        HistoryGap,
        NotEmpty,
        NoVault,
        HeaderPresent,
        ForeignKit,
        StaleKit,
        ForeignHeader,
        PlanOutdated,
        RecordRewritten,
        HasFindings,
        ArchiveDiffers,
        Locked,
        ReadOnly,
        RootKeyChanged,
        Conflict,
        Erased,
        UnknownSubject,
        UnknownRecord,
        OnHold,
        Retained,
        NoSuchHold,
        CommitUnknown,
        Contended,
        KeyInUse,
        NoSuchKey,
        Denied,
        NoFallback,
        SpoolIncomplete,
        Journal(StorageError::Full),
        BadCheckpoint,
        InvalidCursor,
        Cancelled,
        NoRuntime,
        ForeignCheckpoint,
        NoSuchSlot,
        AuditorSlot,
        LastSlot,
        TooManySlots,
        SlotsWouldBeLost,
        BadKeyFile,
        KeyFileExposed,
        KeyFileBesideData,
        KeyFile(ErrorKind::NotFound),
        InvalidPassphrase,
        WeakPassphrase,
        Credential(CredentialFailure::Unreachable),
        Credential(CredentialFailure::Denied),
        Credential(CredentialFailure::KeyGone),
        Credential(CredentialFailure::KeyExists),
        Credential(CredentialFailure::KeyVersionRetired),
        Credential(CredentialFailure::Locked),
        Credential(CredentialFailure::TimedOut),
        Credential(CredentialFailure::LogExposesSecrets),
        Credential(CredentialFailure::Other),
        InvalidCredential,
        InvalidCredentialSetting,
        Shares(ShareError::Bounds),
        Shares(ShareError::NotAShare { share: 1 }),
        Shares(ShareError::Mistyped {
            share: 1,
            group: None,
        }),
        Shares(ShareError::OtherSet { share: 1 }),
        Shares(ShareError::Repeated {
            first: 1,
            second: 2,
        }),
        Shares(ShareError::TooFew { missing: 1 }),
        Shares(ShareError::Inconsistent),
        NoSlotOfKind,
        TooLarge,
        BeyondLimit,
        Source(ErrorKind::NotFound),
        Archive(ErrorKind::NotFound),
        UploadExpired,
        Json,
        NotFinite,
        BadKit,
        NotErased,
        TooManyVersions,
        CounterExhausted,
        Randomness,
        Stretching,
    ];
    let others = own.into_iter().chain(storage.map(Storage));
    others.chain(invalid_inputs()).collect()
}

fn invalid_inputs() -> Vec<Error> {
    use InputFault::*;
    use InputField::*;
    let (length, count, position) = (2000, 65, 7);
    let ids = [
        (Identifier, Empty),
        (RecordName, TooLong { length }),
        (RecordName, OnlyInvisible),
        (Actor, HiddenCharacter { position }),
        (RecordPattern, InnerAsterisk { position }),
        (Subject, NotParsed),
        (RecordId, NotParsed),
    ];
    let metadata = [
        (Label, ControlCharacter { position }),
        (Holds, TooMany { count }),
        (ContentType, NotPrintableAscii { position }),
        (Rule, NeverMatches),
        (Purpose, NotParsed),
        (RetentionTime, OutOfRange),
        (ExpectedVersion, OutOfRange),
        (BreakGlassDuration, OutOfRange),
    ];
    let ids = ids.map(|(field, fault)| invalid_id(field, fault));
    let metadata = metadata.map(|(field, fault)| invalid_metadata(field, fault));
    ids.into_iter().chain(metadata).collect()
}
