//! Vectors about expunged versions and their markers.

use crate::cases::{Files, file, opens};
use crate::writer::{Meta, NAME, Version, World, body};

/// Returns a retraction that is also the expunged marker of all versions below it.
fn marker(world: &World, version: u64, bytes: &[u8]) -> Version {
    let mut meta = Meta::of(NAME);
    meta.extensions = vec![(3, bytes.to_vec())];
    let mut marker = world.version(version, body(&meta.encode(), b""));
    marker.kind = 3;
    marker
}

pub fn all() -> Files {
    let files = &mut Files::new();
    let what = (
        "expunged",
        "a record that was expunged: only the marker is left",
    );
    file(files, what, "none", |world| {
        world.base();
        let marker = marker(world, 3, b"");
        world.put(&marker);
    });
    let what = ("expunged-earlier", "a version that was expunged is no gap");
    file(files, what, "none", |world| {
        world.about("version", b"1");
        world.base();
        let marker = marker(world, 3, &[7; 16]);
        world.put(&marker);
    });
    let what = (
        "expunged-left",
        "an expunged version that was not swept, or landed late",
    );
    file(files, what, "none", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second"]);
        let marker = marker(world, 3, b"");
        world.put(&marker);
    });
    let moved = |world: &mut World| {
        world.base();
        world.put_versions(&[b"first", b"second", b"", b"fourth", b"fifth"]);
        let mut marker = marker(world, 3, &[7; 16]);
        marker.place = b'h';
        world.put(&marker);
    };
    let what = (
        "expunged-moved",
        "versions above a marker, which moved on: the current one",
    );
    opens(files, what, b"fifth", moved);
    let what = ("expunged-above", "a version above the marker");
    opens(files, what, b"fourth", |world| {
        world.about("version", b"4");
        moved(world);
    });
    let what = ("expunged-itself", "the marker has no content");
    file(files, what, "none", |world| {
        world.about("version", b"3");
        moved(world);
    });
    let what = (
        "expunged-below",
        "a version below the marker, though it stands there", // phrase: text of a committed vector
    );
    file(files, what, "none", |world| {
        world.about("version", b"2");
        moved(world);
    });
    let what = ("expunged-twice", "between two markers");
    file(files, what, "none", |world| {
        world.about("version", b"4");
        moved(world);
        let marker = marker(world, 6, b"");
        world.put(&marker);
    });
    let what = (
        "extension-3-inline",
        "extension 3 of a record that is no retraction means nothing",
    );
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second"]);
        let mut meta = Meta::of(NAME);
        meta.extensions = vec![(3, vec![])];
        let version = world.version(2, body(&meta.encode(), b"second"));
        world.put(&version);
    });
    let what = (
        "retraction-below",
        "a retraction that is no marker hides nothing",
    );
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"", b"third"]);
        let mut version = world.version(2, body(&Meta::of(NAME).encode(), b""));
        (version.kind, version.place) = (3, b'h');
        world.put(&version);
    });
    std::mem::take(files)
}

/// Returns vectors that the library must refuse because an expunged marker may exist.
pub fn refused() -> Files {
    let mut files = Files::new();
    let mut case = |what, change: fn(&mut Vec<u8>)| {
        file(&mut files, what, "NotAuthentic", |world| {
            world.about("version", b"1");
            world.base();
            world.put_versions(&[b"first", b"", b"third"]);
            let mut version = world.version(2, body(&Meta::of(NAME).encode(), b""));
            (version.kind, version.place) = (3, b'h');
            world.put(&version);
            let at = world.earlier(NAME, 2);
            change(world.storage.get_mut(&at).unwrap());
        });
    };
    let what = (
        "marker-unknown",
        "a retraction above that does not open may be a marker",
    );
    case(what, |value| *value.last_mut().unwrap() ^= 1);
    let what = (
        "marker-posing",
        "a retraction above whose wrapped key was altered",
    );
    case(what, |value| value[48] ^= 1);
    files
}
