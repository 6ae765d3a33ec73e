//! Which processor, and which versions of the libraries.

use weapon_aead::Backend;

/// One line about the machine and what runs on it.
pub fn line() -> String {
    let found = Backend::detect();
    let reason = match found.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    format!(
        "{}; backend `{}`{reason}; {}",
        processor(),
        found.backend.name(),
        openssl::version::version()
    )
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        })
        .to_owned()
}
