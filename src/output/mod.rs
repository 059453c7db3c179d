//! Lines for people, on stderr. Whoever reads them may have left; what a program does goes on all the same, so nothing
//! here fails or panics, as `eprintln!` would (clippy refuses that everywhere else).

use std::io::Write;

/// Says a line.
pub fn tell(line: &str) {
    prompt(&format!("{line}\n"));
}

/// Says what an answer is expected to, on the same line.
pub fn prompt(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
