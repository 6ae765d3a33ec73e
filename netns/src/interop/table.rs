//! The matrix as text.

use std::fmt::Write as _;

/// How a cell came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It was not run.
    Open,
    /// As wanted; perhaps with a note.
    Good(Option<String>),
    /// Not as wanted, and why.
    Failed(String),
    /// This machine lacks something.
    NotAvailable(String),
}

impl Cell {
    fn short(&self) -> &'static str {
        match self {
            Self::Open => "-",
            Self::Good(_) => "good",
            Self::Failed(_) => "**failed**",
            Self::NotAvailable(_) => "not available",
        }
    }

    fn remark(&self) -> Option<&str> {
        match self {
            Self::Open => None,
            Self::Good(note) => note.as_deref(),
            Self::Failed(reason) | Self::NotAvailable(reason) => Some(reason),
        }
    }

    /// With everything that is known of it.
    pub fn long(&self) -> String {
        let short = self.short().trim_matches('*');
        match self.remark() {
            Some(remark) => format!("{short} ({remark})"),
            None => short.to_owned(),
        }
    }
}

/// All cells.
#[derive(Debug)]
pub struct Table {
    peers: Vec<(&'static str, String)>,
    rows: Vec<&'static str>,
    cells: Vec<Cell>,
}

impl Table {
    /// An empty one, of peers with their versions and of rows.
    pub fn new(
        peers: impl IntoIterator<Item = (&'static str, String)>,
        rows: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let (peers, rows): (Vec<_>, Vec<_>) =
            (peers.into_iter().collect(), rows.into_iter().collect());
        let cells = vec![Cell::Open; peers.len() * rows.len()];
        Self { peers, rows, cells }
    }

    pub(super) fn set(&mut self, row: usize, peer: usize, cell: Cell) {
        self.cells[row * self.peers.len() + peer] = cell;
    }

    /// How many cells have failed.
    pub fn failed(&self) -> usize {
        let failed = |cell: &&Cell| matches!(cell, Cell::Failed(_));
        self.cells.iter().filter(failed).count()
    }

    /// In Markdown: versions, the matrix, and remarks below.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| peer | version |\n|---|---|\n");
        for (name, version) in &self.peers {
            line(&mut text, format_args!("| {name} | {version} |"));
        }
        let names: Vec<&str> = self.peers.iter().map(|&(name, _)| name).collect();
        line(&mut text, format_args!("\n| | {} |", names.join(" | ")));
        line(
            &mut text,
            format_args!("|---|{}", "---|".repeat(names.len())),
        );
        let mut remarks = Vec::new();
        for (row, cells) in self.rows.iter().zip(self.cells.chunks(names.len().max(1))) {
            let shorts: Vec<&str> = cells.iter().map(Cell::short).collect();
            line(
                &mut text,
                format_args!("| {row} | {} |", shorts.join(" | ")),
            );
            for (name, cell) in names.iter().zip(cells) {
                if let Some(remark) = cell.remark() {
                    // A table's row is one line.
                    let remark = remark.split_whitespace().collect::<Vec<_>>().join(" ");
                    let remark = remark.replace('|', "\\|");
                    let short = cell.short();
                    remarks.push(format!("| {row} | {name} | {short} | {remark} |"));
                }
            }
        }
        if !remarks.is_empty() {
            text.push_str(
                "\nWhat was seen in it:\n\n| row | peer | | remark |\n|---|---|---|---|\n",
            );
            for remark in remarks {
                line(&mut text, format_args!("{remark}"));
            }
        }
        text
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("room in a string");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_told() {
        let mut table = Table::new([("a", "1".to_owned()), ("b", "2".to_owned())], ["row"]);
        table.set(0, 0, Cell::Good(None));
        table.set(0, 1, Cell::Failed("no\nanswer".to_owned()));
        assert_eq!(table.failed(), 1);
        let text = table.markdown();
        assert!(text.contains("| row | good | **failed** |"), "{text}");
        assert!(
            text.contains("| row | b | **failed** | no answer |"),
            "{text}"
        );
    }
}
