//! The part of a Markdown file that is generated, between two comments.

use std::fmt::Write;

use super::{Report, table};

/// What the generated part begins with.
const BEGIN: &str = "<!-- begin: written by cargo xtask bench -->";
/// What it ends with.
const END: &str = "<!-- end: written by cargo xtask bench -->";

/// The text with a new generated part; none if the comments are not in it, in order.
pub(super) fn replaced(text: &str, generated: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{generated}\n{END}{after}"))
}

/// Machine, command, versions, chart and tables.
pub(super) fn generated(report: &Report, chart: &str) -> String {
    let mut text = format!(
        "{}, commit {}.\n{}\n\n",
        report.machine_line(),
        report.facts.commit,
        report.method_line()
    );
    for warning in report.warnings() {
        let _infallible = writeln!(text, "**Note:** {warning}.\n");
    }
    let _infallible = writeln!(text, "```console\n# {}\n```\n", report.command);
    let _infallible = writeln!(text, "![Bar chart of the medians below]({chart})\n");
    for (heading, table) in [
        ("Medians and spread", table::values(report)),
        ("Ratios", table::ratios(report)),
        ("What the project aims at", table::verdicts(report)),
        ("Who took part", participants(report)),
    ] {
        let _infallible = writeln!(text, "### {heading}\n\n{}", table.markdown());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn participants(report: &Report) -> table::Table {
    let heading = ["", "version", "cipher", "settings"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(report.contenders().map(|contender| {
        let version = report.versions.get(&contender);
        vec![
            contender.name().to_owned(),
            version.cloned().unwrap_or_default(),
            contender.cipher().to_owned(),
            format!("`{}`", contender.settings()),
        ]
    }));
    table::Table(rows)
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn only_what_stands_between_the_comments_is_replaced() {
        let text = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nfoot\n");
        let once = replaced(&text, "new\n").unwrap();
        assert_eq!(
            once,
            format!("# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nfoot\n")
        );
        assert_eq!(replaced(&once, "new\n"), Some(once));
    }

    #[test]
    fn without_the_comments_in_order_nothing_is_replaced() {
        assert_eq!(replaced("# Title\n", "new"), None);
        assert_eq!(replaced(&format!("{BEGIN}\n"), "new"), None);
        assert_eq!(replaced(&format!("{END}\n{BEGIN}\n"), "new"), None);
    }

    #[test]
    fn the_generated_part_says_how_with_what_and_how_fast() {
        let text = generated(&example(), "benchmarks.svg");
        for part in [
            "# cargo xtask bench\n",
            "(benchmarks.svg)",
            "commit abc",
            "| 4.00 (3.90 to 4.40) |",
            "| boringtun | boringtun 1.0 | ChaCha20-Poly1305 |",
            "| reached |",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
