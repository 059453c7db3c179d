//! Guides with whole examples. All code on these pages is compiled by the tests, and the examples are those that the tests run.

#[doc = include_str!("../docs/guide/environment.md")]
#[doc = "```"]
#[doc = include_str!("cli/new/template/env.rs")]
#[doc = "```"]
#[allow(clippy::test_attr_in_doctest)] // the page shows the template's test, which the crate runs
pub mod environment {}

#[doc = include_str!("../docs/guide/algorithm.md")]
#[doc = "```no_run\nmod network {"]
#[doc = include_str!("../tests/own/network.rs")]
#[doc = "}\nmod reinforce {"]
#[doc = include_str!("../tests/own/reinforce.rs")]
#[doc = "}

fn main() -> std::process::ExitCode {
    use lockstep::{App, algorithms::Entry, envs};
    App::new(\"own\").algorithm(Entry::of::<reinforce::Reinforce>()).envs(envs::builtin()).main()
}
```"]
pub mod algorithm {}

#[doc = include_str!("../docs/guide/network.md")]
#[doc = "```no_run\nmod network {"]
#[doc = include_str!("../tests/own/network.rs")]
#[doc = "}\n"]
#[doc = include_str!("../docs/guide/network_in_ppo.rs")]
#[doc = "```"]
pub mod network {}

#[doc = include_str!("../docs/guide/shaping.md")]
#[doc = "```"]
#[doc = include_str!("../tests/own/shaping.rs")]
#[doc = "```"]
pub mod shaping {}

#[doc = include_str!("../docs/guide/training.md")]
#[doc = "```no_run"]
#[doc = include_str!("../tests/own/training.rs")]
#[doc = "
fn main() -> anyhow::Result<()> {
    train(std::path::Path::new(\"checkpoints\")).map(drop)
}
```"]
pub mod training {}

#[doc = include_str!("../docs/guide/inference.md")]
pub mod inference {}

#[doc = include_str!("../docs/guide/errors.md")]
pub mod errors {}
