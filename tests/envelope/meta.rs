//! Record metadata: the limits of its fields, and the extensions.

use chartlock::Error;
use chartlock::internals::envelope::Meta;

fn checked(change: impl FnOnce(&mut Meta)) -> Result<Meta, Error> {
    let mut meta = Meta::default();
    change(&mut meta);
    meta.checked()
}

#[test]
fn metadata_outside_field_limits_is_refused() {
    let long = |length: usize| "x".repeat(length).into();
    let many = |count: u32| (0..count).map(|n| format!("{n:02}").into()).collect();
    checked(|meta| meta.content_type = long(255)).unwrap();
    checked(|meta| meta.labels = many(32)).unwrap();
    checked(|meta| meta.labels = vec![long(255)]).unwrap();
    let changes: [&dyn Fn(&mut Meta); 7] = [
        &|meta| meta.content_type = long(256),
        &|meta| meta.content_type = "text/plain\n".into(),
        &|meta| meta.content_type = "text/é".into(),
        &|meta| meta.labels = many(33),
        &|meta| meta.labels = vec![long(256)],
        &|meta| meta.labels = vec!["".into()],
        &|meta| meta.labels = vec!["a\nb".into()],
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert!(
            matches!(checked(change), Err(Error::InvalidMetadata(_))),
            "{n}"
        );
    }
}

#[test]
fn record_labels_are_sorted_and_deduplicated() {
    let labels = ["b", "a", "b"].map(Box::from);
    let meta = checked(|meta| meta.labels = labels.into()).unwrap();
    assert_eq!(meta.labels, ["a", "b"].map(Box::from));
}

fn numbers(meta: &Meta) -> Vec<u16> {
    meta.extensions.iter().map(|(number, _)| *number).collect()
}

#[test]
fn metadata_extensions_stay_sorted_and_unique() {
    let stream = [7; 16];
    let mut meta = Meta {
        extensions: vec![(9, vec![9])],
        ..Meta::default()
    };
    meta.set_expunged_up_to(Some(4));
    meta.set_replaced_stream(Some(&stream));
    meta.set_honeytoken(true);
    meta.set_origin(&stream);
    assert_eq!(numbers(&meta), [1, 2, 3, 9, 0x8001]);
    assert!(meta.is_honeytoken());
    assert_eq!(meta.replaced_stream(), Some(stream));
    assert_eq!(meta.expunged_up_to(), Some(4));
    // Setting an extension a second time must replace the first value.
    meta.set_expunged_up_to(Some(7));
    meta.set_origin(&[8; 16]);
    assert_eq!(numbers(&meta), [1, 2, 3, 9, 0x8001]);
    assert_eq!(meta.extensions[0].1, [8; 16]);
    assert_eq!(meta.expunged_up_to(), Some(7));
    meta.set_replaced_stream(None);
    meta.set_honeytoken(false);
    meta.set_expunged_up_to(None);
    assert_eq!(numbers(&meta), [1, 9]);
    assert!(!meta.is_honeytoken());
    assert_eq!(meta.replaced_stream(), None);
    assert_eq!(meta.expunged_up_to(), None);
}

/// Only a marker follows directly on the last expunged version. Later versions carry the number on.
#[test]
fn only_version_after_last_expunged_one_is_marker() {
    let mut meta = Meta::default();
    assert!((0..3).all(|version| !meta.marks_expunged(version)));
    meta.set_expunged_up_to(Some(4));
    let markers: Vec<u64> = (0..9).filter(|at| meta.marks_expunged(*at)).collect();
    assert_eq!(markers, [5]);
}
