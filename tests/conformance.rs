//! Every registered environment keeps the contract; what breaks it is found.

use lockstep::envs::{Aggregate, builtin, conformance};

#[test]
fn every_environment_keeps_the_contract() {
    for entry in builtin() {
        let env = (entry.make)();
        assert_eq!(env.spec().name, entry.name);
        for metric in &env.spec().metrics {
            // The logs tell maxima by their names.
            let last = metric.name.rsplit('/').next().unwrap();
            assert_eq!(metric.aggregate == Aggregate::Max, last.starts_with("highest_"), "{}", metric.name);
        }
        conformance(&*env).unwrap();
    }
}
