//! The UDP port of a gateway and the mark of what it sends. Both may change while it runs.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weapon_io::udp::{Files, NotAdopted, Sockets, Udp, UdpConfig, UdpError};

use crate::confined::GatewayProcess;

/// What the sockets of the moment are like, and those of a moment when the interface is up again.
#[derive(Clone, Debug)]
pub struct Port {
    config: Arc<Mutex<UdpConfig>>,
    lanes: usize,
}

impl Port {
    /// As `config` says, with sockets for so many lanes.
    pub fn new(config: UdpConfig, lanes: usize) -> Self {
        Self {
            config: Arc::new(Mutex::new(config)),
            lanes,
        }
    }

    /// Opens sockets. A port that the kernel chose is kept from here on.
    ///
    /// # Errors
    /// See [`UdpError`].
    pub fn open(&self) -> Result<Sockets<Udp>, UdpError> {
        let mut config = self.config();
        let sockets = Udp::bind_lanes(&config, self.lanes)?;
        config.port = sockets.lanes.first().map_or(config.port, Udp::port);
        Ok(sockets)
    }

    /// Goes on with sockets that a gateway before us had, if they fit. Their port is kept.
    ///
    /// # Errors
    /// They don't, and are closed.
    pub fn take_over(&self, files: Sockets<Files>) -> Result<Sockets<Udp>, NotAdopted> {
        let mut config = self.config();
        let sockets = Udp::adopt_lanes(files, &config, self.lanes)?;
        config.port = sockets.lanes.first().map_or(config.port, Udp::port);
        Ok(sockets)
    }

    /// Any port will do again.
    pub fn forget(&self) {
        self.config().port = 0;
    }

    /// The port; 0 while none was chosen.
    pub fn number(&self) -> u16 {
        self.config().port
    }

    /// The mark; 0 for none.
    pub fn fwmark(&self) -> u32 {
        self.config().fwmark
    }

    /// Changes port and mark, of the sockets that are open too.
    ///
    /// # Errors
    /// What can't be had; both are then as before.
    pub fn change(
        &self,
        port: Option<u16>,
        mark: Option<u32>,
        engine: &GatewayProcess,
    ) -> io::Result<()> {
        let before = *self.config();
        if let Some(mark) = mark.filter(|&mark| mark != before.fwmark) {
            engine.set_mark(mark)?;
            self.config().fwmark = mark;
        }
        if let Some(port) = port.filter(|&port| port != before.port) {
            self.config().port = port;
            // It asks for them, and `open` opens them.
            if let Err(error) = engine.rebind() {
                *self.config() = before;
                let _ = engine.set_mark(before.fwmark);
                return Err(error);
            }
        }
        Ok(())
    }

    fn config(&self) -> MutexGuard<'_, UdpConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
