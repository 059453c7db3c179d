//! Lines for people, on stderr. Whoever reads them may have left; what a program does goes on all the same, so nothing
//! here fails or panics, as `eprintln!` would (clippy refuses that everywhere else).

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// Says a line.
pub fn tell(line: &str) {
    prompt(&format!("{line}\n"));
}

/// Says what an answer is expected to, on the same line.
pub fn prompt(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(printable(text).as_bytes()).and_then(|()| stderr.flush());
}

/// The text as a terminal may have it. Names and messages come from files that somebody else may have written: what
/// would move the cursor, set the title or turn letters around is shown by its code instead.
pub fn printable(text: &str) -> Cow<'_, str> {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if acts(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Whether a stream is a terminal on which the cursor can be moved.
pub fn can_draw(stream: &impl IsTerminal) -> bool {
    let known = std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb");
    stream.is_terminal() && (known || cfg!(windows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_acts_on_it() {
        assert!(matches!(printable("a\tb\nä 日本 ✓"), Cow::Borrowed(_)));
        assert_eq!(printable("a\u{1b}[2J\r\u{7}\u{9b}31mb"), "a\\u{1b}[2J\\r\\u{7}\\u{9b}31mb");
        assert_eq!(printable("abc\u{202e}fed"), "abc\\u{202e}fed");
    }
}
