//! What `/proc` says: capabilities, parameters, who holds a port.

use std::{collections::BTreeSet, fs};

use super::gateway::{Holder, Port};

/// The effective capabilities of this process.
pub fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line?.trim(), 16).ok()
}

/// The number in a file.
pub fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A kernel parameter, such as `net.ipv4.conf.eth1.forwarding`. The name of an interface may have
/// dots of its own, and stands before the last part.
fn sysctl(key: &str) -> Option<u64> {
    let mut parts = key.splitn(4, '.');
    let (net, family, conf) = (parts.next()?, parts.next()?, parts.next()?);
    let (interface, last) = parts.next()?.rsplit_once('.')?;
    number(&format!(
        "/proc/sys/{net}/{family}/{conf}/{interface}/{last}"
    ))
}

/// The switch that says whether what comes in by an interface is forwarded. IPv6 has one for all of
/// them (`ip6_output.c:ip6_forward`).
pub fn forwarding_key(interface: &str, is_ipv4: bool) -> String {
    if is_ipv4 {
        format!("net.ipv4.conf.{interface}.forwarding")
    } else {
        "net.ipv6.conf.all.forwarding".to_owned()
    }
}

/// Whether what comes in by an interface is forwarded: by that switch, or by the one that newer
/// kernels have for each interface with IPv6 (Linux 6.17).
pub fn forwards(interface: &str, is_ipv4: bool) -> bool {
    let is_forced = || sysctl(&format!("net.ipv6.conf.{interface}.force_forwarding")) == Some(1);
    sysctl(&forwarding_key(interface, is_ipv4)) != Some(0) || (!is_ipv4 && is_forced())
}

/// Who holds the UDP port `number`, in this network namespace.
pub fn port(number: u16) -> Port {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let sockets: Vec<Socket> = lines
        .filter_map(Socket::parse)
        .filter(|socket| number != 0 && socket.port == number)
        .collect();
    let inodes: BTreeSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    Port {
        number,
        is_bound: !sockets.is_empty(),
        holders: if inodes.is_empty() {
            Vec::new()
        } else {
            holders(&inodes)
        },
        lost: sockets.iter().map(|socket| socket.lost).sum(),
    }
}

/// A line of `/proc/net/udp` (`net/ipv4/udp.c:udp4_format_sock`).
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    inode: u64,
    /// Datagrams that did not fit into its buffer.
    lost: u64,
}

impl Socket {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = words.get(1)?.rsplit_once(':')?;
        Some(Self {
            port: u16::from_str_radix(port, 16).ok()?,
            inode: words.get(9)?.parse().ok()?,
            lost: words.get(12)?.parse().ok()?,
        })
    }
}

/// Processes that have one of these sockets. Those of others are not ours to see without root.
fn holders(inodes: &BTreeSet<u64>) -> Vec<Holder> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holding = pids.filter(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"));
        let files = files.into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| {
            let inode = link.to_str().and_then(|text| {
                let text = text.strip_prefix("socket:[")?.strip_suffix(']')?;
                text.parse().ok()
            });
            inode.is_some_and(|inode| inodes.contains(&inode))
        })
    });
    let named = holding.map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder {
            pid,
            program: name.trim().to_owned(),
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "  471: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    0 0 9071 2 0000000000000000 12";
        let expected = Socket {
            port: 51_820,
            inode: 9071,
            lost: 12,
        };
        assert_eq!(Socket::parse(line), Some(expected));
        assert_eq!(Socket::parse("  sl  local_address"), None);
    }

    #[test]
    fn our_own_port_is_ours() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = socket.local_addr().unwrap().port();
        let found = port(number);
        assert!(found.is_bound);
        let pids: Vec<u32> = found.holders.iter().map(|holder| holder.pid).collect();
        assert_eq!(pids, [std::process::id()]);
        assert!(!port(0).is_bound);
    }

    #[test]
    fn parameters_of_interfaces_are_read() {
        assert!(sysctl("net.ipv4.conf.lo.forwarding").is_some());
        assert_eq!(sysctl("net.ipv4.conf.no.such.forwarding"), None);
    }
}
