//! TPU programs, compiled ahead of time: no TPU is needed, only libtpu.
//!
//! The test is skipped where no plugin for tpu is found (`lockstep plugin install tpu` installs one);
//! `LOCKSTEP_REQUIRE_TPU=1` makes that a failure.

use lockstep::envs::registry::ENVS;
use lockstep::runtime::{DeviceKind, plugin};
use serde_json::Value;

use crate::common::lockstep;

/// On two of four devices, so that the sum of gradients over devices is compiled, too.
#[test]
fn a_tpu_takes_the_training_programs_of_every_environment() {
    let Some(plugin) = plugin::list().into_iter().find(|file| file.kind == DeviceKind::Tpu) else {
        let required = std::env::var_os("LOCKSTEP_REQUIRE_TPU").is_some_and(|value| value == "1");
        assert!(!required, "LOCKSTEP_REQUIRE_TPU=1, but no plugin for tpu is found");
        println!("skipped: no plugin for tpu is found; `lockstep plugin install tpu` installs one");
        return;
    };
    for env in ENVS {
        let output = lockstep()
            .args(["compile", "--topology", "v5e:2x2", "--devices", "2", "--json"])
            .args(["--env", env.name, "--num-envs", "64", "--num-steps", "16"])
            .arg("--plugin")
            .arg(&plugin.path)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", env.name);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["device_kind"], "TPU v5 lite");
        let programs = report["programs"].as_array().unwrap();
        assert_eq!(programs.iter().map(|p| &p["name"]).collect::<Vec<_>>(), ["init", "chunk"]);
        for program in programs {
            println!("{} {program}", env.name);
            assert!(program["bytes"]["code"].as_u64().unwrap() > 0, "{program}");
        }
    }
}

#[test]
fn a_plugin_without_topologies_says_so_in_one_line() {
    let cpu = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
    let output = lockstep()
        .args(["compile", "--env", "cartpole", "--topology", "v5e:2x2", "--plugin"])
        .arg(cpu.path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("error: there is no topology v5e:2x2: "), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
