//! INI files as Python's `configparser` takes them, which PufferLib's are: sections, `key = value`, comments.

use toml::Value;

/// A line that says something.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number, from 1.
    pub line: usize,
    /// In small letters, with underscores.
    pub section: String,
    /// As it is written.
    pub key: String,
    pub value: String,
}

/// The entries of a file, the later of two of a name only. Errors begin with `, line N`.
pub fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, without_comment(line).trim());
        let fail = |problem: &str| Err(format!(", line {number}: {problem}"));
        if line.is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let Some(name) = rest.strip_suffix(']') else { return fail("the section has no ]") };
            section = canonical(name);
            continue;
        }
        let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(':')) else {
            return fail("neither a [section] nor `key = value`");
        };
        if section.is_empty() {
            return fail("a setting before the first [section]");
        }
        let (key, value) = (key.trim().to_owned(), plain(value));
        // Names of parameters of environments have capitals of their own.
        let is_same = |known: &str| known == key || (section != "env" && canonical(known) == canonical(&key));
        entries.retain(|known| known.section != section || !is_same(&known.key));
        entries.push(Entry { line: number, section: section.clone(), key, value });
    }
    Ok(entries)
}

/// The line up to a `#` or `;` that begins it or follows on a blank.
fn without_comment(line: &str) -> &str {
    let begins = |(at, c): &(usize, char)| {
        (*c == '#' || *c == ';') && (*at == 0 || line[..*at].ends_with(char::is_whitespace))
    };
    line.char_indices().find(begins).map_or(line, |(at, _)| &line[..at])
}

/// A name as PufferLib writes it in files, from any form of it: `train.learning_rate`.
pub fn canonical(name: &str) -> String {
    name.trim().to_lowercase().replace('-', "_")
}

/// A value without quotes, and a number without the underscores that PufferLib allows in it.
pub fn plain(value: &str) -> String {
    let value = value.trim();
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    if let Some(text) = quoted('"').or(quoted('\'')) {
        return text.to_owned();
    }
    let digits = value.replace('_', "");
    if digits.parse::<f64>().is_ok_and(f64::is_finite) { digits } else { value.to_owned() }
}

/// A value as a file of settings would have it.
pub fn typed(value: &str) -> Value {
    let float = value.parse::<f64>().ok().filter(|x| x.is_finite());
    match (value.to_lowercase().as_str(), value.parse::<i64>(), float) {
        ("true", ..) => true.into(),
        ("false", ..) => false.into(),
        (_, Ok(number), _) => number.into(),
        // 3e7 is a whole number, which those that count take.
        (_, _, Some(x)) if !value.contains('.') && x.fract() == 0.0 && x.abs() < 1e15 => (x as i64).into(),
        (_, _, Some(x)) => x.into(),
        _ => value.into(),
    }
}
