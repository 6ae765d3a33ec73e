//! The markdown of a run: for each operation what our own reaches and how it compares, then what
//! the libraries reach.

use std::fmt::Write;

use crate::measure::{Cell, Operation, Plan};

/// What ratios are to.
pub const REFERENCE: &str = "aws-lc-rs";
/// Whose ratios are shown.
pub const OWN: &str = "weapon-aead";

/// All tables.
pub fn markdown(plan: &Plan, cells: &[Cell], machine: &str, command: &str) -> String {
    let mut out = format!(
        "{machine}.\nMedians of {} interleaved rounds, one core. Made by `{command}`.\n",
        plan.rounds
    );
    for operation in Operation::ALL {
        let heading = format!(
            "\n### {OWN}, {}: GB/s (times {REFERENCE}, median of the rounds' ratios)\n",
            operation.name()
        );
        push_line(&mut out, &heading);
        let row = |size| {
            let texts = plan.batches.iter().map(move |&batch| {
                let own = cell(cells, OWN, operation, size, batch)?;
                let reference = cell(cells, REFERENCE, operation, size, batch)?;
                Some(format!(
                    "{:.2} (**{:.2}**)",
                    own.speed(),
                    own.ratio(reference)
                ))
            });
            texts.collect()
        };
        push_table(&mut out, plan, row);
    }
    push_line(
        &mut out,
        "\n### All of them, batches of 8: GB/s, seal / open\n",
    );
    push_others(&mut out, plan, cells);
    out
}

/// The median of one cell.
pub fn speed(
    cells: &[Cell],
    contender: &str,
    operation: Operation,
    size: usize,
    batch: usize,
) -> Option<f64> {
    cell(cells, contender, operation, size, batch).map(Cell::speed)
}

fn cell<'a>(
    cells: &'a [Cell],
    contender: &str,
    operation: Operation,
    size: usize,
    batch: usize,
) -> Option<&'a Cell> {
    cells.iter().find(|cell| {
        cell.contender == contender
            && cell.operation == operation
            && cell.size == size
            && cell.batch == batch
    })
}

/// The contenders in the order in which they were measured.
pub fn contenders(cells: &[Cell]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for cell in cells {
        if !names.contains(&cell.contender) {
            names.push(cell.contender);
        }
    }
    names
}

/// The batch that the comparison of all is about: eight, or the largest there is.
pub fn usual_batch(plan: &Plan) -> Option<usize> {
    let eight = plan.batches.iter().find(|&&batch| batch == 8);
    eight.or(plan.batches.iter().max()).copied()
}

fn push_table(out: &mut String, plan: &Plan, row: impl Fn(usize) -> Vec<Option<String>>) {
    let heads: Vec<String> = plan
        .batches
        .iter()
        .map(|batch| format!("batch {batch}"))
        .collect();
    push_line(out, &format!("| bytes | {} |", heads.join(" | ")));
    push_line(out, &format!("|--:|{}", "--:|".repeat(heads.len())));
    for &size in &plan.sizes {
        let texts = row(size).into_iter().map(Option::unwrap_or_default);
        let texts: Vec<String> = texts.collect();
        push_line(out, &format!("| {size} | {} |", texts.join(" | ")));
    }
}

fn push_others(out: &mut String, plan: &Plan, cells: &[Cell]) {
    let Some(batch) = usual_batch(plan) else {
        return;
    };
    let names = contenders(cells);
    push_line(out, &format!("| bytes | {} |", names.join(" | ")));
    push_line(out, &format!("|--:|{}", "--:|".repeat(names.len())));
    for &size in &plan.sizes {
        let texts: Vec<String> = names
            .iter()
            .map(|name| {
                let speeds = Operation::ALL
                    .map(|operation| speed(cells, name, operation, size, batch).unwrap_or(0.0));
                format!("{:.2} / {:.2}", speeds[0], speeds[1])
            })
            .collect();
        push_line(out, &format!("| {size} | {} |", texts.join(" | ")));
    }
}

fn push_line(out: &mut String, line: &str) {
    let _infallible = writeln!(out, "{line}");
}

/// `text` with what stands between the two comments replaced by `figures`; none without them.
pub fn replaced(text: &str, figures: &str) -> Option<String> {
    const BEGIN: &str = "<!-- figures: begin -->\n";
    const END: &str = "<!-- figures: end -->";
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", figures.trim_end()).replace("\n\n\n", "\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn example() -> (Plan, Vec<Cell>) {
        let plan = Plan {
            sizes: vec![1420],
            batches: vec![1, 8],
            rounds: 3,
            sample_us: 1,
        };
        let mut cells = Vec::new();
        // The machine is slow in one round and disturbs one contender in another: 2, 2 and 9 times.
        for (contender, rounds) in [(OWN, [4.0, 2.0, 9.0]), (REFERENCE, [2.0, 1.0, 1.0])] {
            for operation in Operation::ALL {
                for batch in [1, 8] {
                    cells.push(Cell {
                        contender,
                        operation,
                        size: 1420,
                        batch,
                        rounds: rounds.to_vec(),
                    });
                }
            }
        }
        (plan, cells)
    }

    #[test]
    fn ratios_are_medians_of_the_rounds() {
        let (plan, cells) = example();
        let text = markdown(&plan, &cells, "a machine", "a command");
        assert!(
            text.contains("| 1420 | 4.00 (**2.00**) | 4.00 (**2.00**) |"),
            "{text}"
        );
        assert!(
            text.contains("| 1420 | 4.00 / 4.00 | 1.00 / 1.00 |"),
            "{text}"
        );
    }

    #[test]
    fn only_what_stands_between_the_comments_is_replaced() {
        let text = "a\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nb\n";
        let new = replaced(text, "new\n").unwrap_or_default();
        let expected = "a\n<!-- figures: begin -->\n\nnew\n<!-- figures: end -->\nb\n";
        assert_eq!(new, expected);
        assert_eq!(replaced(&new, "new\n"), Some(new.clone()));
        assert_eq!(replaced("nothing to replace\n", "new"), None);
    }
}
