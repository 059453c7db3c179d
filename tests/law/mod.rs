//! The laws of the architecture, checked on the text of whole files: only modules of tests may look anywhere.
//!
//! They are the five sentences of `lib.rs`, the order of the modules and that none of them use each other in a circle.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lockstep::{algorithms, envs};

use source::{File, Name, Uses, files, mentions};

fn src() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

/// The modules in the order of `src/lib.rs`.
fn order() -> Vec<String> {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let order: Vec<String> = names.map(str::to_owned).collect();
    assert!(order.len() > 10, "the list of modules was not found: {order:?}");
    order
}

/// The files of a module and of all below it.
fn within<'a>(files: &'a [File], module: &str) -> impl Iterator<Item = &'a File> {
    let is_in = |file: &&File| file.module.first().is_some_and(|name| name == module);
    let found: Vec<_> = files.iter().filter(is_in).collect();
    assert!(!found.is_empty(), "the module {module} has no files");
    found.into_iter()
}

/// What each file uses of the crate: its module, the module used, and where that is.
fn uses(files: &[File]) -> Vec<(&Name, Name, String)> {
    let uses = Uses::new(files);
    let mut found = Vec::new();
    for File { path, module, code, .. } in files {
        for mention in mentions(code) {
            if let Some(used) = uses.resolve(module, &mention.path) {
                let place = format!("{}:{} {}", path.display(), mention.line, mention.path.join("::"));
                found.push((module, used, place));
            }
        }
    }
    assert!(found.len() > 1000, "only {} uses were seen; the test does not see the code", found.len());
    found
}

#[test]
fn modules_use_only_modules_listed_after_them() {
    let (order, files) = (order(), files(src()));
    let rank = |module: &Name| order.iter().position(|name| Some(name) == module.first());
    let breaches: Vec<String> = uses(&files)
        .into_iter()
        .filter(|(user, used, _)| rank(user).zip(rank(used)).is_some_and(|(user, used)| used < user))
        .map(|(user, used, place)| format!("{place}: {} uses {}", user.join("::"), used.join("::")))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Graphs hold operations, and some operations hold graphs: one type in five files.
const ONE_TYPE: [&str; 5] = ["build", "graph", "infer", "kernel", "op"];

/// Of modules beside each other: which one uses which other one, and where.
type Edges<'a> = BTreeMap<(&'a str, String), Vec<String>>;

/// Modules beside each other, with all that is in them, do not use each other. What they share stands in the module around them or
/// in one of its own.
#[test]
fn no_modules_use_each_other_in_a_circle() {
    let files = files(src());
    let mut edges: BTreeMap<&[String], Edges> = BTreeMap::new();
    for (user, used, place) in uses(&files) {
        let common = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
        let around = &user[..common];
        let (Some(user), Some(used)) = (user.get(common), used.get(common)) else { continue };
        if around == ["ir"] && ONE_TYPE.contains(&user.as_str()) && ONE_TYPE.contains(&used.as_str()) {
            continue;
        }
        edges.entry(around).or_default().entry((user, used.clone())).or_default().push(place);
    }
    let mut breaches = Vec::new();
    for (around, edges) in &edges {
        for ((user, used), places) in edges {
            if reaches(edges.keys(), used, user) {
                let around = around.join("::");
                breaches.push(format!("{around}: {user} uses {used}, which uses it: {}", places.join(", ")));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Whether one gets from a module to another along the edges.
fn reaches<'a>(edges: impl Iterator<Item = &'a (&'a str, String)> + Clone, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = open.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module.clone()) {
            open.extend(edges.clone().filter(|(user, _)| *user == module).map(|(_, used)| used.clone()));
        }
    }
    false
}

/// Names of environments that are words of the language, too.
const WORDS: [&str; 4] = ["memory", "password", "squared", "stochastic"];

/// Sentence 1.
#[test]
fn commands_configuration_and_trainer_name_no_algorithm_and_no_environment() {
    let files = files(src());
    let names: Vec<String> = algorithms::builtin()
        .iter()
        .map(|entry| entry.name)
        .chain(envs::builtin().iter().map(|entry| entry.name))
        .map(|name| name.replace('-', "_"))
        .collect();
    let mut breaches = Vec::new();
    for file in ["cli", "config", "trainer"].iter().flat_map(|module| within(&files, module)) {
        for (number, line) in file.text.lines().enumerate() {
            let words = line.to_lowercase();
            let mut words = words.split(|c: char| !c.is_alphanumeric() && c != '_');
            let is_name = |word: &&str| names.iter().any(|name| name == word) && !WORDS.contains(word);
            if let Some(name) = words.find(is_name) {
                breaches.push(format!("{}:{}: {name}", file.path.display(), number + 1));
            }
        }
    }
    let games: Vec<String> = envs::builtin().iter().map(|entry| format!("envs::{}", entry.name)).collect();
    let used = uses(&files).into_iter().filter(|(user, used, _)| {
        let above = user.first().is_some_and(|user| ["cli", "config", "trainer"].contains(&user.as_str()));
        above && games.iter().any(|game| used.join("::").starts_with(game))
    });
    breaches.extend(used.map(|(_, _, place)| place));
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Sentence 2.
#[test]
fn a_game_knows_nothing_below_the_language() {
    let files = files(src());
    let known = ["envs", "lang", "array", "files"];
    let games: Vec<String> = envs::builtin().iter().map(|entry| format!("envs::{}", entry.name)).collect();
    let breaches: Vec<String> = uses(&files)
        .into_iter()
        .filter(|(user, _, _)| games.iter().any(|game| user.join("::").starts_with(game)))
        .filter(|(_, used, _)| used.first().is_some_and(|used| !known.contains(&used.as_str())))
        .map(|(_, _, place)| place)
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// The files that an algorithm is made of: its own, and those that all algorithms share.
fn files_of<'a>(files: &'a [File], algorithm: &str) -> Vec<&'a File> {
    let algorithms = algorithms::builtin();
    let is_of_another = |file: &&File| {
        let module = file.module.get(1).map_or("", String::as_str);
        module != algorithm && algorithms.iter().any(|other| other.name == module)
    };
    within(files, "algorithms").filter(|file| !is_of_another(file)).collect()
}

/// How often the files hold some text.
fn count(files: &[&File], text: &str) -> usize {
    files.iter().map(|file| file.text.matches(text).count()).sum()
}

/// Sentence 3. Where a metric is recorded stand its name, its meaning, its aggregation and its range; whoever needs the name elsewhere
/// takes it from a constant.
#[test]
fn a_metric_is_declared_in_one_place() {
    let files = files(src());
    let mut found = 0;
    for algorithm in algorithms::builtin() {
        let own = files_of(&files, algorithm.name);
        let metrics = envs::builtin().map(|env| (algorithm.metrics)(env.build().into()).unwrap_or_default());
        for name in metrics.into_iter().flatten().map(|metric| metric.name) {
            let declared = count(&own, &format!("\"{name}\""));
            assert!(declared <= 1, "{}: {name} is written {declared} times", algorithm.name);
            found += declared;
        }
    }
    assert!(found > 10, "only {found} metrics were found where they are declared");
}

/// Sentence 4: as a setting. `traced!` makes the rest of it.
#[test]
fn a_traced_number_is_declared_once() {
    let files = files(src());
    for algorithm in algorithms::builtin() {
        let own = files_of(&files, algorithm.name);
        for name in algorithm.traced {
            let fields = ["f64", "bool"].map(|kind| count(&own, &format!("pub {name}: {kind},")));
            assert_eq!(fields.iter().sum::<usize>(), 1, "the setting {name} of {}", algorithm.name);
        }
    }
}

/// A pipe in the place of a file would be waited for, one without end be read for ever. The files of `files` and `trainer::files` look
/// first.
#[test]
fn files_are_opened_by_those_who_look_whether_they_are_files() {
    const OPENING: [&str; 5] =
        ["fs::read(", "fs::read_to_string(", "File::open(", "File::options(", "OpenOptions::new("];
    const LOOKING: [&str; 2] = ["files", "trainer::files"];
    let opens = |code: &str, call: &str| {
        let is_whole = |(at, _): (usize, &str)| !code[..at].ends_with(|c: char| c.is_alphanumeric());
        code.match_indices(call).any(is_whole)
    };
    let (mut breaches, mut seen) = (Vec::new(), 0);
    for File { path, module, text, code } in files(src()) {
        for (number, (line, code)) in text.lines().zip(code.lines()).enumerate() {
            if OPENING.iter().all(|call| !opens(code, call)) {
                continue;
            }
            match LOOKING.contains(&module.join("::").as_str()) || line.contains("\"/dev/tty\"") {
                true => seen += 1,
                false => breaches.push(format!("{}:{}: {}", path.display(), number + 1, line.trim())),
            }
        }
    }
    assert!(seen > 2, "the test does not see the code");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
