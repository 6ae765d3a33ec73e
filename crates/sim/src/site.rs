//! The site behind each gateway: two networks of either family.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A host in the IPv4 network of site `site`.
pub(crate) fn v4(site: usize, host: u8) -> IpAddr {
    let [high, low] = (site as u16).to_be_bytes();
    IpAddr::from([10, high, low, host])
}

/// A host in the IPv6 network of site `site`.
pub(crate) fn v6(site: usize, host: u8) -> IpAddr {
    IpAddr::from([0xfd00, site as u16, 0, 0, 0, 0, 0, u16::from(host)])
}

/// Both networks of site `site`.
pub(crate) fn networks(site: usize) -> Vec<IpNet> {
    match (v4(site, 0), v6(site, 0)) {
        (IpAddr::V4(v4), IpAddr::V6(v6)) => vec![
            Ipv4Net::new_assert(v4, 24).into(),
            Ipv6Net::new_assert(v6, 64).into(),
        ],
        _ => unreachable!("one of each family"),
    }
}

/// The site whose network has `address`.
pub(crate) fn of(address: IpAddr) -> usize {
    usize::from(match address {
        IpAddr::V4(v4) => {
            let [_, high, low, _] = v4.octets();
            u16::from_be_bytes([high, low])
        }
        IpAddr::V6(v6) => v6.segments()[1],
    })
}
