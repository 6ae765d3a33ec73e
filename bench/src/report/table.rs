//! The tables: values, and ours divided by those of the others.

use std::fmt::Write;

use super::{Report, goals};
use crate::contender::Contender;
use crate::metric::Metric;

/// Rows of cells, the first of them headings.
pub(super) struct Table(pub(super) Vec<Vec<String>>);

/// What stands where nothing was measured.
const NOTHING: &str = "-";

/// The values: median, and in parentheses least and greatest.
pub(super) fn values(report: &Report) -> Table {
    let mut heading = vec![String::new(), "better".to_owned()];
    heading.extend(report.contenders().map(|it| it.name().to_owned()));
    let mut rows = vec![heading];
    for metric in report.metrics() {
        let mut row = vec![metric.title(), metric.better.word().to_owned()];
        row.extend(report.contenders().map(|it| value(report, it, metric)));
        rows.push(row);
    }
    Table(rows)
}

fn value(report: &Report, contender: Contender, metric: &Metric) -> String {
    let Some(summary) = report.summary(contender, metric) else {
        return NOTHING.to_owned();
    };
    let [median, min, max] = [summary.median, summary.min, summary.max].map(|it| metric.text(it));
    if summary.count == 1 {
        return median;
    }
    format!("{median} ({min} to {max})")
}

/// Ours divided by those of the others.
pub(super) fn ratios(report: &Report) -> Table {
    let mut heading = vec!["weapon divided by".to_owned(), "better".to_owned()];
    heading.extend(report.others().map(|it| it.name().to_owned()));
    let mut rows = vec![heading];
    for metric in report.metrics() {
        let mut row = vec![metric.heading.to_owned(), metric.better.word().to_owned()];
        row.extend(report.others().map(|it| {
            let ratio = report.ratio(it, metric);
            ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
        }));
        rows.push(row);
    }
    Table(rows)
}

/// What was aimed at, and whether it was reached.
pub(super) fn verdicts(report: &Report) -> Table {
    let heading = ["goal", "wanted", "measured", "verdict"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(goals::of(report).iter().map(|goal| {
        vec![
            goal.text.clone(),
            goal.wanted(),
            goal.measured
                .map_or(NOTHING.to_owned(), |it| format!("{it:.2}")),
            goal.verdict().to_owned(),
        ]
    }));
    Table(rows)
}

/// All of it for a terminal.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!(
        "{}, commit {}\n{}\n",
        report.machine_line(),
        report.facts.commit,
        report.method_line()
    );
    for warning in report.warnings() {
        let _infallible = writeln!(text, "note: {warning}");
    }
    for table in [values(report), ratios(report), verdicts(report)] {
        text.push('\n');
        text.push_str(&table.aligned());
    }
    text
}

impl Table {
    /// Columns of equal width: the first to the left, the others to the right.
    fn aligned(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.0.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _infallible = write!(line, "  {cell:>width$}");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A table of Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.0.iter().enumerate() {
            let _infallible = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _infallible = writeln!(text, "|---{}|", "|--:".repeat(row.len() - 1));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_value_has_its_spread_if_there_was_more_than_one() {
        let Table(rows) = values(&example());
        let row = rows.iter().find(|row| row[0] == "TCP, 1 stream, Gbit/s");
        let row = row.unwrap();
        assert_eq!(row[1], "higher");
        assert_eq!(row[2], "4.00 (3.90 to 4.40)");
        assert_eq!(row[3], "3.20");
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    }

    #[test]
    fn figures_that_nobody_has_are_left_out_and_gaps_are_marked() {
        let Table(rows) = values(&example());
        assert!(!rows.iter().any(|row| row[0].contains("UDP")));
        let memory = rows.iter().find(|row| row[0].contains("memory")).unwrap();
        assert_eq!(memory.last().map(String::as_str), Some(NOTHING));
    }

    #[test]
    fn ratios_have_a_column_for_everybody_else() {
        let Table(rows) = ratios(&example());
        assert_eq!(
            rows[0][2..],
            [
                "weapon-library",
                "weapon-null",
                "boringtun",
                "gotatun",
                "none"
            ]
        );
        let row = rows.iter().find(|row| row[0] == "TCP, 1 stream").unwrap();
        assert_eq!(row[2..], ["1.25", "0.50", "10.00", "4.00", "0.25"]);
    }

    #[test]
    fn columns_are_aligned_and_markdown_has_its_rule() {
        let table = Table(vec![
            vec!["a".into(), "long".into()],
            vec!["µs".into(), "1".into()],
        ]);
        assert_eq!(table.aligned(), "a   long\nµs     1\n");
        assert_eq!(table.markdown(), "| a | long |\n|---|--:|\n| µs | 1 |\n");
    }
}
