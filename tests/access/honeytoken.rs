//! Honeytoken mark, which is sealed into the record's metadata and never shown to the app.

use chartlock::access::SecurityEvent;
use chartlock::internals::access::alarm;
use chartlock::internals::envelope::Meta;

use crate::common::actor;

fn meta() -> Meta {
    Meta {
        name: "Condition/celebrity".into(),
        labels: vec!["lab".into()],
        extensions: vec![(1, vec![7; 16]), (9, vec![])],
        ..Meta::default()
    }
}

#[test]
fn read_of_marked_record_raises_event() {
    let mut meta = meta();
    assert_eq!(alarm(&meta, &actor("desk.lee")), None);
    meta.set_honeytoken(true);
    let event = SecurityEvent::HoneytokenRead {
        actor: actor("desk.lee"),
    };
    assert_eq!(alarm(&meta, &actor("desk.lee")), Some(event));
    meta.set_honeytoken(false);
    assert_eq!(alarm(&meta, &actor("desk.lee")), None);
}

#[test]
fn honeytoken_mark_changes_no_other_metadata() {
    let mut marked = meta();
    marked.set_honeytoken(true);
    marked.set_honeytoken(true);
    assert_eq!(marked.labels, meta().labels);
    assert_eq!(
        marked.extensions,
        [(1, vec![7; 16]), (2, vec![]), (9, vec![])]
    );
    marked.set_honeytoken(false);
    assert!(marked == meta());
}

#[test]
fn honeytoken_mark_of_later_release_is_recognized() {
    let mut marked = meta();
    marked.extensions.insert(1, (2, vec![1, 2, 3]));
    assert!(marked.is_honeytoken());
}
