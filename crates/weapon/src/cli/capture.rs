//! Arguments of `weapon capture`.

use std::path::PathBuf;

/// Arguments of `weapon capture`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A filter is a part of tcpdump's language: host, net, port, portrange, src, dst, ip, ip6, tcp, udp, \
icmp, icmp6, proto, inbound, outbound, and, or, not, and parentheses.\n\n\
  weapon capture site-a -w site-a.pcapng --seconds 60\n  \
  weapon capture site-a --peer site-b --filter 'tcp port 443' | tcpdump -nr -\n  \
  weapon capture site-a | wireshark -k -i -")]
pub struct CaptureArgs {
    /// The gateway's NAME, or the path of its FILE; the only one that runs if left out
    #[arg(value_name = "NAME|FILE")]
    pub target: Option<String>,
    /// Only packets for this peer, or from it
    #[arg(long, value_name = "PEER")]
    pub peer: Option<String>,
    /// Look before the filter decides: packets that die are shown too, with the reason [default]
    #[arg(long, conflicts_with = "after")]
    pub before: bool,
    /// Look after the filter: packets that go on, and no others
    #[arg(long)]
    pub after: bool,
    /// Only packets that this fits, as 'tcp port 443 and net 10.1.0.0/16'
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// End after so many packets
    #[arg(long, value_name = "PACKETS", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// End before the file is larger than this, as 500000, 64M or 1G
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub size: Option<u64>,
    /// Write to this file; - is standard output, which is what is used if this is left out
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Bytes, also with K, M or G, which are powers of 1024.
///
/// # Errors
/// It is something else, or none at all.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1_u64),
    };
    let count: Option<u64> = digits.parse().ok();
    let bytes = count.and_then(|count| count.checked_mul(unit));
    match bytes {
        Some(0) => Err("no room for anything".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!(
            "{text:?} is no size: write bytes, as 500000, 64M or 1G"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("5"), Ok(5));
        assert_eq!(size("2K"), Ok(2048));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        for bad in ["", "M", "-1", "0", "1T", "1.5M", "99999999999999G"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }
}
