//! Routes of an interface, and the route to a destination.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};

use super::error::Asked;
use super::{Netlink, NetlinkError};

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to, host bits cleared.
    pub destination: IpNet,
    /// Index of the interface to leave by.
    pub interface: u32,
    /// Next hop; none for what is directly on the link.
    pub gateway: Option<IpAddr>,
    /// Source address of what the host itself sends there, where the kernel is not to choose.
    pub source: Option<IpAddr>,
    /// Priority among routes to the same destination, smallest wins. `None` adds with the kernel's
    /// default (0 for IPv4, 1024 for IPv6).
    pub metric: Option<u32>,
    /// The table that it is in.
    pub table: u32,
}

/// The table that all packets are looked up in if no rule says otherwise.
pub const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

impl Route {
    /// A route that leaves by `interface`, without a next hop.
    pub fn new(destination: IpNet, interface: u32) -> Self {
        Self {
            destination: destination.trunc(),
            interface,
            gateway: None,
            source: None,
            metric: None,
            table: MAIN_TABLE,
        }
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(self, table: u32) -> Self {
        Self { table, ..self }
    }

    /// The same route through the next hop `gateway`.
    #[must_use]
    pub fn via(self, gateway: IpAddr) -> Self {
        Self {
            gateway: Some(gateway),
            ..self
        }
    }

    fn to_message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family(self.destination.addr());
        header.destination_prefix_length = self.destination.prefix_len();
        // A larger number than the field holds stands in the attribute alone.
        header.table = u8::try_from(self.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        header.protocol = RouteProtocol::Static;
        header.kind = RouteType::Unicast;
        // IPv6 has no scopes for routes. IPv4 wants to be told that there is no next hop.
        header.scope = match self.gateway {
            None if self.destination.addr().is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        let attributes = &mut message.attributes;
        if self.destination.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(self.destination.addr().into()));
        }
        attributes.push(RouteAttribute::Oif(self.interface));
        attributes.push(RouteAttribute::Table(self.table));
        attributes.extend(self.gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
        attributes.extend(self.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        message
    }

    fn from_message(message: &RouteMessage) -> Option<Self> {
        let unspecified: IpAddr = match message.header.address_family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut route = Self::new(IpNet::new(unspecified, 0).ok()?, 0);
        let mut destination = unspecified;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Oif(index) => route.interface = *index,
                RouteAttribute::Gateway(address) => route.gateway = ip(address),
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Table(table) => route.table = *table,
                _ => {}
            }
        }
        let prefix_len = message.header.destination_prefix_length;
        route.destination = IpNet::new(destination, prefix_len).ok()?;
        Some(route)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " on interface {}", self.interface)
    }
}

/// How the kernel would send to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Index of the interface.
    pub interface: u32,
    /// Next hop, if any.
    pub gateway: Option<IpAddr>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// MTU in bytes of the path where the route or path MTU discovery says one; else the
    /// interface's own holds.
    pub mtu: Option<u32>,
    /// The destination is this host itself.
    pub is_local: bool,
}

impl Netlink {
    /// Adds a route to its table.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when there is one with that destination and metric.
    pub async fn add_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let added = self.handle.route().add(route.to_message()).execute().await;
        added.asked(|| format!("add {route}"))
    }

    /// Removes a route from its table.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `NotFound` when there is none like it.
    pub async fn delete_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let mut message = route.to_message();
        // "Whatever the protocol, whatever the scope": who added it does not matter any more.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.scope = RouteScope::NoWhere;
        let deleted = self.handle.route().del(message).execute().await;
        deleted.asked(|| format!("delete {route}"))
    }

    /// The unicast routes of the main table that leave by this interface, IPv4 first, those of
    /// the kernel's own making (the networks of addresses) included.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn routes(&self, interface: u32) -> Result<Vec<Route>, NetlinkError> {
        let table = RouteHeader::RT_TABLE_MAIN;
        self.dump_routes(Some(interface), table, Route::from_message)
            .await
    }

    /// The MTUs of all unicast routes, of whatever table, that leave by this interface and have one
    /// of their own.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn route_mtus(&self, interface: u32) -> Result<Vec<u32>, NetlinkError> {
        let mtu = |message: &RouteMessage| message.attributes.iter().find_map(route_mtu);
        let table = RouteHeader::RT_TABLE_UNSPEC;
        self.dump_routes(Some(interface), table, mtu).await
    }

    /// All unicast routes of the main table.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn all_routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let table = RouteHeader::RT_TABLE_MAIN;
        self.dump_routes(None, table, Route::from_message).await
    }

    /// The unicast routes of `table` that leave by this interface, IPv4 first.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn routes_in(&self, table: u32, interface: u32) -> Result<Vec<Route>, NetlinkError> {
        let wanted = |message: &RouteMessage| {
            Route::from_message(message).filter(|route| route.table == table)
        };
        let all = RouteHeader::RT_TABLE_UNSPEC;
        self.dump_routes(Some(interface), all, wanted).await
    }

    async fn dump_routes<T>(
        &self,
        interface: Option<u32>,
        table: u8,
        wanted: impl Fn(&RouteMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.table = table;
            message.header.kind = RouteType::Unicast;
            message
                .attributes
                .extend(interface.map(RouteAttribute::Oif));
            let mut answers = self.handle.route().get(message).execute();
            while let Some(answer) = answers.next().await {
                match answer.asked(|| format!("list {family:?} routes")) {
                    Ok(message) => routes.extend(wanted(&message)),
                    // A table comes into being with its first route.
                    Err(error) if error.is_not_found() => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(routes)
    }

    /// The path that a packet of ours to `destination` would take, sent from `source` if that is
    /// given, and carrying the firewall mark `fwmark` (0 for none).
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Refused` when the network is unreachable, or `source` is not ours.
    pub async fn path_to(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        fwmark: u32,
    ) -> Result<Path, NetlinkError> {
        let asked = || format!("look up the path to {destination}");
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        message
            .attributes
            .push(RouteAttribute::Destination(destination.into()));
        if let Some(source) = source {
            message.header.source_prefix_length = if source.is_ipv4() { 32 } else { 128 };
            message
                .attributes
                .push(RouteAttribute::Source(source.into()));
        }
        if fwmark != 0 {
            message.attributes.push(RouteAttribute::Mark(fwmark));
        }
        self.path_of(message, asked).await
    }

    /// The path that a packet from `source` to `destination` would take that comes in by
    /// `interface`: as the kernel looks it up for what is not its own.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Refused` when the network is unreachable, when what comes in there is
    /// not forwarded (`EHOSTUNREACH`), or when `source` is not believed there (`EXDEV`).
    pub async fn path_of_foreign(
        &self,
        (source, destination): (IpAddr, IpAddr),
        interface: u32,
    ) -> Result<Path, NetlinkError> {
        let asked = || format!("look up the path from {source} to {destination}");
        let bits = if destination.is_ipv4() { 32 } else { 128 };
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = bits;
        message.header.source_prefix_length = bits;
        message.attributes = vec![
            RouteAttribute::Destination(destination.into()),
            RouteAttribute::Source(source.into()),
            RouteAttribute::Iif(interface),
        ];
        self.path_of(message, asked).await
    }

    async fn path_of(
        &self,
        message: RouteMessage,
        asked: impl Fn() -> String,
    ) -> Result<Path, NetlinkError> {
        let answer = self.handle.route().get(message).execute().try_next().await;
        let found = answer.asked(&asked)?;
        let message = found.ok_or_else(|| NetlinkError::NotFound { asked: asked() })?;
        let route = Route::from_message(&message)
            .ok_or_else(|| NetlinkError::NotFound { asked: asked() })?;
        let mtu = message.attributes.iter().find_map(route_mtu);
        Ok(Path {
            interface: route.interface,
            gateway: route.gateway,
            source: route.source,
            mtu,
            is_local: message.header.kind == RouteType::Local,
        })
    }
}

fn route_mtu(attribute: &RouteAttribute) -> Option<u32> {
    let RouteAttribute::Metrics(metrics) = attribute else {
        return None;
    };
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
