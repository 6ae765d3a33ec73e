//! ICMP errors for packets that cannot be delivered (P84).

use core::{net::IpAddr, time::Duration};
use std::io::IoSlice;

use weapon_noise::Tick;
use weapon_wire::{Flow, VnetHeader, icmp};

use crate::{Mappings, ports::Overlay};

/// Errors sent in a second at most, as Linux limits its own (`icmp_msgs_per_sec` is 1000).
const ERRORS_PER_SECOND_MAX: u32 = 1000;

/// Answers packets that died without a route or an endpoint.
#[derive(Debug)]
pub(super) struct Unreachable {
    address_v6: Option<IpAddr>,
    second: Tick,
    sent: u32,
}

impl Unreachable {
    /// `addresses` are ours on the overlay.
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        let mut made = Self {
            address_v6: None,
            second: Tick::default(),
            sent: 0,
        };
        made.set_addresses(addresses);
        made
    }

    /// Others are ours.
    pub(super) fn set_addresses(&mut self, addresses: &[IpAddr]) {
        self.address_v6 = addresses.iter().copied().find(IpAddr::is_ipv6);
    }

    /// Writes the error that answers `packet` into the overlay, unless RFC 1122 or RFC 4443 forbid
    /// one, or there were too many. The packet's source is mapped already, and its sender knows
    /// itself by another address.
    pub(super) fn answer(
        &mut self,
        packet: &[u8],
        mappings: &Mappings,
        now: Tick,
        overlay: &mut dyn Overlay,
    ) {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.sent = 0;
        }
        if self.sent >= ERRORS_PER_SECOND_MAX {
            return;
        }
        // Linux drops IPv4 packets that come in by an interface and claim to be from one of its own
        // addresses ("martian source"): there the destination that nobody has answers itself.
        let is_v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let from = self.address_v6.filter(|_| is_v6);
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let Some(len) = icmp::unreachable(packet, from, &mut error) else {
            return;
        };
        let error = error.get_mut(..len).unwrap_or_default();
        let Ok(mut flow) = Flow::parse(error) else {
            return;
        };
        if mappings.arrive(error, &mut flow).is_err() {
            return;
        }
        self.sent = self.sent.saturating_add(1);
        let parts = [IoSlice::new(error)];
        overlay.write(&flow, &VnetHeader::default(), &parts);
    }
}
