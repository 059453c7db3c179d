//! The law of the architecture: a module uses only modules listed after it in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The modules in the order of `src/lib.rs`.
fn modules(src: &Path) -> Vec<String> {
    let text = fs::read_to_string(src.join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// Names of modules of this crate that a line of code mentions.
fn used_modules(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or("");
    code.match_indices("crate::").map(|(at, prefix)| {
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn modules_use_only_modules_listed_after_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = modules(&src);
    assert!(order.len() > 10, "the list of modules was not found: {order:?}");
    let mut breaches = Vec::new();
    let mut uses = 0;
    for (rank, module) in order.iter().enumerate() {
        let mut files = Vec::new();
        rust_files(&src.join(module), &mut files);
        assert!(!files.is_empty(), "the module {module} has no files");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            // What stands after `mod tests` may look anywhere: tests check layers against each other.
            let code = text.split("#[cfg(test)]").next().unwrap();
            if file.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            for (number, line) in code.lines().enumerate() {
                for used in used_modules(line) {
                    let Some(used_rank) = order.iter().position(|name| name == used) else { continue };
                    uses += 1;
                    if used_rank < rank {
                        breaches.push(format!("{}:{}: {module} uses {used}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(uses > 50, "only {uses} uses were seen; the test does not see the code");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
