//! Tests of two factors, of several credentials at opening, and of the drill.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chartlock::internals::journal::{Operation, Target};
use chartlock::keys::{
    Both, Credential, CredentialFailure, KeyFile, Labelled, Passphrase, SlotContext, SlotLabel,
    SlotSecret,
};
use chartlock::{Error, MemoryStorage, Vault};

use crate::common::journal::pages;
use crate::common::objects::value_of;
use crate::common::{Brittle, Fixed, passphrase};

type Shared = Arc<MemoryStorage>;

fn created(credential: &dyn Credential) -> (Shared, Vault) {
    let storage = Shared::default();
    let vault = Vault::create(Arc::clone(&storage), credential).unwrap();
    (storage, vault)
}

fn header_of(storage: &MemoryStorage) -> Vec<u8> {
    value_of(storage, b"v").unwrap().to_vec()
}

fn opened(storage: &Shared, credential: &dyn Credential) -> Result<(), Error> {
    Vault::open(Arc::clone(storage), credential).map(drop)
}

#[test]
fn two_factors_open_only_together_and_in_their_order() {
    let (words, other_words) = (passphrase("horse"), passphrase("staple"));
    let (file, other_file) = (KeyFile::random().unwrap(), KeyFile::random().unwrap());
    let both = Both::new(&file, &words);
    let (storage, _) = created(&both);
    assert_eq!(opened(&storage, &both), Ok(()));
    for alone in [&file as &dyn Credential, &words] {
        assert_eq!(opened(&storage, alone), Err(Error::NoSlotOfKind));
    }
    for wrong in [
        Both::new(&words, &file),
        Both::new(&file, &other_words),
        Both::new(&other_file, &words),
        Both::new(&file, &file),
        Both::new(&words, &words),
    ] {
        assert_eq!(opened(&storage, &wrong), Err(Error::WrongKey), "{wrong:?}");
    }
}

#[test]
fn swapped_factors_of_one_kind_return_wrong_key() {
    let (one, two) = (passphrase("one"), passphrase("two"));
    let (storage, _) = created(&Both::new(&one, &two));
    assert_eq!(opened(&storage, &Both::new(&one, &two)), Ok(()));
    assert_eq!(
        opened(&storage, &Both::new(&two, &one)),
        Err(Error::WrongKey)
    );
}

#[test]
fn two_factors_are_replaced_kept_and_removed_like_one() {
    let (words, file) = (passphrase("horse"), KeyFile::random().unwrap());
    let both = Both::new(&file, &words);
    let (storage, vault) = created(&Fixed(1));
    let label = SlotLabel::new("the director").unwrap();
    let slot = vault.add_slot(&Labelled::new(&both, label)).unwrap();
    vault.rotate_root_key(&[&Fixed(1), &both], &[]).unwrap();
    assert_eq!(opened(&storage, &both), Ok(()));
    let info = vault.try_credential(&both).unwrap();
    assert_eq!(
        (info.id, info.kind, info.label()),
        (slot, 4, Some("the director"))
    );

    let new_words = passphrase("staple");
    let renewed = Both::new(&file, &new_words);
    vault.replace_slot(slot, &renewed).unwrap();
    assert_eq!(opened(&storage, &both), Err(Error::WrongKey));
    assert_eq!(opened(&storage, &renewed), Ok(()));
    vault.remove_slot(slot).unwrap();
    assert_eq!(opened(&storage, &renewed), Err(Error::NoSlotOfKind));
}

#[test]
fn auditor_can_have_two_factors() {
    let (words, file) = (passphrase("horse"), KeyFile::random().unwrap());
    let both = Both::new(&file, &words);
    let (storage, vault) = created(&Fixed(1));
    let slot = vault.add_auditor_slot(&both).unwrap();
    let info = vault.try_credential(&both).unwrap();
    assert!(info.journal_only && info.id == slot);
    vault.rotate_journal_keys(&[&both], &[]).unwrap();
    assert_eq!(vault.try_credential(&both).unwrap().id, slot);
    assert_eq!(opened(&storage, &both), Err(Error::NoSlotOfKind));
}

#[test]
fn factors_can_be_two_factors_themselves_up_to_four_levels() {
    let words = passphrase("horse");
    let three = Both::new(&Fixed(1), &words);
    let four = Both::new(&three, &Fixed(2));
    let (storage, _) = created(&four);
    assert_eq!(opened(&storage, &four), Ok(()));
    let five = Both::new(&four, &Fixed(3));
    let deepest = Both::new(&five, &Fixed(4));
    let (storage, vault) = created(&deepest);
    assert_eq!(opened(&storage, &deepest), Ok(()));
    let deeper = Both::new(&deepest, &Fixed(5));
    let refused = Vault::create(MemoryStorage::new(), &deeper).unwrap_err();
    assert_eq!(refused, Error::InvalidCredential);
    assert_eq!(vault.add_slot(&deeper), Err(Error::InvalidCredential));
    let slot = vault.slots().unwrap()[0].id;
    assert_eq!(
        vault.replace_slot(slot, &deeper),
        Err(Error::InvalidCredential)
    );
    vault.add_slot(&words).unwrap();
}

/// An app's credential with parameters of this length.
#[derive(Debug)]
struct Long(usize);

impl Credential for Long {
    fn kind(&self) -> u16 {
        0x7011
    }

    fn name(&self) -> &str {
        "long"
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((vec![7; self.0], SlotSecret::from_bytes(&[7; 32])))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        assert_eq!(parameters.len(), self.0);
        Ok(Some(SlotSecret::from_bytes(&[7; 32])))
    }
}

#[test]
fn factors_with_the_longest_parameters_open() {
    let file = KeyFile::random().unwrap();
    // 3,984 bytes of a slot, less 8 for the kinds and lengths, 1 for the length of the name, and the name.
    for length in [3_900, 3_963, 3_971] {
        let long = Long(length);
        let both = Both::new(&file, &long);
        let (storage, _) = created(&both);
        assert_eq!(opened(&storage, &both), Ok(()), "{length}");
    }
    let long = Long(3_972);
    let refused = Vault::create(MemoryStorage::new(), &Both::new(&file, &long));
    assert_eq!(refused.unwrap_err(), Error::InvalidCredential);
}

/// Credential of kind 1 that stretches nothing. Its parameters state 4 passes over 1 GiB, or over 8 MiB if the
/// second field is false.
#[derive(Debug)]
struct Heavy(u8, bool);

impl Credential for Heavy {
    fn kind(&self) -> u16 {
        1
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        let memory_kib: u32 = if self.1 { 1 << 20 } else { 8192 };
        let mut parameters = [memory_kib, 4, 1].map(u32::to_le_bytes).concat();
        parameters.extend([self.0; 32]);
        Ok((parameters, SlotSecret::from_bytes(&[self.0; 32])))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        let is_own = parameters.ends_with(&[self.0; 32]);
        Ok(is_own.then(|| SlotSecret::from_bytes(&[self.0; 32])))
    }
}

#[test]
fn rotation_and_replacement_keep_within_the_work_limit() {
    let (storage, vault) = created(&Fixed(1));
    let add = |n| vault.add_slot(&Heavy(n, false)).unwrap();
    let slots: Vec<_> = (0..5).map(add).collect();
    let heavy: Vec<_> = (0..5).map(|n| Heavy(n, true)).collect();
    let header = || header_of(&storage);
    let before = header();
    // The limit of 16 GiB is that of four such slots.
    let mut keep: Vec<&dyn Credential> =
        heavy.iter().map(|one| -> &dyn Credential { one }).collect();
    keep.push(&Fixed(1));
    assert_eq!(
        vault.rotate_root_key(&keep, &[]).map(drop),
        Err(Error::TooManySlots)
    );
    assert!(header() == before);
    for (slot, heavy) in slots.iter().zip(&heavy).take(3) {
        vault.replace_slot(*slot, heavy).unwrap();
    }
    // Three heavy slots and two of the least work leave no place for a fourth heavy one.
    assert_eq!(
        vault.replace_slot(slots[3], &heavy[3]),
        Err(Error::TooManySlots)
    );
    assert_eq!(vault.add_slot(&Heavy(9, true)), Err(Error::TooManySlots));
    vault.remove_slot(slots[4]).unwrap();
    vault.replace_slot(slots[3], &heavy[3]).unwrap();
    for heavy in &heavy[..4] {
        assert_eq!(opened(&storage, heavy), Ok(()));
    }
    // A slot without a passphrase takes no work.
    vault.add_slot(&KeyFile::random().unwrap()).unwrap();
}

/// Credential that adds another slot while it is enrolled, so that the commit is repeated, and that counts
/// how often it is called. With a failure, it fails for slots of other credentials.
#[derive(Debug)]
struct Counting {
    inner: Fixed,
    other: Mutex<Option<Vault>>,
    enrolled: AtomicUsize,
    asked: AtomicUsize,
    failure: Option<CredentialFailure>,
}

impl Counting {
    fn new(other: Option<Vault>, failure: Option<CredentialFailure>) -> Self {
        Self {
            inner: Fixed(7),
            other: Mutex::new(other),
            enrolled: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            failure,
        }
    }

    fn counts(&self) -> (usize, usize) {
        (
            self.enrolled.load(Ordering::SeqCst),
            self.asked.load(Ordering::SeqCst),
        )
    }
}

impl Credential for Counting {
    fn kind(&self) -> u16 {
        self.inner.kind()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn enrol(&self, at: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        self.enrolled.fetch_add(1, Ordering::SeqCst);
        if let Some(vault) = self.other.lock().unwrap().take() {
            vault.add_slot(&Fixed(9)).unwrap();
        }
        self.inner.enrol(at)
    }

    fn secret(&self, parameters: &[u8], at: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.failure {
            Some(failure) => {
                Brittle(self.inner.0, Error::Credential(failure)).secret(parameters, at)
            }
            None => self.inner.secret(parameters, at),
        }
    }
}

#[test]
fn repeated_commit_asks_no_credential_again() {
    let (storage, vault) = created(&Fixed(1));
    let other = || Vault::open(Arc::clone(&storage), &Fixed(1)).ok();
    let added = Counting::new(other(), None);
    let slot = vault.add_slot(&added).unwrap();
    assert_eq!(added.counts(), (1, 0));
    assert_eq!(vault.slots().unwrap().len(), 3);
    assert_eq!(vault.try_credential(&added).unwrap().id, slot);

    let replacing = Counting::new(other(), None);
    vault.replace_slot(slot, &replacing).unwrap();
    assert_eq!(replacing.counts(), (1, 0));

    // Four slots of one kind: the rotation asks about each once, also when it repeats its commit.
    let kept = Counting::new(None, None);
    vault
        .rotate_root_key(&[&Fixed(1), &Fixed(9), &kept], &[])
        .unwrap();
    assert_eq!(kept.counts(), (1, 4));
}

#[test]
fn unreachable_service_is_asked_for_one_slot_only() {
    for failure in [CredentialFailure::Unreachable, CredentialFailure::TimedOut] {
        let (storage, vault) = created(&Fixed(1));
        vault.add_slot(&Fixed(2)).unwrap();
        vault.add_slot(&Fixed(3)).unwrap();
        let down = Counting::new(None, Some(failure));
        assert_eq!(opened(&storage, &down), Err(Error::Credential(failure)));
        assert_eq!(down.counts(), (0, 1));
    }
    // Any other failure may concern one slot only.
    let (storage, vault) = created(&Fixed(1));
    vault.add_slot(&Fixed(2)).unwrap();
    let failure = CredentialFailure::KeyVersionRetired;
    let retired = Counting::new(None, Some(failure));
    assert_eq!(opened(&storage, &retired), Err(Error::Credential(failure)));
    assert_eq!(retired.counts(), (0, 2));
}

#[test]
fn credential_is_called_once_for_a_slot_that_it_fails_to_open() {
    let (storage, vault) = created(&Fixed(1));
    vault.add_slot(&Fixed(7)).unwrap();
    vault.add_slot(&Fixed(9)).unwrap();
    // The rotation repeats its commit after this credential has added another slot of `Fixed(9)`.
    let other = Vault::open(Arc::clone(&storage), &Fixed(1)).ok();
    let kept = Counting::new(other, Some(CredentialFailure::Denied));
    let keep: [&dyn Credential; 3] = [&Fixed(1), &Fixed(9), &kept];
    vault.rotate_root_key(&keep, &[]).unwrap();
    assert_eq!(kept.counts(), (1, 4));
    // A credential that opens no slot reports its failure.
    let denied = Counting::new(None, Some(CredentialFailure::Denied));
    let keep: [&dyn Credential; 3] = [&Fixed(1), &Fixed(9), &denied];
    let own = vault.slots().unwrap()[1].id;
    let rotated = vault.rotate_root_key(&keep, &[own]);
    assert_eq!(rotated, Err(Error::Credential(CredentialFailure::Denied)));
}

#[test]
fn refused_rotation_enrols_no_slot() {
    let (storage, vault) = created(&Fixed(7));
    vault.add_slot(&Fixed(2)).unwrap();
    let before = header_of(&storage);
    let first = Counting::new(None, None);
    let rotated = vault.rotate_root_key(&[&first, &Brittle::unavailable(9)], &[]);
    let failed = Error::Credential(CredentialFailure::Other);
    assert_eq!(rotated, Err(failed));
    let unknown = vault.rotate_root_key(&[&first, &Fixed(2), &KeyFile::random().unwrap()], &[]);
    assert_eq!(unknown, Err(Error::WrongKey));
    assert_eq!(first.counts().0, 0);
    assert!(header_of(&storage) == before);
}

#[test]
fn any_of_several_credentials_opens() {
    let words = passphrase("horse");
    let (storage, vault) = created(&words);
    vault.add_slot(&Fixed(1)).unwrap();
    let any = |credentials: &[&dyn Credential]| {
        Vault::open_any(Arc::clone(&storage), credentials).map(drop)
    };
    let down = Brittle(2, Error::Credential(CredentialFailure::TimedOut));
    let wrong = passphrase("staple");
    let file = KeyFile::random().unwrap();
    assert_eq!(any(&[&down, &wrong, &file, &words]), Ok(()));
    assert_eq!(any(&[&Fixed(1), &down]), Ok(()));
    // The most telling error is returned, in whatever order.
    let timed_out = Err(Error::Credential(CredentialFailure::TimedOut));
    assert_eq!(any(&[&down, &wrong, &file]), timed_out);
    assert_eq!(any(&[&file, &wrong, &down]), timed_out);
    assert_eq!(any(&[&Passphrase::new(""), &down]), timed_out);
    assert_eq!(any(&[&down, &Passphrase::new("")]), timed_out);
    assert_eq!(any(&[&file, &wrong]), Err(Error::WrongKey));
    assert_eq!(any(&[&wrong, &file]), Err(Error::WrongKey));
    assert_eq!(any(&[&file]), Err(Error::NoSlotOfKind));
    assert_eq!(any(&[]), Err(Error::NoSlotOfKind));
}

#[test]
fn failure_of_a_factor_is_reported_and_blocks_no_other_slot() {
    let words = passphrase("horse");
    let (storage, vault) = created(&words);
    let service = Brittle::unavailable(3);
    vault.add_slot(&Both::new(&words, &service)).unwrap();
    let down = Brittle(4, Error::Credential(CredentialFailure::Locked));
    let both = Both::new(&words, &down);
    let locked = Err(Error::Credential(CredentialFailure::Locked));
    assert_eq!(opened(&storage, &both), locked);
    assert!(Vault::open_any(Arc::clone(&storage), &[&both, &words]).is_ok());
}

/// An app's credential with a name.
#[derive(Debug)]
struct Named(&'static str);

impl Credential for Named {
    fn kind(&self) -> u16 {
        0x7010
    }

    fn name(&self) -> &str {
        self.0
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((vec![1, 2, 3], SlotSecret::from_bytes(&[7; 32])))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        assert_eq!(parameters, [1, 2, 3]);
        Ok(Some(SlotSecret::from_bytes(&[7; 32])))
    }
}

#[test]
fn slot_of_app_credential_with_other_name_is_skipped() {
    let (storage, _) = created(&Named("com.example.one"));
    assert_eq!(opened(&storage, &Named("com.example.one")), Ok(()));
    for other in ["com.example.on", "com.example.one2", "org.example.two"] {
        assert_eq!(opened(&storage, &Named(other)), Err(Error::NoSlotOfKind));
    }
    let long: &'static str = Box::leak("x".repeat(65).into_boxed_str());
    for invalid in ["", "two words", "naïve", "line\n", long] {
        let created = Vault::create(MemoryStorage::new(), &Named(invalid));
        assert_eq!(created.unwrap_err(), Error::InvalidCredential, "{invalid}");
        assert_eq!(
            opened(&storage, &Named(invalid)),
            Err(Error::InvalidCredential)
        );
    }
    let in_both = Both::new(&Named(""), &Fixed(1));
    let created = Vault::create(MemoryStorage::new(), &in_both);
    assert_eq!(created.unwrap_err(), Error::InvalidCredential);
}

#[test]
fn drill_changes_nothing_and_is_journaled() {
    let (storage, vault) = created(&Fixed(1));
    let spare = passphrase("spare");
    let slot = vault.add_slot(&spare).unwrap();
    vault.checkpoint().unwrap();
    let before = header_of(&storage);
    assert_eq!(vault.try_credential(&spare).unwrap().id, slot);
    let lost = KeyFile::random().unwrap();
    assert_eq!(vault.try_credential(&lost), Err(Error::NoSlotOfKind));
    assert_eq!(
        vault.try_credential(&passphrase("spar")),
        Err(Error::WrongKey)
    );
    let down = Brittle(5, Error::Credential(CredentialFailure::Denied));
    assert_eq!(
        vault.try_credential(&down),
        Err(Error::Credential(CredentialFailure::Denied))
    );
    assert!(header_of(&storage) == before);
    vault.close().unwrap();
    assert_eq!(vault.try_credential(&spare), Err(Error::Locked));

    let pages = pages(&*storage);
    let entries = pages.iter().flat_map(|(_, page)| &page.entries);
    let tried = entries.filter(|entry| entry.operation == Operation::TryCredential);
    let targets: Vec<_> = tried
        .map(|entry| (entry.target.clone(), entry.outcome))
        .collect();
    assert_eq!(targets.len(), 4, "{targets:?}");
    assert!(
        matches!(targets[0].0, Target::Slot(of) if of.id == slot),
        "{targets:?}"
    );
    let is_vault = |(target, _): &(Target, _)| matches!(target, Target::Vault);
    assert!(targets[1..].iter().all(is_vault), "{targets:?}");
}

#[test]
fn forged_parameters_of_two_factors_are_skipped() {
    let context = SlotContext::new([1; 16], 4, 1, chartlock::CipherSuite::default());
    let both = Both::new(&Fixed(1), &Fixed(2));
    let (parameters, _) = both.enrol(&context).unwrap();
    assert!(both.secret(&parameters, &context).unwrap().is_some());
    for length in 0..parameters.len() {
        assert!(
            both.secret(&parameters[..length], &context)
                .unwrap()
                .is_none()
        );
    }
    let longer = [&parameters[..], &[0]].concat();
    assert!(both.secret(&longer, &context).unwrap().is_none());
    let nested = (0..900).fold(Vec::new(), |inner, _| {
        let length = u16::try_from(inner.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&[4, 0][..], &length, &inner, &[4, 0, 0, 0]].concat()
    });
    assert!(both.secret(&nested, &context).unwrap().is_none());
}
