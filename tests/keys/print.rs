//! `Debug` and `Display` output, which must contain no secret, no identifier and no path.

use std::fmt::Debug;

use chartlock::internals::envelope::Body;
use chartlock::internals::keys::{EntryState, Header, Keyring, PatientEntry};
use chartlock::keys::{Credential, KeyFile, KeyFileOptions, Passphrase};

use crate::fixtures::*;

/// Returns the text forms in which a secret could be printed.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{:?}", &secret[..secret.len().min(4)]);
    let lines = format!("{:#?}", &secret[..2]);
    let mut forms = vec![
        hex.to_uppercase(),
        hex,
        list[1..list.len() - 1].to_owned(),
        lines[1..lines.len() - 1].trim().to_owned(),
    ];
    forms.extend(std::str::from_utf8(secret).map(str::to_owned));
    forms
}

fn hides(value: &dyn Debug, secrets: &[&[u8]]) {
    let printed = format!("{value:?} {value:#?}");
    assert!(!printed.trim().is_empty());
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        assert!(!printed.contains(&form), "{printed} shows {form}");
    }
}

#[test]
fn secret_search_detects_printed_secrets() {
    let secret: [u8; 32] = std::array::from_fn(|n| n as u8 + 100);
    let shown = std::panic::catch_unwind(|| hides(&secret, &[&secret]));
    assert!(shown.is_err());
    let shown = std::panic::catch_unwind(|| hides(&"a secret", &[b"a secret"]));
    assert!(shown.is_err());
}

#[test]
fn debug_output_contains_no_secret() {
    let mut vault = vault(SUITES[0]);
    vault.keyring.add_master(NOW).unwrap();
    let unlocked = vault.header.unlock(&Fixed(1)).unwrap();
    let keyring: &Keyring = &vault.keyring;
    let header: &Header = &vault.header;
    let masters: Vec<&[u8]> = (keyring.masters())
        .map(|master| master.key.expose().as_slice())
        .collect();
    let others = [
        vault.root.expose().as_slice(),
        keyring.active_name_key().key.expose(),
        keyring.active_journal_key().key.expose(),
        vault.id(),
    ];
    let secrets = [masters, others.to_vec()].concat();
    hides(keyring, &secrets);
    hides(&keyring.active_master(), &secrets);
    hides(header, &secrets);
    hides(&unlocked, &secrets);
    hides(&header.slots(), &secrets);

    let mut entry = PatientEntry::new(crate::common::subject("Juana-Ines-1651"), NOW).unwrap();
    entry.rotate_key(NOW).unwrap();
    let chart = entry.chart().unwrap();
    let mut secrets = vec![
        b"Juana-Ines-1651".as_slice(),
        chart.name_key().expose(),
        entry.subject().identifier().as_bytes(),
    ];
    secrets.extend(chart.keys().map(|key| key.key.expose().as_slice()));
    hides(&entry, &secrets);
    hides(chart, &secrets);
    hides(entry.state(), &secrets);
    hides(&chart.active_key(), &secrets);
    hides(&EntryState::Alias(entry.subject().clone()), &secrets);

    let content = b"{\"name\":\"Juana Ines\"}";
    hides(&Body::Inline(content), &[content]);

    let passphrase = Passphrase::new("correct horse battery staple");
    hides(&passphrase, &[b"correct horse battery staple", b"horse"]);
    let key = KeyFile::random().unwrap();
    let text = key.to_text();
    let context = chartlock::keys::SlotContext::new([1; 16], 2, 3, SUITES[0]);
    let (_, secret) = key.enrol(&context).unwrap();
    hides(&key, &[secret.expose(), text.as_bytes()]);
    hides(&secret, &[secret.expose()]);
    hides(&KeyFileOptions::new(), &[secret.expose()]);
}

#[test]
fn error_output_contains_no_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clinic-of-juana.key");
    let error = KeyFile::open(&path).unwrap_err();
    hides(&error, &[b"clinic-of-juana"]);
    assert!(!error.to_string().contains("clinic-of-juana"));
}
