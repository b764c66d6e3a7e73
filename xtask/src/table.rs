//! Text tables for terminals.

/// Lines `rows` up in columns, two spaces apart; the last column is as long as it likes. Ends in a newline.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["peer", "version", "tests"]), row(["ip", "", "a, b"])];
        assert_eq!(table(&rows), "peer  version  tests\nip             a, b\n");
    }
}
