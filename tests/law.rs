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

/// Whether a file holds nothing but tests.
fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// What stands before the tests in a file: they may look anywhere, to check layers against each other.
fn code_of(text: &str) -> &str {
    let tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
    let is_body = |at: &usize| {
        text[*at..].lines().nth(1).is_some_and(|line| !line.starts_with("mod ") || line.ends_with('{'))
    };
    &text[..tests.into_iter().find(is_body).unwrap_or(text.len())]
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
            if is_test(&file) {
                continue;
            }
            for (number, line) in code_of(&text).lines().enumerate() {
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

/// A pipe in the place of a file would be waited for, one without end be read for ever. The files of `runtime::files` and
/// `trainer::files` look first.
#[test]
fn files_are_opened_by_those_who_look_whether_they_are_files() {
    const OPENING: [&str; 5] =
        ["fs::read(", "fs::read_to_string(", "File::open(", "File::options(", "OpenOptions::new("];
    const LOOKING: [&str; 2] = ["runtime/files.rs", "trainer/files.rs"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let (mut breaches, mut seen) = (Vec::new(), 0);
    for file in files.iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in code_of(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = |call: &&str| {
                let names = code.split(*call).collect::<Vec<_>>();
                let is_whole = |before: &&str| !before.ends_with(|c: char| c.is_alphanumeric());
                names[..names.len() - 1].iter().any(is_whole)
            };
            if !OPENING.iter().any(|call| opens(&call)) {
                continue;
            }
            let is_terminal = code.contains("\"/dev/tty\"");
            match LOOKING.iter().any(|name| file.ends_with(name)) || is_terminal {
                true => seen += 1,
                false => breaches.push(format!("{}:{}: {}", file.display(), number + 1, code.trim())),
            }
        }
    }
    assert!(seen > 2, "the test does not see the code");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
