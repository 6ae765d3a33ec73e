//! HOT What the limits of a peer let pass of what goes to it.

use weapon_wire::Superpacket;

use super::Outbound;
use crate::{
    DropReason, Dropped, Way,
    ports::{Underlay, Upcalls},
    service::{Amount, Service},
};

impl<U: Underlay, C: Upcalls> Outbound<'_, U, C> {
    /// How many segments of a superpacket the peer's limits let pass, the first ones. The others
    /// are counted, but one if it is all of them.
    #[inline(never)]
    pub(super) fn limit(
        &self,
        service: &Service,
        superpacket: &Superpacket<'_>,
    ) -> Result<usize, DropReason> {
        let all = superpacket.segments();
        let wanted = Amount {
            packets: all,
            len: superpacket.segment_len_max(),
            last: superpacket.segment_len_last(),
        };
        let count = service.outbound.pass(self.now, wanted);
        let dropped = all.saturating_sub(count.max(1)) as u64;
        if dropped != 0 {
            let reason = DropReason::OutboundLimit;
            let packet = superpacket.bytes();
            let what = Dropped::clear(reason, Way::Outbound, None, packet, self.fib);
            self.counters.note(what, dropped, self.now);
        }
        (count != 0)
            .then_some(count)
            .ok_or(DropReason::OutboundLimit)
    }

    /// Whether the packet that was put into the room last may stay there.
    #[inline]
    pub(super) fn limit_last(&mut self) -> Result<(), DropReason> {
        let service = self.run.as_ref().and_then(|run| run.service);
        service.map_or(Ok(()), |service| self.take_back(service))
    }

    /// Takes it out if the peer's limits do not let it pass.
    #[inline(never)]
    fn take_back(&mut self, service: &Service) -> Result<(), DropReason> {
        let Some(&last) = self.packets.last() else {
            return Ok(());
        };
        if service
            .outbound
            .pass(self.now, Amount::one(last.packet_len))
            != 0
        {
            return Ok(());
        }
        self.packets.pop();
        self.filled = self.filled.saturating_sub(last.message_len);
        Err(DropReason::OutboundLimit)
    }
}
