//! Inner packets, as etherparse builds them.

use core::net::IpAddr;

use etherparse::PacketBuilder;
use weapon_wire::VnetHeader;

/// A UDP packet of either family.
pub(crate) fn udp(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let builder = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
        }
        _ => panic!("two families in one packet"),
    };
    let mut packet = Vec::new();
    builder.udp(1111, 2222).write(&mut packet, payload).unwrap();
    packet
}

/// The packet as it is read from the overlay: with a header that asks for nothing.
pub(crate) fn plain(packet: &[u8]) -> Vec<u8> {
    let mut read = VnetHeader::default().to_bytes().to_vec();
    read.extend_from_slice(packet);
    read
}

/// The host `host` in site `site`'s IPv4 network, 10.0.SITE.0/24.
pub(crate) fn v4(site: usize, host: u8) -> IpAddr {
    IpAddr::from([10, 0, site as u8, host])
}

/// The host `host` in site `site`'s IPv6 network, fd00:SITE::/64.
pub(crate) fn v6(site: usize, host: u8) -> IpAddr {
    IpAddr::from([0xfd00, site as u16, 0, 0, 0, 0, 0, u16::from(host)])
}
