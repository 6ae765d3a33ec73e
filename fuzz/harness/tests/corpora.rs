//! What the fuzzer found worth keeping is tried again in every test run.

use std::{fs, panic, path::Path};

use weapon_fuzz_harness::TARGETS;

#[test]
fn every_target_survives_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpora");
    for (name, run) in TARGETS {
        let folder = corpora.join(name);
        let entries = fs::read_dir(&folder).expect("a target has a corpus");
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            let outcome = panic::catch_unwind(|| run(&bytes));
            assert!(outcome.is_ok(), "{name} fails with {}", path.display());
            count += 1;
        }
        assert_ne!(count, 0, "an empty corpus tests nothing: {name}");
        run(&[]);
    }
}
