//! Interfaces: flags, MTU, veth pairs, bridges, moves between namespaces.

use std::os::fd::{AsFd, AsRawFd};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::error::Asked;
use super::{Netlink, NetlinkError};

/// An interface as the kernel described it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index, unique within the network namespace.
    pub index: u32,
    /// Name, at most 15 bytes.
    pub name: String,
    /// Largest packet in bytes, without the link header.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Index of the bridge or bond that this interface is a port of.
    pub controller: Option<u32>,
    /// A bridge, or one end of a veth pair: something between parts of this host.
    pub is_internal: bool,
}

impl Link {
    pub(crate) fn from_message(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            loopback: flags.contains(LinkFlags::Loopback),
            controller: None,
            is_internal: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    link.is_internal = infos.iter().any(|info| {
                        matches!(info, LinkInfo::Kind(InfoKind::Bridge | InfoKind::Veth))
                    });
                }
                _ => {}
            }
        }
        link
    }
}

impl Netlink {
    /// The interface called `name`; `NotFound` when there is none.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn link(&self, name: &str) -> Result<Link, NetlinkError> {
        let asked = || format!("look up interface {name:?}");
        let request = self.handle.link().get().match_name(name);
        let found = request.execute().try_next().await.asked(asked)?;
        let message = found.ok_or_else(|| NetlinkError::NotFound { asked: asked() })?;
        Ok(Link::from_message(&message))
    }

    /// The interface with this index; `NotFound` when there is none.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn link_by_index(&self, index: u32) -> Result<Link, NetlinkError> {
        let asked = || format!("look up interface {index}");
        let request = self.handle.link().get().match_index(index);
        let found = request.execute().try_next().await.asked(asked)?;
        let message = found.ok_or_else(|| NetlinkError::NotFound { asked: asked() })?;
        Ok(Link::from_message(&message))
    }

    /// All interfaces of the namespace.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let messages: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .asked(|| "list interfaces".into())?;
        Ok(messages.iter().map(Link::from_message).collect())
    }

    /// Sets the MTU in bytes.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Refused` when the interface does not take that size.
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).mtu(mtu);
        self.change_link(change, || format!("set MTU {mtu} on interface {index}"))
            .await
    }

    /// Sets how many segments a superpacket on the interface may have at most.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn set_segments_max(&self, index: u32, segments: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::GsoMaxSegs(segments));
        self.change_link(change, || {
            format!("limit superpackets on interface {index} to {segments} segments")
        })
        .await
    }

    /// Keeps the kernel from giving the interface an IPv6 link-local address of its own accord,
    /// and from soliciting routers from it. To be called while the interface is down.
    ///
    /// # Errors
    /// See [`NetlinkError`]; a host without IPv6 refuses.
    pub async fn no_link_local(&self, index: u32) -> Result<(), NetlinkError> {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let change = LinkUnspec::new_with_index(index).append_extra_attribute(
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]),
        );
        self.change_link(change, || {
            format!("keep interface {index} without a link-local address")
        })
        .await
    }

    /// Sets the interface up.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn set_up(&self, index: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).up();
        self.change_link(change, || format!("set interface {index} up"))
            .await
    }

    /// Sets the interface down.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn set_down(&self, index: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).down();
        self.change_link(change, || format!("set interface {index} down"))
            .await
    }

    /// Gives the interface another name. Old kernels want it down for that.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when the name is in use.
    pub async fn rename(&self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).name(name);
        self.change_link(change, || format!("rename interface {index} to {name:?}"))
            .await
    }

    /// Makes `index` a port of the bridge `bridge`.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn enslave(&self, index: u32, bridge: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).controller(bridge);
        self.change_link(change, || {
            format!("make interface {index} a port of bridge {bridge}")
        })
        .await
    }

    /// Moves the interface to the network namespace behind `namespace`. It arrives down, without
    /// addresses, and may get another index.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when the name is in use over there.
    pub async fn move_link(&self, index: u32, namespace: impl AsFd) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).setns_by_fd(namespace.as_fd().as_raw_fd());
        self.change_link(change, || {
            format!("move interface {index} to another namespace")
        })
        .await
    }

    /// Makes a pair of connected virtual Ethernet interfaces, both down, both in this namespace.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when one of the names is in use.
    pub async fn add_veth(&self, name: &str, peer: &str) -> Result<(), NetlinkError> {
        let message = LinkVeth::new(name, peer).build();
        let added = self.handle.link().add(message).execute().await;
        added.asked(|| format!("add veth pair {name:?}, {peer:?}"))
    }

    /// Makes an Ethernet bridge, up, and returns its index.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when the name is in use.
    pub async fn add_bridge(&self, name: &str) -> Result<u32, NetlinkError> {
        let added = self
            .handle
            .link()
            .add(LinkBridge::new(name).build())
            .execute()
            .await;
        added.asked(|| format!("add bridge {name:?}"))?;
        Ok(self.link(name).await?.index)
    }

    /// Deletes the interface (of a veth pair: both).
    ///
    /// # Errors
    /// See [`NetlinkError`]; `NotFound` when it is gone already.
    pub async fn delete_link(&self, index: u32) -> Result<(), NetlinkError> {
        let deleted = self.handle.link().del(index).execute().await;
        deleted.asked(|| format!("delete interface {index}"))
    }

    async fn change_link(
        &self,
        change: LinkMessageBuilder<LinkUnspec>,
        asked: impl FnOnce() -> String,
    ) -> Result<(), NetlinkError> {
        self.handle
            .link()
            .change(change.build())
            .execute()
            .await
            .asked(asked)
    }
}
