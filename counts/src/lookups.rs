//! Looking up addresses among few and many networks.

use core::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weapon_core::{Peer, PeerId, Routes};
use weapon_noise::Link;

use crate::region;

/// Addresses that one round looks up, spread over all networks.
const ADDRESSES: usize = 64;

/// Among `COUNT` networks of IPv4.
pub(crate) fn route4<const COUNT: u32>() -> u64 {
    route(COUNT, network4)
}

/// Among `COUNT` networks of IPv6.
pub(crate) fn route6<const COUNT: u32>() -> u64 {
    route(COUNT, network6)
}

fn route(count: u32, network: fn(u32) -> IpNet) -> u64 {
    let mut routes = Routes::default();
    for index in 0..count {
        let link = Arc::new(Link::default());
        let peer = Arc::new(Peer::new(PeerId(index), "peer", link));
        let before = routes.insert(network(index), &peer);
        assert!(before.is_none(), "networks differ");
    }
    let wanted: [u32; ADDRESSES] =
        core::array::from_fn(|at| (at as u64 * u64::from(count) / ADDRESSES as u64) as u32);
    let addresses = wanted.map(|index| first_host(network(index)));
    let mut found = [None; ADDRESSES];
    let rounds = region::repeat(
        &mut found,
        |found| *found = [None; ADDRESSES],
        |found| {
            for (found, address) in found.iter_mut().zip(&addresses) {
                *found = routes.lookup(*black_box(address));
            }
        },
    );
    let found = found.map(|peer| peer.map(|peer| peer.id.0));
    assert_eq!(found, wanted.map(Some), "found");
    rounds * ADDRESSES as u64
}

/// The network of 256 addresses with this number, scattered over the address space.
fn network4(index: u32) -> IpNet {
    let scattered = index.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
    let network = Ipv4Net::new_assert(Ipv4Addr::from_bits(scattered << 8), 24);
    network.into()
}

/// The /64 with this number, scattered over fd00::/8.
fn network6(index: u32) -> IpNet {
    let scattered = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
    let bits = (0xfd << 120) | (u128::from(scattered) << 64);
    let network = Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), 64);
    network.into()
}

fn first_host(network: IpNet) -> IpAddr {
    match network.network() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() | 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() | 1).into(),
    }
}
