//! The drawing of a run: bars of all contenders for each size, in the colours of the other charts.

use std::fmt::Write;

use crate::{
    measure::{Cell, Operation, Plan},
    table::{OWN, contenders, speed, usual_batch},
};

const WIDTH: usize = 960;
const MARGIN: usize = 28;
const GUTTER: usize = 44;
const PANEL_WIDTH: usize = (WIDTH - 2 * MARGIN - GUTTER) / 2;
const TITLE_HEIGHT: usize = 92;
const SIZE_WIDTH: usize = 52;
const NAME_WIDTH: usize = 88;
/// Room for a value behind the longest bar.
const VALUE_WIDTH: usize = 40;
const BAR_WIDTH_MAX: usize = PANEL_WIDTH - SIZE_WIDTH - NAME_WIDTH - VALUE_WIDTH;
const BAR_HEIGHT: usize = 11;
const BAR_PITCH: usize = 15;
const GROUP_GAP: usize = 12;

/// Colours of day and night: the picture brings its own ground, so they always fit each other.
const STYLE: &str = "\
.ground{fill:#ffffff;stroke:#d5dae1}.ink{fill:#1b2330}.faint{fill:#657083}\
.weapon{fill:#0f7b6c}.peer{fill:#9aa5b5}\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:11px}\
.title{font-size:18px;font-weight:600}.heading{font-size:13px;font-weight:600}\
.bold{font-weight:600}.number{font-variant-numeric:tabular-nums}\
@media(prefers-color-scheme:dark){\
.ground{fill:#12171f;stroke:#2b3442}.ink{fill:#e6ebf2}.faint{fill:#95a1b3}\
.weapon{fill:#2fbfa8}.peer{fill:#5c6878}}";

/// The whole drawing; none of an empty run.
pub fn svg(plan: &Plan, cells: &[Cell], machine: &str) -> Option<String> {
    let batch = usual_batch(plan)?;
    let names = contenders(cells);
    let group_height = names.len() * BAR_PITCH + GROUP_GAP;
    let height = TITLE_HEIGHT + plan.sizes.len() * group_height + MARGIN;
    let longest = cells
        .iter()
        .filter(|cell| cell.batch == batch)
        .map(Cell::speed)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut body = String::new();
    for (column, operation) in Operation::ALL.into_iter().enumerate() {
        let left = MARGIN + column * (PANEL_WIDTH + GUTTER);
        push(
            &mut body,
            &format!(
                "<text class=\"ink heading\" x=\"{left}\" y=\"{}\">{} \
                 <tspan class=\"faint\" font-weight=\"400\">GB/s, longer is better</tspan></text>",
                TITLE_HEIGHT - 10,
                operation.name()
            ),
        );
        for (group, &size) in plan.sizes.iter().enumerate() {
            let top = TITLE_HEIGHT + group * group_height;
            let text = format!(
                "<text class=\"ink number\" x=\"{left}\" y=\"{}\">{size} B</text>",
                top + 9
            );
            push(&mut body, &text);
            for (row, name) in names.iter().enumerate() {
                let value = speed(cells, name, operation, size, batch)?;
                let at = (left + SIZE_WIDTH, top + row * BAR_PITCH);
                push(&mut body, &bar(at, name, value, value / longest));
            }
        }
    }
    let title = format!("ChaCha20-Poly1305, {batch} packets of one key per call, one core");
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"ink title\" x=\"{MARGIN}\" y=\"38\">{title}</text>\n\
         <text class=\"faint\" x=\"{MARGIN}\" y=\"58\">{}</text>\n{body}</svg>\n",
        WIDTH - 1,
        height - 1,
        escaped(machine),
    ))
}

fn bar((left, y): (usize, usize), name: &str, value: f64, share: f64) -> String {
    let (class, weight) = if name == OWN {
        ("weapon", " bold")
    } else {
        ("peer", "")
    };
    let (bar_left, text_y) = (left + NAME_WIDTH, y + 9);
    let width = (share * BAR_WIDTH_MAX as f64).max(1.0);
    let value_left = bar_left as f64 + width + 6.0;
    format!(
        "<text class=\"ink{weight}\" x=\"{left}\" y=\"{text_y}\">{}</text>\
         <rect class=\"{class}\" x=\"{bar_left}\" y=\"{y}\" width=\"{width:.1}\" \
         height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
         <text class=\"ink number{weight}\" x=\"{value_left:.1}\" y=\"{text_y}\">{value:.2}</text>",
        escaped(name)
    )
}

fn push(out: &mut String, line: &str) {
    let _infallible = writeln!(out, "{line}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
