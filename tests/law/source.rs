//! Reads the source text of the crate as far as its laws need it: modules, what they use, and their text without tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by the names on the way to it, without `crate`.
pub type Name = Vec<String>;

/// A file of the crate.
pub struct File {
    pub path: PathBuf,
    pub module: Name,
    /// Its text without what is only compiled for tests; what was taken out is blank.
    pub text: String,
    /// The text without comments and what strings hold.
    pub code: String,
}

/// All files below `src` but those of tests, which may look anywhere: they check modules against each other.
pub fn files(src: &Path) -> Vec<File> {
    let mut paths = Vec::new();
    rust_files(src, &mut paths);
    let names = |path: &Path| -> Name {
        let path = path.strip_prefix(src).unwrap().with_extension("");
        let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
        names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
    };
    let modules = paths.iter().map(|path| (names(path), path));
    let modules = modules.filter(|(name, path)| {
        !name.iter().any(|part| part == "tests" || part == "template") && !path.ends_with("main.rs")
    });
    modules
        .map(|(module, path)| {
            let text = fs::read_to_string(path).unwrap();
            let (text, code) = without_tests(&text, &code_of(&text));
            File { path: path.clone(), module, text, code }
        })
        .collect()
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The text with a blank for each byte of a comment or of what a string or a character holds.
pub fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + hidden(&bytes[at..], at > 0 && is_name(bytes[at - 1]));
        for byte in &mut code[at..end] {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).unwrap()
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How many bytes of a comment, a string or a character stand at the beginning.
fn hidden(rest: &[u8], in_name: bool) -> usize {
    let until = |end: &[u8], from: usize| {
        let found = rest[from..].windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |found| from + found + end.len())
    };
    let hashes = |from: usize| rest[from..].iter().take_while(|&&byte| byte == b'#').count();
    match rest {
        [b'/', b'/', ..] => until(b"\n", 0) - 1,
        [b'/', b'*', ..] => until(b"*/", 2),
        [b'r', b'"' | b'#', ..] if !in_name && rest.get(1 + hashes(1)) == Some(&b'"') => {
            let count = hashes(1);
            until(&[&b"\""[..], &vec![b'#'; count]].concat(), 2 + count)
        }
        [b'"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != b'"' {
                at += if rest[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(rest.len())
        }
        // A character, not a lifetime.
        [b'\'', b'\\', ..] => until(b"'", 3),
        [b'\'', first, b'\'', ..] if *first != b'\'' => 3,
        _ => 0,
    }
}

/// Blanks the items that are only compiled for tests, modules or others, in a text and its code.
fn without_tests(text: &str, code: &str) -> (String, String) {
    let (mut text, mut kept) = (text.as_bytes().to_vec(), code.as_bytes().to_vec());
    const MARK: &str = "#[cfg(test)]";
    for (at, _) in code.match_indices(MARK) {
        let mut depth = 0;
        let ends = |byte| {
            depth += match byte {
                b'{' => 1,
                b'}' => -1,
                _ => 0,
            };
            depth == 0 && [b'}', b';'].contains(&byte)
        };
        let end = at + code[at..].bytes().position(ends).expect("an item ends");
        for byte in text[at..=end].iter_mut().chain(&mut kept[at..=end]) {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
    }
    (String::from_utf8(text).unwrap(), String::from_utf8(kept).unwrap())
}

/// A path in the code, and the number of the line where it begins. `is_public` says that it is re-exported.
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
    /// Under which name `use` brings it in.
    pub alias: Option<String>,
    pub is_public: bool,
}

/// The paths that a file uses: those of `use`, and those that begin with `crate`, `self` or `super` elsewhere.
pub fn mentions(code: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut tokens = tokens(code).into_iter().peekable();
    let mut is_public = false;
    let mut before = "";
    while let Some((at, token)) = tokens.next() {
        match token {
            "use" => {
                let mut tree = Vec::new();
                for (_, token) in tokens.by_ref().take_while(|(_, token)| *token != ";") {
                    tree.push(token);
                }
                let mut paths = Vec::new();
                expand(&mut &tree[..], &mut Vec::new(), &mut paths);
                let line = line_of(at);
                found.extend(paths.into_iter().map(|(path, alias)| Mention { path, line, alias, is_public }));
            }
            "crate" | "self" | "super" if before != "::" && before != "(" => {
                let mut path = vec![token.to_owned()];
                while tokens.peek().is_some_and(|(_, token)| *token == "::") {
                    tokens.next();
                    match tokens.peek() {
                        Some((_, name)) if is_name(name.as_bytes()[0]) => path.push((*name).to_owned()),
                        _ => break,
                    }
                    tokens.next();
                }
                if path.len() > 1 {
                    found.push(Mention { path, line: line_of(at), alias: None, is_public: false });
                }
            }
            _ => {}
        }
        is_public = token == "pub" || (is_public && ["(", ")", "crate", "super"].contains(&token));
        before = token;
    }
    found
}

/// Names, `::` and single signs, with where they stand.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            byte if is_name(byte) => bytes[at..].iter().take_while(|&&byte| is_name(byte)).count(),
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            byte if byte.is_ascii() => 1,
            _ => code[at..].chars().next().unwrap().len_utf8(),
        };
        if !bytes[at].is_ascii_whitespace() {
            found.push((at, &code[at..at + length]));
        }
        at += length;
    }
    found
}

/// The paths of a tree of `use`, each with the name it brings in.
fn expand(tokens: &mut &[&str], prefix: &mut Vec<String>, out: &mut Vec<(Vec<String>, Option<String>)>) {
    let depth = prefix.len();
    while let Some((&token, rest)) = tokens.split_first() {
        *tokens = rest;
        match token {
            "::" => {}
            "{" => {
                loop {
                    expand(tokens, prefix, out);
                    let Some((&sign, rest)) = tokens.split_first() else { break };
                    *tokens = rest;
                    if sign == "}" {
                        break;
                    }
                }
                prefix.truncate(depth);
                return;
            }
            "as" => {
                let (alias, rest) = tokens.split_first().unwrap();
                *tokens = rest;
                out.push((prefix.clone(), Some((*alias).to_owned())));
                prefix.truncate(depth);
                return;
            }
            name => prefix.push(name.to_owned()),
        }
        if matches!(tokens.first(), None | Some(&"," | &"}")) {
            break;
        }
    }
    if prefix.len() > depth {
        if prefix.last().is_some_and(|name| name == "self") {
            prefix.pop();
        }
        out.push((prefix.clone(), prefix.last().cloned()));
    }
    prefix.truncate(depth);
}

/// Who uses whom: modules of the crate with what each mentions, re-exports followed to where they come from.
pub struct Uses {
    modules: BTreeSet<Name>,
    exports: BTreeMap<(Name, String), (Name, Vec<String>)>,
}

impl Uses {
    pub fn new(files: &[File]) -> Uses {
        let modules = files.iter().map(|file| file.module.clone()).collect();
        let mut uses = Uses { modules, exports: BTreeMap::new() };
        for file in files {
            for Mention { path, alias, is_public, .. } in mentions(&file.code) {
                if let (true, Some(alias)) = (is_public, alias) {
                    uses.exports.insert((file.module.clone(), alias), (file.module.clone(), path));
                }
            }
        }
        uses
    }

    /// The module in which what `path` names from inside `module` is written; `None` for what is not of this crate.
    pub fn resolve(&self, module: &Name, path: &[String]) -> Option<Name> {
        self.follow(module, path, 8)
    }

    fn follow(&self, module: &Name, path: &[String], most: usize) -> Option<Name> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len() - 1].to_vec(),
            name => self.child(module, name)?,
        };
        while let Some((name, more)) = rest.split_first() {
            if name == "super" {
                at.pop();
            } else if let Some(child) = self.child(&at, name) {
                at = child;
            } else if let Some((from, path)) = self.exports.get(&(at.clone(), name.clone()))
                && most > 0
                && let Some(found) = self.follow(from, path, most - 1)
            {
                return Some(found);
            } else {
                break;
            }
            rest = more;
        }
        Some(at)
    }

    fn child(&self, module: &[String], name: &str) -> Option<Name> {
        let child = [module, &[name.to_owned()]].concat();
        self.modules.contains(&child).then_some(child)
    }
}
