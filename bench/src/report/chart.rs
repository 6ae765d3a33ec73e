//! The bar chart: a drawing that needs no program to be looked at, by day or by night.

use std::fmt::Write;

use super::Report;
use crate::contender::Contender;
use crate::metric::{
    Better, CPU_SYSTEM, HANDSHAKES, IDLE_P50, LOADED_P99, Metric, TCP_FORWARD, UDP_LARGE, UDP_SMALL,
};

/// What is drawn, in reading order.
const PANELS: [Metric; 7] = [
    TCP_FORWARD,
    CPU_SYSTEM,
    UDP_SMALL,
    UDP_LARGE,
    IDLE_P50,
    LOADED_P99,
    HANDSHAKES,
];

const WIDTH: usize = 960;
const MARGIN: usize = 28;
const GUTTER: usize = 44;
const PANEL_WIDTH: usize = (WIDTH - 2 * MARGIN - GUTTER) / 2;
const TITLE_HEIGHT: usize = 64;
const HEADING_HEIGHT: usize = 34;
const BAR_HEIGHT: usize = 14;
const BAR_PITCH: usize = 21;
const PANEL_GAP: usize = 26;
const LABEL_WIDTH: usize = 98;
/// Room for a value behind the longest bar.
const VALUE_WIDTH: usize = 62;
const BAR_WIDTH_MAX: usize = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH;

/// Colours of day and night: the picture brings its own ground, so they always fit each other.
const STYLE: &str = "\
.ground{fill:#ffffff;stroke:#d5dae1}.ink{fill:#1b2330}.faint{fill:#657083}\
.weapon{fill:#0f7b6c}.null{fill:#9ccfc6}.peer{fill:#9aa5b5}.bare{fill:#dde2e9}\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:12px}\
.title{font-size:18px;font-weight:600}.heading{font-size:13px;font-weight:600}\
.bold{font-weight:600}.number{font-variant-numeric:tabular-nums}\
@media(prefers-color-scheme:dark){\
.ground{fill:#12171f;stroke:#2b3442}.ink{fill:#e6ebf2}.faint{fill:#95a1b3}\
.weapon{fill:#2fbfa8}.null{fill:#23645b}.peer{fill:#5c6878}.bare{fill:#333c4a}}";

/// The whole drawing.
pub(super) fn svg(report: &Report) -> String {
    let panels: Vec<Panel<'_>> = PANELS
        .iter()
        .filter_map(|metric| Panel::of(report, metric))
        .collect();
    let mut body = String::new();
    let mut top = TITLE_HEIGHT + MARGIN;
    for row in panels.chunks(2) {
        for (column, panel) in row.iter().enumerate() {
            let left = MARGIN + column * (PANEL_WIDTH + GUTTER);
            panel.draw(&mut body, left, top);
        }
        top += row.iter().map(Panel::height).max().unwrap_or(0) + PANEL_GAP;
    }
    let height = top - PANEL_GAP + MARGIN;
    let title = "Two gateways on one machine";
    let under = escaped(&report.machine_line());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"ink title\" x=\"{MARGIN}\" y=\"{}\">{title}</text>\n\
         <text class=\"faint\" x=\"{MARGIN}\" y=\"{}\">{under}</text>\n\
         {body}</svg>\n",
        WIDTH - 1,
        height - 1,
        MARGIN + 16,
        MARGIN + 38,
    )
}

/// The bars of one figure.
struct Panel<'a> {
    metric: &'a Metric,
    bars: Vec<(Contender, f64)>,
}

impl<'a> Panel<'a> {
    /// None if there is nothing to compare.
    fn of(report: &Report, metric: &'a Metric) -> Option<Self> {
        let bars: Vec<_> = report
            .contenders()
            .filter_map(|it| Some((it, report.median(it, metric)?)))
            .collect();
        (bars.len() > 1).then_some(Self { metric, bars })
    }

    fn height(&self) -> usize {
        HEADING_HEIGHT + self.bars.len() * BAR_PITCH
    }

    fn draw(&self, out: &mut String, left: usize, top: usize) {
        let better = match self.metric.better {
            Better::Higher => "longer is better",
            Better::Lower => "shorter is better",
        };
        let _infallible = writeln!(
            out,
            "<text class=\"ink heading\" x=\"{left}\" y=\"{}\">{} \
             <tspan class=\"faint\" font-weight=\"400\">{}, {better}</tspan></text>",
            top + 14,
            escaped(self.metric.heading),
            escaped(self.metric.unit),
        );
        let longest = self
            .bars
            .iter()
            .map(|(_, value)| *value)
            .fold(0.0, f64::max);
        for (number, (contender, value)) in self.bars.iter().enumerate() {
            let y = top + HEADING_HEIGHT + number * BAR_PITCH;
            let share = if longest > 0.0 { value / longest } else { 0.0 };
            let width = (share * BAR_WIDTH_MAX as f64).max(1.0);
            self.draw_bar(out, (left, y), *contender, *value, width);
        }
    }

    fn draw_bar(
        &self,
        out: &mut String,
        (left, y): (usize, usize),
        contender: Contender,
        value: f64,
        width: f64,
    ) {
        let (class, weight) = match contender {
            Contender::Weapon => ("weapon", " bold"),
            Contender::WeaponLibrary | Contender::WeaponNull => ("null", ""),
            Contender::None => ("bare", ""),
            _ => ("peer", ""),
        };
        let label = match contender {
            Contender::None => "no tunnel",
            _ => contender.name(),
        };
        let (bar_left, text_y) = (left + LABEL_WIDTH, y + 11);
        let value_left = bar_left as f64 + width + 7.0;
        let _infallible = writeln!(
            out,
            "<text class=\"ink{weight}\" x=\"{left}\" y=\"{text_y}\">{}</text>\
             <rect class=\"{class}\" x=\"{bar_left}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR_HEIGHT}\" rx=\"3\"/>\
             <text class=\"ink number{weight}\" x=\"{value_left:.1}\" y=\"{text_y}\">{}</text>",
            escaped(label),
            self.metric.text(value),
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    /// Whether elements are closed in order, attributes are quoted, and `&` and `<` are escaped.
    fn is_well_formed(text: &str) -> bool {
        let mut open = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let entities = before.split('&').skip(1);
            let known = ["amp;", "lt;", "gt;", "quot;"];
            for entity in entities {
                if !known.iter().any(|known| entity.starts_with(known)) {
                    return false;
                }
            }
            let Some((tag, after)) = after.split_once('>') else {
                return false;
            };
            rest = after;
            if tag.matches('"').count() % 2 != 0 || tag.contains('<') {
                return false;
            }
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        open.is_empty() && rest.trim().is_empty()
    }

    #[test]
    fn the_check_of_the_tests_can_fail() {
        assert!(is_well_formed("<a b=\"c\"><d/>x &amp; y</a>"));
        for bad in ["<a>", "<a></b>", "<a>x & y</a>", "<a b=\"c></a>", "<a/>x"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn the_drawing_is_well_formed_whatever_the_machine_is_called() {
        let svg = svg(&example());
        assert!(is_well_formed(&svg), "{svg}");
        assert!(svg.contains("A &lt;fast&gt; &amp; new one"));
        assert!(!svg.contains("<script"));
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = svg(&example());
        let panel = Panel::of(&example(), &TCP_FORWARD).unwrap();
        assert_eq!(panel.bars.len(), 6);
        for (_, value) in &panel.bars {
            let width = value / 16.0 * BAR_WIDTH_MAX as f64;
            assert!(svg.contains(&format!("width=\"{width:.1}\"")), "{value}");
            assert!(svg.contains(&format!(">{value:.2}</text>")), "{value}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let svg = svg(&example());
        assert!(svg.contains("CPU, all of the system"));
        assert!(!svg.contains("UDP"));
    }
}
