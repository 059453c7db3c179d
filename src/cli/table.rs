//! Tables of text: columns as wide as what is in them.

/// Rows of cells under a head, in aligned columns two spaces apart. Columns whose head begins with `>` are aligned to the
/// right; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let is_right = |column: usize| head[column].starts_with('>');
    let titles: Vec<String> = head.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&titles]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in [&titles].into_iter().chain(rows) {
        let cells = row.iter().enumerate().map(|(column, cell)| match (is_right(column), widths[column]) {
            (true, width) => format!("{cell:>width$}"),
            (false, width) => format!("{cell:<width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "10", "x"], ["long", "9", ""]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&["name", ">n", "note"], &rows), "name   n  note\na     10  x\nlong   9\n");
    }
}
