//! What a running engine tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use weapon_core::{Counters, DropReason, GatewayStatus, Sizes};
use weapon_io::{tun::Offloads, udp::SendReport};

use crate::{
    engine::{Command, Engine, Stopped},
    mailbox::Waiting,
};

/// A gateway and its threads at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The gateway.
    pub gateway: GatewayStatus,
    /// Packets that died, by reason; all reasons, in order.
    pub drops: Vec<(DropReason, u64)>,
    /// Superpackets read from the overlay.
    pub outbound_superpackets: u64,
    /// Segments sealed.
    pub outbound_segments: u64,
    /// Datagrams received.
    pub inbound_datagrams: u64,
    /// Superpackets written to the overlay.
    pub inbound_superpackets: u64,
    /// Datagrams that the kernel did not take.
    pub send_failures: u64,
    /// Superpackets that the device did not take.
    pub write_failures: u64,
    /// Trains that the kernel did not take whole, and whose datagrams were sent singly.
    pub refused_trains: u64,
    /// How many lanes there are.
    pub lanes: usize,
    /// Which superpackets the device takes at this moment.
    pub tun_offloads: Offloads,
    /// Whether trains are sent; to some destinations perhaps not.
    pub udp_gso: bool,
}

/// What the control loop knows of it.
pub(crate) struct ControlStatus {
    pub(crate) gateway: GatewayStatus,
    pub(crate) tun_offloads: Offloads,
    pub(crate) udp_gso: bool,
}

/// What one thread has counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// Its name: `control`, `lane-0` and so on.
    pub name: String,
    /// Packets that died, by reason; all reasons, in order.
    pub drops: Vec<(DropReason, u64)>,
    /// Superpackets read from the overlay.
    pub outbound_superpackets: u64,
    /// Segments sealed.
    pub outbound_segments: u64,
    /// Datagrams received.
    pub inbound_datagrams: u64,
    /// Superpackets written to the overlay.
    pub inbound_superpackets: u64,
    /// How many superpackets were read of the overlay in one go.
    pub outbound_batches: Batches,
    /// How many datagrams came in one receive call.
    pub inbound_batches: Batches,
}

/// How often what was taken in one go had which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches {
    /// So many of up to 1, 2, 4 and so on; those above all are among the last.
    pub counts: [u64; Sizes::CLASSES],
    /// All sizes, added up.
    pub sum: u64,
}

impl From<&Sizes> for Batches {
    fn from(sizes: &Sizes) -> Self {
        Self {
            counts: sizes.counts(),
            sum: sizes.sum(),
        }
    }
}

impl ThreadStatus {
    fn of(name: String, counters: &Counters) -> Self {
        let load = |one: &AtomicU64| one.load(Ordering::Relaxed);
        let drops = DropReason::ALL.iter();
        Self {
            name,
            drops: drops.map(|&it| (it, counters.dropped(it))).collect(),
            outbound_superpackets: load(&counters.outbound_superpackets),
            outbound_segments: load(&counters.outbound_segments),
            inbound_datagrams: load(&counters.inbound_datagrams),
            inbound_superpackets: load(&counters.inbound_superpackets),
            outbound_batches: (&counters.outbound_batches).into(),
            inbound_batches: (&counters.inbound_batches).into(),
        }
    }
}

/// Totals that belong to no lane.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    send_failures: AtomicU64,
    write_failures: AtomicU64,
    refused_trains: AtomicU64,
}

impl Totals {
    pub(crate) fn note_sent(&self, report: SendReport) {
        let counts = [
            (&self.send_failures, report.failed),
            (&self.refused_trains, report.gso_refused),
        ];
        for (total, count) in counts {
            if count != 0 {
                total.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn note_refused(&self, count: u64) {
        if count != 0 {
            self.write_failures.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Engine {
    /// The state of everything.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn status(&self) -> Result<EngineStatus, Stopped> {
        let ControlStatus {
            gateway,
            tun_offloads,
            udp_gso,
        } = self.ask(Command::Status)?;
        let sum = |one: fn(&Counters) -> &AtomicU64| {
            self.counters
                .iter()
                .map(|all| one(all).load(Ordering::Relaxed))
                .sum()
        };
        let dropped = |reason| self.counters.iter().map(|all| all.dropped(reason)).sum();
        Ok(EngineStatus {
            gateway,
            drops: DropReason::ALL
                .iter()
                .map(|&reason| (reason, dropped(reason)))
                .collect(),
            outbound_superpackets: sum(|all| &all.outbound_superpackets),
            outbound_segments: sum(|all| &all.outbound_segments),
            inbound_datagrams: sum(|all| &all.inbound_datagrams),
            inbound_superpackets: sum(|all| &all.inbound_superpackets),
            send_failures: self.totals.send_failures.load(Ordering::Relaxed),
            write_failures: self.totals.write_failures.load(Ordering::Relaxed),
            refused_trains: self.totals.refused_trains.load(Ordering::Relaxed),
            lanes: self.wakes.len(),
            tun_offloads,
            udp_gso,
        })
    }

    /// What each thread has counted: the control loop, then the lanes.
    pub fn threads(&self) -> Vec<ThreadStatus> {
        let all = self.counters.iter().enumerate();
        let all = all.map(|(index, counters)| {
            let name = match index.checked_sub(1) {
                Some(lane) => format!("lane-{lane}"),
                None => "control".to_owned(),
            };
            ThreadStatus::of(name, counters)
        });
        all.collect()
    }

    /// What waits for the control loop at this moment, and what found no room there.
    pub fn waiting(&self) -> Waiting {
        self.mailbox.waiting()
    }
}
