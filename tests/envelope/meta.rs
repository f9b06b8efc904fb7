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
        assert_eq!(checked(change), Err(Error::InvalidMetadata), "{n}");
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
    meta.set_expunged(Some(&stream));
    meta.set_honeytoken(true);
    meta.set_origin(&stream);
    assert_eq!(numbers(&meta), [1, 2, 3, 9]);
    assert!(meta.is_honeytoken() && meta.is_expunged());
    assert_eq!(meta.expunged_stream(), Some(stream));
    // Setting an extension a second time must replace the first value.
    meta.set_expunged(None);
    meta.set_origin(&[8; 16]);
    assert_eq!(numbers(&meta), [1, 2, 3, 9]);
    assert_eq!(meta.extensions[0].1, [8; 16]);
    assert!(meta.is_expunged());
    assert_eq!(meta.expunged_stream(), None);
    meta.set_honeytoken(false);
    assert_eq!(numbers(&meta), [1, 3, 9]);
    assert!(!meta.is_honeytoken());
}
