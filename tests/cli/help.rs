//! The text of `--help` is kept in tests/golden/help/; UPDATE_GOLDEN=1 writes it anew.

use std::fs;
use std::path::Path;

use super::run;

#[test]
fn every_help_text_is_as_kept() {
    let overview = run(&["--help"]).stdout();
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    for expected in ["train", "eval", "watch", "envs", "bench", "verify", "serve", "plugin"] {
        assert!(commands.contains(&expected), "{overview}");
    }
    check("lockstep", &overview);
    for command in commands {
        check(command, &run(&[command, "--help"]).stdout());
    }
    for command in ["list", "install"] {
        check(&format!("plugin-{command}"), &run(&["plugin", command, "--help"]).stdout());
    }
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/help/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "the help of {name} has changed; UPDATE_GOLDEN=1 accepts it");
}
