//! Arguments of `weapon reload` and `weapon confirm`.

use std::time::Duration;

use crate::api::CONFIRM_SECONDS_MAX;

/// Arguments of `weapon reload`.
#[derive(clap::Args, Debug)]
pub struct ReloadArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
    /// Go back after this time unless `weapon confirm` follows, such as 60s or 5m
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub confirm: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `weapon confirm`.
#[derive(clap::Args, Debug)]
pub struct ConfirmArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
}

/// Seconds, also as `60s`, or minutes or hours, as `5m` or `1h`.
///
/// # Errors
/// It is something else, nothing, or more than a day.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no time: write seconds, minutes or hours, as 60s, 5m or 1h");
    let (digits, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds) {
        Some(0) => Err("no time at all: nobody could confirm".into()),
        Some(seconds) if seconds <= CONFIRM_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err("more than a day".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let seconds = |text| time(text).map(|time| time.as_secs());
        assert_eq!(seconds("60"), Ok(60));
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("24h"), Ok(86_400));
        for bad in [
            "",
            "s",
            "0",
            "-1s",
            "1 s",
            "25h",
            "1d",
            "60\u{17f}",
            "99999999999999999999s",
        ] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}
