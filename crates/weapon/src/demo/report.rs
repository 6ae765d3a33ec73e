//! Rows, the table and the JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::json;

use crate::cli;

/// One thing that was shown, or was not.
struct Row {
    name: String,
    ok: bool,
    figure: Option<f64>,
    unit: &'static str,
    /// Why it is not good.
    trouble: Option<String>,
}

/// A measured value with its unit, and whether it is as it should be.
pub(super) struct Figure {
    value: f64,
    unit: &'static str,
    trouble: Option<String>,
}

impl Figure {
    /// A value that is good as it is.
    pub(super) fn new(value: f64, unit: &'static str) -> Self {
        Self {
            value,
            unit,
            trouble: None,
        }
    }

    /// A duration in microseconds.
    pub(super) fn micros(duration: Duration) -> Self {
        Self::new(duration.as_secs_f64() * 1e6, "µs")
    }

    /// A duration in milliseconds.
    pub(super) fn millis(duration: Duration) -> Self {
        Self::new(duration.as_secs_f64() * 1e3, "ms")
    }

    /// A duration in seconds.
    pub(super) fn secs(duration: Duration) -> Self {
        Self::new(duration.as_secs_f64(), "s")
    }

    /// The same, good only if `ok`; else `trouble` says why not.
    pub(super) fn expect(mut self, ok: bool, trouble: impl FnOnce() -> String) -> Self {
        if !ok {
            self.trouble = Some(trouble());
        }
        self
    }
}

/// The rows so far, and progress on standard error.
pub(super) struct Report {
    rows: Vec<Row>,
    /// Standard error is a terminal: progress overwrites itself.
    lively: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            lively: std::io::stderr().is_terminal(),
        }
    }

    /// Says what happens next.
    pub(super) fn doing(&self, what: &str) {
        if self.lively {
            write_error(&format!("\r\x1b[K… {what}"));
        } else {
            write_error(&format!("… {what}\n"));
        }
    }

    /// Adds a row. An error makes it a bad one.
    pub(super) fn row(&mut self, name: &str, result: anyhow::Result<Figure>) {
        let name = name.to_owned();
        self.rows.push(match result {
            Ok(Figure {
                value,
                unit,
                trouble,
            }) => Row {
                name,
                ok: trouble.is_none(),
                figure: Some(value),
                unit,
                trouble,
            },
            Err(error) => {
                let trouble = Some(format!("{error:#}"));
                Row {
                    name,
                    ok: false,
                    figure: None,
                    unit: "",
                    trouble,
                }
            }
        });
    }

    /// Whether there are rows and all are good.
    pub(super) fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.ok)
    }

    /// Prints the table; with `as_json` to standard error, and the object to standard output.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn finish(&self, as_json: bool, took: Duration) -> anyhow::Result<()> {
        self.clear_progress();
        if as_json {
            let table = self.table(took, std::io::stderr().is_terminal());
            write_error(&table);
            cli::print(&self.json().to_string())?;
        } else {
            cli::print(self.table(took, std::io::stdout().is_terminal()).trim_end())?;
        }
        Ok(())
    }

    /// Removes the line that says what happens next.
    pub(super) fn clear_progress(&self) {
        if self.lively {
            write_error("\r\x1b[K");
        }
    }

    fn table(&self, took: Duration, terminal: bool) -> String {
        let name_width = self
            .rows
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or(0);
        let figure_width = self
            .rows
            .iter()
            .map(|row| row.number().len())
            .max()
            .unwrap_or(0);
        let [good, bad, dim, plain] = match terminal {
            true => ["\x1b[32m✓\x1b[0m", "\x1b[31m✗\x1b[0m", "\x1b[2m", "\x1b[0m"],
            false => ["ok    ", "FAILED", "", ""],
        };
        let mut table = String::from("\n");
        for row in &self.rows {
            let mark = if row.ok { good } else { bad };
            let pad = name_width - row.name.chars().count();
            let dots = "·".repeat(pad + 2);
            let line = format!(
                "  {mark} {} {dim}{dots}{plain} {:>figure_width$} {}",
                row.name,
                row.number(),
                row.unit
            );
            table.push_str(line.trim_end());
            table.push('\n');
            if let Some(trouble) = &row.trouble {
                table.push_str(&format!("      {}\n", trouble.replace('\n', "\n      ")));
            }
        }
        let bad_count = self.rows.iter().filter(|row| !row.ok).count();
        let verdict = match bad_count {
            _ if self.rows.is_empty() => "nothing was shown".to_owned(),
            0 => format!("all {} good", self.rows.len()),
            count => format!("{count} of {} not good", self.rows.len()),
        };
        table.push_str(&format!("\n  {verdict}, in {:.1} s\n", took.as_secs_f64()));
        table
    }

    fn json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let mut object = json!({
                    "name": row.name, "ok": row.ok, "figure": row.figure, "unit": row.unit,
                });
                if let Some(trouble) = &row.trouble {
                    object["trouble"] = json!(trouble);
                }
                object
            })
            .collect();
        json!({ "ok": self.is_good(), "rows": rows })
    }
}

impl Row {
    /// The figure with as many digits as mean something.
    fn number(&self) -> String {
        match self.figure {
            None => "–".into(),
            Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
            Some(value) if value >= 100.0 => format!("{value:.0}"),
            Some(value) if value >= 10.0 => format!("{value:.1}"),
            Some(value) => format!("{value:.2}"),
        }
    }
}

/// A line for people, on standard error: standard output is for the result.
pub(super) fn say(line: &str) {
    write_error(&format!("{line}\n"));
}

fn write_error(text: &str) {
    // That nobody reads it is no reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report {
            rows: Vec::new(),
            lively: false,
        };
        report.row("a short one", Ok(Figure::new(3.0, "of 3")));
        report.row(
            "round trip µs",
            Ok(Figure::micros(Duration::from_nanos(51_500))),
        );
        report
    }

    #[test]
    fn table_is_aligned_and_plain_off_a_terminal() {
        let table = report().table(Duration::from_millis(1234), false);
        assert_eq!(
            table,
            "\n  ok     a short one ····    3 of 3\n  ok     round trip µs ·· 51.5 µs\n\n  \
             all 2 good, in 1.2 s\n"
        );
        assert!(report().table(Duration::ZERO, true).contains("\x1b[32m✓"));
    }

    #[test]
    fn one_bad_row_spoils_all() {
        let mut report = report();
        assert!(report.is_good());
        let zero = Figure::new(2.0, "left").expect(false, || "two are left".into());
        report.row("nothing is left", Ok(zero));
        report.row("broken", Err(anyhow::anyhow!("inner").context("outer")));
        assert!(!report.is_good());
        let json = report.json();
        assert_eq!(json["ok"], false);
        assert_eq!(json["rows"][0]["ok"], true);
        assert_eq!(json["rows"][2]["figure"], 2.0);
        assert_eq!(json["rows"][3]["trouble"], "outer: inner");
        let table = report.table(Duration::ZERO, false);
        assert!(table.contains("FAILED nothing is left"), "{table}");
        assert!(table.contains("2 of 4 not good"), "{table}");
    }

    #[test]
    fn nothing_shown_is_not_good() {
        assert!(
            !Report {
                rows: Vec::new(),
                lively: false
            }
            .is_good()
        );
    }
}
