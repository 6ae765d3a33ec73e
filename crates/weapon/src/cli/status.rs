//! Arguments of `weapon status`.

use std::time::Duration;

/// Arguments of `weapon status`.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// The gateway's NAME, or the path of its FILE; all that run if left out
    #[arg(value_name = "NAME|FILE")]
    pub target: Option<String>,
    /// Show what is set on the system, and whether it is there: addresses, routes, rules
    #[arg(long)]
    pub system: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show it on the whole terminal, and go on until `q` is pressed
    #[arg(long, conflicts_with_all = ["json", "system"])]
    pub watch: bool,
    /// Seconds from one look to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    #[arg(requires = "watch")]
    pub interval: Duration,
}

/// Seconds, also with a decimal point.
///
/// # Errors
/// It is something else, or too short or too long to be of use.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("{text:?} is no time: write seconds, as 2 or 0.5"))?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("from 0.1 to 3600 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds() {
        let milliseconds = |text| interval(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("1"), Ok(1000));
        assert_eq!(milliseconds("0.5"), Ok(500));
        assert_eq!(milliseconds("2s"), Ok(2000));
        for bad in ["", "s", "0", "-1", "0.01", "3601", "NaN", "inf", "1m"] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }
}
