//! The simulator itself: it repeats what it did, finds what is planted, and finds nothing where nothing is.

use dunlin_sim::{Options, Plant, Report, run};

fn first_found(plant: Plant) -> Option<Report> {
    let options = Options { plant: Some(plant), ..Options::default() };
    (0..100).map(|seed| run(seed, &options)).find(|report| report.violation.is_some())
}

#[test]
fn a_seed_repeats_itself_to_the_bit() {
    for seed in [1, 2, 17] {
        let reports = [(); 2].map(|()| run(seed, &Options::default()));
        let [first, second] = reports.map(|report| (report.hash, report.steps, report.elapsed));
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found_within_a_hundred_seeds() {
    for plant in Plant::ALL {
        let found = first_found(plant);
        assert!(found.is_some(), "{plant} was not found");
    }
}

#[test]
fn nothing_is_broken_in_the_first_worlds() {
    for seed in 0..30 {
        let Report { violation, .. } = run(seed, &Options { nodes: Some(3..=8), ..Options::default() });
        assert!(violation.is_none(), "seed {seed}: {violation:?}");
    }
}
