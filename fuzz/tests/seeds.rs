//! Every seed, whole, cut anywhere, with any one byte changed, and split in any way: on a stable toolchain, without the fuzzer.
#![cfg(fuzzing)]

use std::path::Path;

/// A target's name and function.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("events", lameduck_fuzz::events),
    ("first_bytes", lameduck_fuzz::first_bytes),
    ("frames", lameduck_fuzz::frames),
    ("messages", lameduck_fuzz::messages),
    ("records", lameduck_fuzz::records),
];
/// Changing each byte of a longer seed takes too long for a test; the fuzzer does that.
const LONGEST: usize = 512;

#[test]
fn every_seed_holds_however_it_is_split_cut_and_changed() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut known: Vec<String> = std::fs::read_dir(&seeds)
        .expect("the seeds")
        .map(|entry| {
            entry
                .expect("a directory")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    known.sort();
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        known, names,
        "each target has seeds, and the seeds have a target"
    );
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(seeds.join(name)).expect("seeds of the target") {
            let seed = std::fs::read(entry.expect("a seed").path()).expect("a seed");
            assert!(seed.len() <= LONGEST, "{name}");
            play(*target, &seed);
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
}

fn play(target: fn(&[u8]), seed: &[u8]) {
    target(seed);
    let Some((_, bytes)) = seed.split_first() else {
        return;
    };
    for length in 1..=u8::MAX {
        target(&[&[length], bytes].concat());
    }
    let mut changed = seed.to_vec();
    for at in 0..seed.len() {
        target(&seed[..at]);
        for flip in [0x01, 0x7f, 0x80, 0xff] {
            changed[at] ^= flip;
            target(&changed);
            changed[at] ^= flip;
        }
    }
}
