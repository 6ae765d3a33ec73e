//! The underlay socket that all threads use, and how it is taken from them.
//!
//! When the interface goes down its UDP port is closed (P99). Each thread keeps the socket it
//! works with and looks at the version, one relaxed load, before each batch.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The socket of the moment.
#[derive(Debug)]
pub(crate) struct SocketCell<S> {
    version: AtomicU64,
    socket: Mutex<Option<Arc<S>>>,
}

impl<S> SocketCell<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            version: AtomicU64::new(1),
            socket: Mutex::new(Some(Arc::new(socket))),
        }
    }

    /// Replaces the socket. The old one closes when the last thread has let go of it.
    pub(crate) fn set(&self, socket: Option<S>) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket.map(Arc::new);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// One thread's hold on the socket.
#[derive(Debug)]
pub(crate) struct SocketHold<S> {
    cell: Arc<SocketCell<S>>,
    version: u64,
    socket: Option<Arc<S>>,
}

impl<S> SocketHold<S> {
    pub(crate) fn new(cell: Arc<SocketCell<S>>) -> Self {
        Self {
            cell,
            version: 0,
            socket: None,
        }
    }

    /// Looks whether the socket was replaced; then returns the one before, to be let go of.
    pub(crate) fn refresh(&mut self) -> Option<Option<Arc<S>>> {
        let version = self.cell.version.load(Ordering::Acquire);
        if version == self.version {
            return None;
        }
        self.version = version;
        let current = self
            .cell
            .socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Some(std::mem::replace(&mut self.socket, current))
    }

    pub(crate) fn socket(&self) -> Option<&Arc<S>> {
        self.socket.as_ref()
    }
}
