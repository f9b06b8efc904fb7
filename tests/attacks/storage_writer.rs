//! A storage writer without keys: deletes, alters, exchanges, plants and puts back objects.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::Stage;
use crate::exceptions::{EXCEPTIONS, covering};
use crate::fixture::Fixture;
use crate::judge::{Gain, judge};
use crate::moves::{self, Class, Kind};

everywhere!(every_move_is_found_or_documented);

fn every_move_is_found_or_documented(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let moves = moves::all(&fixture);
    let mut used = BTreeSet::new();
    let mut undocumented = BTreeMap::<(Class, Kind), Vec<String>>::new();
    let stride = crate::stride(stage);
    for made in moves.iter().step_by(stride) {
        let gain = judge(stage, &fixture, &made.after, made).gain;
        let mut rest = gain;
        for (place, exception) in covering(made.class, made.kind) {
            if rest.without(exception.allowed) != rest {
                rest = rest.without(exception.allowed);
                used.insert(place);
            }
        }
        if rest != Gain::default() {
            let list = undocumented.entry((made.class, made.kind)).or_default();
            list.push(format!("{made}: {rest:?}"));
        }
    }
    println!("{} of {} moves", moves.len().div_ceil(stride), moves.len());
    assert!(undocumented.is_empty(), "{undocumented:#?}");
    if stride == 1 {
        let unused = (0..EXCEPTIONS.len()).filter(|place| !used.contains(place));
        let unused: Vec<_> = unused.map(|place| EXCEPTIONS[place].sentence).collect();
        assert!(unused.is_empty(), "no move needs {unused:#?}");
    }
}
