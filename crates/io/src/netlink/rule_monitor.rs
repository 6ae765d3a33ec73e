//! Whether anybody changes rules of nftables.

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
};
use tokio::io::{Interest, unix::AsyncFd};

/// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h, as a mask.
const GROUP: u32 = 1 << (7 - 1);

/// Room for any one message; what is in it is not read.
const MESSAGE_BYTES: usize = 4096;

/// Word that rules of nftables have changed in this network namespace, whoever's they are and by
/// whomever. Rules of `iptables-nft` are among them, those of `iptables-legacy` are not.
#[derive(Debug)]
pub struct RuleMonitor(AsyncFd<OwnedFd>);

impl RuleMonitor {
    /// Watches the calling thread's network namespace. Changes from after this call are told.
    ///
    /// # Errors
    /// The kernel has no nftables, or `CAP_NET_ADMIN` is missing.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::NETFILTER);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUP))?;
        // SAFETY: the descriptor is owned by the AsyncFd, is open as long as it lives, and is
        // always the same.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self(socket))
    }

    /// Waits until something has changed since the last call. May be dropped and called again
    /// without losing a change.
    ///
    /// # Errors
    /// The kernel tells no more.
    pub async fn changed(&self) -> io::Result<()> {
        let mut told = self.0.readable().await?;
        self.forget();
        told.clear_ready();
        Ok(())
    }

    /// What has changed so far is known.
    pub fn forget(&self) {
        let mut buffer = [0; MESSAGE_BYTES];
        loop {
            match recv(self.0.get_ref(), &mut buffer[..], RecvFlags::empty()) {
                // Messages were left out, and more may be there.
                Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
