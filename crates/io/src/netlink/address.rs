//! Addresses of an interface.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};

use super::error::Asked;
use super::{Netlink, NetlinkError};

/// A network that the host is part of: it has an address in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedNetwork {
    /// Index of the interface.
    pub interface: u32,
    /// Our address there, with the length of the prefix.
    pub address: IpNet,
}

impl ConnectedNetwork {
    /// The prefix, with the host bits cleared.
    pub fn network(&self) -> IpNet {
        self.address.trunc()
    }
}

impl Netlink {
    /// Adds `address` (host bits kept, prefix length as given) to the interface.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when the interface has it.
    pub async fn add_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let mut request = self
            .handle
            .address()
            .add(index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            // Nobody else on a tunnel or a link of our making can have this address. Duplicate
            // address detection would only make it unusable for the first second.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            request
                .message_mut()
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        request
            .execute()
            .await
            .asked(|| format!("add address {address} to interface {index}"))
    }

    /// Removes `address` from the interface.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `NotFound` when the interface does not have it.
    pub async fn delete_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let message = match address {
            IpNet::V4(net) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                .index(index)
                .address(net.addr(), net.prefix_len())
                .build(),
            IpNet::V6(net) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
                .index(index)
                .address(net.addr(), net.prefix_len())
                .build(),
        };
        let deleted = self.handle.address().del(message).execute().await;
        deleted.asked(|| format!("delete address {address} from interface {index}"))
    }

    /// The addresses of the interface, link-local ones included; none where there is no such
    /// interface.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>, NetlinkError> {
        let found = self.dump_addresses(index).await?;
        Ok(found
            .into_iter()
            .map(|connected| connected.address)
            .collect())
    }

    /// Every network that the host is part of, on any interface but loopback.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn connected_networks(&self) -> Result<Vec<ConnectedNetwork>, NetlinkError> {
        let mut found = self.dump_addresses(0).await?;
        found.retain(|connected| !connected.address.addr().is_loopback());
        Ok(found)
    }

    async fn dump_addresses(&self, index: u32) -> Result<Vec<ConnectedNetwork>, NetlinkError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.index = index;
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .asked(|| match index {
                0 => "list addresses".into(),
                index => format!("list addresses of interface {index}"),
            })?;
        Ok(messages.iter().filter_map(connected_network).collect())
    }
}

/// `IFA_LOCAL` is ours and `IFA_ADDRESS` the other end's on point-to-point links; elsewhere they
/// are equal, and IPv6 often has the latter alone (linux/if_addr.h).
fn connected_network(message: &AddressMessage) -> Option<ConnectedNetwork> {
    let mut local: Option<IpAddr> = None;
    let mut address: Option<IpAddr> = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(ConnectedNetwork {
        interface: message.header.index,
        address,
    })
}
