//! Vectors of expunged versions and expunged markers.

use crate::cases::{Files, file, opens};
use crate::writer::{Meta, NAME, Version, World, body};

/// Returns the metadata of a version that follows an expunge of the versions up to `last`.
fn meta(last: u64) -> Meta {
    let mut meta = Meta::of(NAME);
    meta.extensions = vec![(0x8001, last.to_le_bytes().to_vec())];
    meta
}

/// Returns a retraction that is also the expunged marker of all versions below it. `stream` is the
/// content of extension 3.
fn marker(world: &World, version: u64, stream: Option<&[u8]>) -> Version {
    let mut meta = meta(version - 1);
    if let Some(stream) = stream {
        meta.extensions.insert(0, (3, stream.to_vec()));
    }
    let mut marker = world.version(version, body(&meta.encode(), b""));
    marker.kind = 3;
    marker
}

/// Stores two versions below a marker, the marker as version 3, and two versions that carry its
/// number on.
fn moved(world: &mut World) {
    world.base();
    world.put_versions(&[b"first", b"second", b"third"]);
    let mut marker = marker(world, 3, Some(&[7; 16]));
    marker.place = b'h';
    world.put(&marker);
    for (version, content, place) in [(4, &b"fourth"[..], b'h'), (5, b"fifth", b'r')] {
        let mut version = world.version(version, body(&meta(2).encode(), content));
        version.place = place;
        world.put(&version);
    }
}

pub fn all() -> Files {
    let files = &mut Files::new();
    expunged(files);
    carried(files);
    damaged(files);
    std::mem::take(files)
}

fn expunged(files: &mut Files) {
    let what = (
        "expunged",
        "a record that was expunged: only the marker is left",
    );
    file(files, what, "none", |world| {
        world.base();
        let marker = marker(world, 3, None);
        world.put(&marker);
    });
    let what = ("expunged-earlier", "a version that was expunged is no gap");
    file(files, what, "none", |world| {
        world.about("version", b"1");
        world.base();
        let marker = marker(world, 3, Some(&[7; 16]));
        world.put(&marker);
    });
    let what = (
        "expunged-left",
        "an expunged version that was not deleted yet, or was written late",
    );
    file(files, what, "none", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second"]);
        let marker = marker(world, 3, None);
        world.put(&marker);
    });
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
        "a version below the marker, although it is stored",
    );
    file(files, what, "none", |world| {
        world.about("version", b"2");
        moved(world);
    });
    let what = ("expunged-twice", "between two markers");
    file(files, what, "none", |world| {
        world.about("version", b"4");
        moved(world);
        let marker = marker(world, 6, None);
        world.put(&marker);
    });
}

/// Stores three versions, of which the second is a retraction and no marker.
fn retracted_between(world: &mut World) {
    world.base();
    world.put_versions(&[b"first", b"", b"third"]);
    let mut version = world.version(2, body(&Meta::of(NAME).encode(), b""));
    (version.kind, version.place) = (3, b'h');
    world.put(&version);
}

fn carried(files: &mut Files) {
    let what = (
        "expunged-marker-gone",
        "the current version alone decides what was expunged, without the marker",
    );
    file(files, what, "none", |world| {
        world.about("version", b"2");
        moved(world);
        world.storage.remove(&world.earlier(NAME, 3));
    });
    let what = (
        "expunged-marker-unknown",
        "a retraction between that does not open hides nothing",
    );
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        retracted_between(world);
        let at = world.earlier(NAME, 2);
        *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= 1;
    });
    let what = (
        "extension-3-inline",
        "extension 3 of a record that is no marker means nothing",
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
        retracted_between(world);
    });
}

/// Adds vectors whose current version does not open, although it is not a retraction. The version
/// before it then decides what was expunged.
fn damaged(files: &mut Files) {
    fn alter(world: &mut World) {
        let at = world.at(NAME);
        *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= 1;
    }
    let what = (
        "current-altered-earlier",
        "an earlier version, beside a current one that was altered",
    );
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second", b"third"]);
        alter(world);
    });
    let what = (
        "current-altered-above",
        "a version above the marker, beside a current one that was altered",
    );
    opens(files, what, b"fourth", |world| {
        world.about("version", b"4");
        moved(world);
        alter(world);
    });
    let what = (
        "current-altered-below",
        "a version below the marker, beside a current one that was altered",
    );
    file(files, what, "none", |world| {
        world.about("version", b"2");
        moved(world);
        alter(world);
    });
    let what = (
        "current-name-earlier",
        "an earlier version, beside a current one of another name",
    );
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second", b"third"]);
        let version = world.version(3, body(&Meta::of("other").encode(), b"third"));
        world.put(&version);
    });
}

/// Returns vectors whose requested version must be refused, because a current version that does not
/// open may be an expunged marker, or because the expunged versions are out of their bounds.
pub fn refused() -> Files {
    let mut files = Files::new();
    let mut case = |what, change: fn(&mut World)| {
        file(&mut files, what, "NotAuthentic", |world| {
            world.about("version", b"1");
            world.base();
            world.put_versions(&[b"first", b"second", b"third"]);
            change(world);
        });
    };
    fn retraction(world: &mut World, name: &str, alter: bool) {
        let mut version = world.version(3, body(&Meta::of(name).encode(), b""));
        version.kind = 3;
        world.put(&version);
        let at = world.at(NAME);
        *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= u8::from(alter);
    }
    let what = (
        "marker-unknown",
        "a current retraction that does not open may be a marker",
    );
    case(what, |world| retraction(world, NAME, true));
    let what = (
        "marker-other-name",
        "a current retraction of another name may be a marker",
    );
    case(what, |world| retraction(world, "other", false));
    let what = (
        "current-altered-both",
        "neither the current version nor the one before it opens",
    );
    case(what, |world| {
        for at in [world.at(NAME), world.earlier(NAME, 2)] {
            *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= 1;
        }
    });
    bounds(&mut files);
    files
}

fn bounds(files: &mut Files) {
    let three = 3_u64.to_le_bytes();
    let cases: [(&str, &str, &[u8]); 4] = [
        (
            "expunged-own",
            "a version that says that it was expunged itself",
            &three,
        ),
        ("expunged-none", "versions up to 0 were expunged", &[0; 8]),
        ("expunged-7", "a version number of 7 bytes", &[1; 7]),
        ("expunged-9", "a version number of 9 bytes", &[1; 9]),
    ];
    for (name, title, bytes) in cases {
        file(files, (name, title), "Malformed", |world| {
            world.base();
            world.put_versions(&[b"first", b"second", b"third"]);
            let mut meta = Meta::of(NAME);
            meta.extensions = vec![(0x8001, bytes.to_vec())];
            let version = world.version(3, body(&meta.encode(), b"third"));
            world.put(&version);
        });
    }
}
