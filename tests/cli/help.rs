//! The text of `--help` is kept in tests/golden/help/; UPDATE_GOLDEN=1 writes it anew.

use super::run;
use crate::common::golden;

#[test]
fn every_help_text_is_as_kept() {
    let mut seen = Vec::new();
    check(&[], &mut seen);
    for expected in ["train", "eval", "watch", "envs", "bench", "verify", "serve", "plugin install"] {
        assert!(seen.iter().any(|name| name == expected), "{seen:?}");
    }
}

/// Checks the help of a command and of its subcommands.
fn check(command: &[&str], seen: &mut Vec<String>) {
    let text = run(&[command, &["--help"]].concat()).stdout();
    let name = if command.is_empty() { "lockstep".to_owned() } else { command.join("-") };
    compare(&name, &text);
    seen.push(command.join(" "));
    let listed =
        text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for subcommand in listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
    {
        check(&[command, &[subcommand]].concat(), seen);
    }
}

fn compare(name: &str, text: &str) {
    golden(&format!("help/{name}.txt"), text);
}
