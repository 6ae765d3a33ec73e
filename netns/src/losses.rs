//! Where packets got lost in a host, by the counters of its kernel: for the messages of tests that
//! miss some.

use std::fmt::Write as _;
use std::fs;

use crate::lab::Host;

/// Parts of the names that counters of lost packets have in `/proc/net/snmp`, `snmp6` and
/// `netstat`.
///
/// TCP sends more packets than any ping and so meets a loss sooner. Not each retransmission was
/// one: what the receiver had already, it says (DSACK).
const NAMES: [&str; 8] = [
    "DSACKRecv",
    "Errors",
    "Errs",
    "Discards",
    "Drop",
    "Overflows",
    "Fails",
    "Retrans",
];

/// All counters of lost packets in `host` that are not zero, one a line.
pub fn losses(host: &Host) -> String {
    host.enter(|| {
        let read = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            fs::read_to_string(path).unwrap_or_default()
        };
        let mut counters = in_two_lines(&read("snmp"));
        counters.extend(in_two_lines(&read("netstat")));
        counters.extend(by_line(&read("snmp6")));
        counters.retain(|(name, _)| NAMES.iter().any(|part| name.contains(part)));
        counters.extend(of_interfaces(&read("dev")));
        counters.extend(of_sockets(&read("udp")));
        counters.extend(of_sockets(&read("udp6")));
        counters.extend(of_processors(&read("softnet_stat")));
        counters.extend(of_neighbours(&read("stat/ndisc_cache")));
        counters.retain(|&(_, count)| count != 0);
        let mut text = format!("{}:\n", host.name);
        for (name, count) in counters {
            let _ = writeln!(text, "    {name}: {count}");
        }
        text
    })
}

/// What the raw sockets that are open in this thread's namespace had no room for.
pub(crate) fn of_raw_sockets() -> u64 {
    let of = |name: &str| {
        let path = format!("/proc/thread-self/net/{name}");
        // Not there without IPv6.
        of_sockets(&fs::read_to_string(path).unwrap_or_default())
    };
    let sockets = [of("raw"), of("raw6")].concat();
    sockets.iter().map(|&(_, drops)| drops).sum()
}

type Counters = Vec<(String, u64)>;

/// `Udp: InDatagrams NoPorts ...` and below `Udp: 3 0 ...`.
fn in_two_lines(text: &str) -> Counters {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2).flat_map(|pair| {
        let names = pair[0].split_whitespace().skip(1);
        let group = pair[0].split(':').next().unwrap_or_default();
        let named = names.zip(pair[1].split_whitespace().skip(1));
        named.map(move |(name, count)| (format!("{group} {name}"), number(count)))
    });
    pairs.collect()
}

/// `Udp6InErrors    0`
fn by_line(text: &str) -> Counters {
    let words = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), number(count.trim())))
    });
    words.collect()
}

/// `eth0: bytes packets errs drop ...`, eight columns for what came and eight for what went.
fn of_interfaces(text: &str) -> Counters {
    let interfaces = text.lines().skip(2).filter_map(|line| {
        let (name, columns) = line.split_once(':')?;
        let columns: Vec<u64> = columns.split_whitespace().map(number).collect();
        let column = |title: &str, at: usize| {
            let count = columns.get(at).copied().unwrap_or(0);
            (format!("{} {title}", name.trim()), count)
        };
        let titles = [
            ("rx errs", 2),
            ("rx drop", 3),
            ("tx errs", 10),
            ("tx drop", 11),
        ];
        Some(titles.map(|(title, at)| column(title, at)))
    });
    interfaces.flatten().collect()
}

/// The last column is what the socket had no room for.
fn of_sockets(text: &str) -> Counters {
    let sockets = text.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        Some((format!("socket {local} drops"), number(columns.last()?)))
    });
    sockets.collect()
}

/// The second column is what the processor's queue had no room for: that queue is one for all
/// hosts of the lab.
fn of_processors(text: &str) -> Counters {
    let processors = text.lines().enumerate().filter_map(|(processor, line)| {
        let column = line.split_whitespace().nth(1)?;
        let count = u64::from_str_radix(column, 16).unwrap_or(0);
        Some((format!("processor {processor}, all hosts: drops"), count))
    });
    processors.collect()
}

/// One line for each processor below the names; one table for all hosts of the lab.
fn of_neighbours(text: &str) -> Counters {
    let names: Vec<&str> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let lines = text.lines().skip(1).flat_map(|line| {
        let named = names.iter().zip(line.split_whitespace());
        named.filter_map(|(&name, count)| {
            let loses = ["res_failed", "unresolved_discards", "table_fulls"].contains(&name);
            let count = u64::from_str_radix(count, 16).unwrap_or(0);
            loses.then(|| (format!("neighbours, all hosts: {name}"), count))
        })
    });
    lines.collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_each_of_the_kernels_tables() {
        let text = "Udp: InDatagrams RcvbufErrors\nUdp: 7 3\n";
        let expected = [
            ("Udp InDatagrams".to_owned(), 7),
            ("Udp RcvbufErrors".to_owned(), 3),
        ];
        assert_eq!(in_two_lines(text), expected);
        assert_eq!(
            by_line("Udp6RcvbufErrors   \t4\n"),
            [("Udp6RcvbufErrors".to_owned(), 4)]
        );
        let text = "a\nb\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let counts: Vec<u64> = of_interfaces(text)
            .iter()
            .map(|&(_, count)| count)
            .collect();
        assert_eq!(counts, [3, 4, 11, 12]);
        let text = "sl local\n 51: 00000000:CA6C 0 0 9\n";
        assert_eq!(
            of_sockets(text),
            [("socket 00000000:CA6C drops".to_owned(), 9)]
        );
        assert_eq!(of_processors("000000ff 00000010 0\n")[0].1, 16);
        let text = "entries table_fulls\n00000004 00000011\n";
        assert_eq!(
            of_neighbours(text),
            [("neighbours, all hosts: table_fulls".to_owned(), 17)]
        );
    }
}
