//! Arguments of `weapon why`.

/// Arguments of `weapon why`.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "weapon why [NAME|FILE] SRC[:PORT] DST[:PORT][/PROTOCOL]\n       \
                      weapon why [NAME|FILE] --last-drops",
    after_help = "\
Without a protocol it is tcp if there is a port, else an ICMP echo. Nothing is sent. The exit code \
is 0 if the packet would pass, 1 if not.\n\n  \
  weapon why 10.1.0.5 10.2.0.6:443/tcp\n  \
  weapon why site-a fd00:1::5 [fd00:2::6]:53/udp\n  \
  weapon why 10.2.0.6 10.1.0.5/icmp --size 1400\n  \
  weapon why --last-drops"
)]
pub struct WhyArgs {
    /// The gateway's NAME, or the path of its FILE, which may be left out if one runs; the packet's
    /// source, as its sender has it; and its destination
    #[arg(value_name = "WORD", num_args = 0..=3)]
    pub words: Vec<String>,
    /// The packet comes from this peer, whatever its source is; else who has the source is taken
    #[arg(long, value_name = "PEER", conflicts_with = "last_drops")]
    pub from: Option<String>,
    /// Bytes of the packet with its IP header; it may not be cut
    #[arg(long, value_name = "BYTES", conflicts_with = "last_drops")]
    pub size: Option<usize>,
    /// Show the latest packets that died, and what each reason means
    #[arg(long)]
    pub last_drops: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// What became of the latest packets.
    LastDrops,
    /// What would become of a packet between these ends.
    Packet(&'a str, &'a str),
}

impl WhyArgs {
    /// The gateway, if one is named, and what is asked of it.
    ///
    /// # Errors
    /// Words are missing, or there are too many.
    pub fn asked(&self) -> Result<(Option<&str>, Asked<'_>), String> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match (self.last_drops, &words[..]) {
            (true, []) => Ok((None, Asked::LastDrops)),
            (true, [gateway]) => Ok((Some(gateway), Asked::LastDrops)),
            (true, _) => Err("--last-drops is about no packet: leave SRC and DST out".to_owned()),
            (false, [source, destination]) => Ok((None, Asked::Packet(source, destination))),
            (false, [gateway, source, destination]) => {
                Ok((Some(gateway), Asked::Packet(source, destination)))
            }
            (false, _) => Err(
                "say which packet: weapon why [NAME|FILE] SRC[:PORT] DST[:PORT][/PROTOCOL], as \
                 weapon why 10.1.0.5 10.2.0.6:443/tcp; or --last-drops"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(last_drops: bool, words: &[&str]) -> WhyArgs {
        WhyArgs {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            from: None,
            size: None,
            last_drops,
            json: false,
        }
    }

    #[test]
    fn the_gateway_may_be_left_out() {
        let packet = Asked::Packet("10.0.0.1", "10.0.0.2");
        let two = args(false, &["10.0.0.1", "10.0.0.2"]);
        assert_eq!(two.asked(), Ok((None, packet)));
        let packet = Asked::Packet("10.0.0.1", "10.0.0.2");
        let three = args(false, &["a", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(three.asked(), Ok((Some("a"), packet)));
        let drops = args(true, &["a"]);
        assert_eq!(drops.asked(), Ok((Some("a"), Asked::LastDrops)));
        assert_eq!(args(true, &[]).asked(), Ok((None, Asked::LastDrops)));
        assert!(args(true, &["a", "b"]).asked().is_err());
        for few in [&[][..], &["a"]] {
            let problem = args(false, few).asked().unwrap_err();
            assert!(problem.starts_with("say which packet: weapon why"));
        }
    }
}
