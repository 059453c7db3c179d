//! Every registered environment keeps the contract; what breaks it is found.

use lockstep::envs::{builtin, conformance};

#[test]
fn every_environment_keeps_the_contract() {
    for entry in builtin() {
        let env = entry.build();
        assert_eq!(env.spec().name, entry.name);
        for metric in &env.spec().metrics {
            assert!(metric.name.contains('/') && !metric.description.is_empty(), "{}", metric.name);
        }
        conformance(&*env).unwrap();
    }
}
