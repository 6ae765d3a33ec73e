//! The underlay sockets, one for each lane and the doors, and how they are taken from the threads.
//!
//! When the interface goes down its UDP port is closed (P99). Each thread keeps the socket it
//! works with and looks at the version, one relaxed load, before each batch.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weapon_io::{
    poll::{Epoll, Interest},
    udp::{Family, Socket, Sockets},
};

/// The sockets of the moment, lane by lane, and behind them the doors if there are any; none while
/// the port is closed.
type Moment<S> = Option<Arc<[S]>>;

fn moment<S>(sockets: Sockets<S>) -> Arc<[S]> {
    sockets.lanes.into_iter().chain(sockets.doors).collect()
}

/// Where the sockets of the moment are found.
#[derive(Debug)]
pub(crate) struct SocketCell<S> {
    version: AtomicU64,
    sockets: Mutex<Moment<S>>,
}

impl<S> SocketCell<S> {
    pub(crate) fn new(sockets: Sockets<S>) -> Self {
        Self {
            version: AtomicU64::new(1),
            sockets: Mutex::new(Some(moment(sockets))),
        }
    }

    /// The sockets of the moment, of all lanes and of the doors.
    pub(crate) fn all(&self) -> Option<Arc<[S]>> {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the sockets. The old ones close when the last thread has let go of them.
    pub(crate) fn set(&self, sockets: Option<Sockets<S>>) {
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = sockets.map(moment);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// The sockets of one moment, of which some are used: a lane's own, or all doors.
#[derive(Debug)]
pub(crate) struct Held<S> {
    sockets: Moment<S>,
    first: usize,
    count_max: usize,
}

impl<S> Held<S> {
    /// Those.
    pub(crate) fn all(&self) -> &[S] {
        let sockets = self.sockets.as_deref().unwrap_or_default();
        let from_first = sockets.get(self.first..).unwrap_or_default();
        &from_first[..from_first.len().min(self.count_max)]
    }

    /// The lane's own.
    pub(crate) fn get(&self) -> Option<&S> {
        self.all().first()
    }
}

impl<S> Clone for Held<S> {
    fn clone(&self) -> Self {
        Self {
            sockets: self.sockets.clone(),
            ..*self
        }
    }
}

/// One thread's hold on its socket.
#[derive(Debug)]
pub(crate) struct SocketHold<S> {
    cell: Arc<SocketCell<S>>,
    version: u64,
    held: Held<S>,
}

impl<S> SocketHold<S> {
    /// For the lane with this number.
    pub(crate) fn of_lane(cell: Arc<SocketCell<S>>, lane: usize) -> Self {
        Self::new(cell, lane, 1)
    }

    /// For the doors of a gateway with so many lanes.
    pub(crate) fn of_doors(cell: Arc<SocketCell<S>>, lanes: usize) -> Self {
        Self::new(cell, lanes, usize::MAX)
    }

    fn new(cell: Arc<SocketCell<S>>, first: usize, count_max: usize) -> Self {
        Self {
            cell,
            version: 0,
            held: Held {
                sockets: None,
                first,
                count_max,
            },
        }
    }

    /// Looks whether the sockets were replaced; then returns those before, to be let go of.
    pub(crate) fn refresh(&mut self) -> Option<Held<S>> {
        let version = self.cell.version.load(Ordering::Acquire);
        if version == self.version {
            return None;
        }
        self.version = version;
        let sockets = self
            .cell
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now = Held {
            sockets,
            ..self.held
        };
        Some(std::mem::replace(&mut self.held, now))
    }

    /// Looks whether the sockets were replaced; then `epoll` sleeps on the files of the new ones
    /// instead of the old ones'. Each has two tokens from `tokens` up, one for each family.
    pub(crate) fn refresh_in(&mut self, epoll: &Epoll, tokens: u64) -> io::Result<()>
    where
        S: Socket,
    {
        let Some(before) = self.refresh() else {
            return Ok(());
        };
        for socket in before.all() {
            for file in Family::ALL.iter().filter_map(|&family| socket.fd(family)) {
                epoll.remove(file)?;
            }
        }
        let families = self.all().iter().flat_map(|socket| {
            let family = |family| (socket, family);
            Family::ALL.map(family)
        });
        for (token, (socket, family)) in families.enumerate() {
            if let Some(file) = socket.fd(family) {
                epoll.add(file, tokens + token as u64, Interest::Readable)?;
            }
        }
        Ok(())
    }

    /// All that are used.
    pub(crate) fn all(&self) -> &[S] {
        self.held.all()
    }

    pub(crate) fn socket(&self) -> Option<&S> {
        self.held.get()
    }

    /// The sockets of the moment, to be kept while the hold is used for something else.
    pub(crate) fn held(&self) -> Held<S> {
        self.held.clone()
    }
}
