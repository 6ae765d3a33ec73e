//! The underlay sockets, one for each lane, and how they are taken from the threads.
//!
//! When the interface goes down its UDP port is closed (P99). Each thread keeps the socket it
//! works with and looks at the version, one relaxed load, before each batch.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The sockets of the moment, lane by lane; none while the port is closed.
type Sockets<S> = Option<Arc<[S]>>;

/// Where the sockets of the moment are found.
#[derive(Debug)]
pub(crate) struct SocketCell<S> {
    version: AtomicU64,
    sockets: Mutex<Sockets<S>>,
}

impl<S> SocketCell<S> {
    pub(crate) fn new(sockets: Vec<S>) -> Self {
        Self {
            version: AtomicU64::new(1),
            sockets: Mutex::new(Some(sockets.into())),
        }
    }

    /// The sockets of the moment, of all lanes.
    pub(crate) fn all(&self) -> Option<Arc<[S]>> {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the sockets. The old ones close when the last thread has let go of them.
    pub(crate) fn set(&self, sockets: Option<Vec<S>>) {
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = sockets.map(Arc::from);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// The sockets of one moment, of which one lane's is used.
#[derive(Debug)]
pub(crate) struct Held<S> {
    sockets: Sockets<S>,
    lane: usize,
}

impl<S> Held<S> {
    /// The lane's own.
    pub(crate) fn get(&self) -> Option<&S> {
        self.sockets.as_ref()?.get(self.lane)
    }
}

impl<S> Clone for Held<S> {
    fn clone(&self) -> Self {
        Self {
            sockets: self.sockets.clone(),
            lane: self.lane,
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
    pub(crate) fn new(cell: Arc<SocketCell<S>>, lane: usize) -> Self {
        Self {
            cell,
            version: 0,
            held: Held {
                sockets: None,
                lane,
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
        let lane = self.held.lane;
        Some(std::mem::replace(&mut self.held, Held { sockets, lane }))
    }

    pub(crate) fn socket(&self) -> Option<&S> {
        self.held.get()
    }

    /// The sockets of the moment, to be kept while the hold is used for something else.
    pub(crate) fn held(&self) -> Held<S> {
        self.held.clone()
    }
}
