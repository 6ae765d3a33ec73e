//! Policy rules: which routing table a packet is looked up in (ip-rule(8)).

use std::{fmt, net::IpAddr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    IpVersion,
    packet_route::{
        AddressFamily,
        route::RouteProtocol,
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};

use super::{Netlink, NetlinkError, error::Asked};

/// By which rules of ours are told from those of others, as protocols of routes are: the letter
/// `w`. `ip rule` shows it as `proto 119`.
const PROTOCOL: u8 = b'w';

/// A rule of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    /// Of IPv4, else of IPv6.
    pub is_ipv4: bool,
    /// Rules with a smaller one are asked before.
    pub priority: u32,
    /// Of packets to this prefix; else of all.
    pub to: Option<IpNet>,
    /// Of packets without this firewall mark; else of all.
    pub without_mark: Option<u32>,
    /// The table that they are looked up in.
    pub table: u32,
}

impl fmt::Display for Policy {
    /// As `ip -4 rule` or `ip -6 rule` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.is_ipv4 { 4 } else { 6 };
        write!(f, "ip -{family} rule: priority {}", self.priority)?;
        if let Some(mark) = self.without_mark {
            write!(f, " not fwmark {mark:#x}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

impl Policy {
    fn to_message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = match self.is_ipv4 {
            true => AddressFamily::Inet,
            false => AddressFamily::Inet6,
        };
        message.header.action = RuleAction::ToTable;
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Priority(self.priority));
        attributes.push(RuleAttribute::Table(self.table));
        attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)));
        if let Some(to) = self.to {
            message.header.dst_len = to.prefix_len();
            attributes.push(RuleAttribute::Destination(to.addr()));
        }
        if let Some(mark) = self.without_mark {
            message.header.flags |= RuleFlags::Invert;
            attributes.push(RuleAttribute::FwMark(mark));
        }
        message
    }

    /// Nothing if it is not of ours.
    fn from_message(message: &RuleMessage) -> Option<Self> {
        let is_ours = |it: &RuleAttribute| *it == RuleAttribute::Protocol(PROTOCOL.into());
        if !message.attributes.iter().any(is_ours) {
            return None;
        }
        let mut policy = Self {
            is_ipv4: message.header.family == AddressFamily::Inet,
            priority: 0,
            to: None,
            without_mark: None,
            table: message.header.table.into(),
        };
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(priority) => policy.priority = *priority,
                RuleAttribute::Table(table) => policy.table = *table,
                RuleAttribute::Destination(address) => {
                    policy.to = prefix(*address, message.header.dst_len);
                }
                RuleAttribute::FwMark(mark) if message.header.flags.contains(RuleFlags::Invert) => {
                    policy.without_mark = Some(*mark);
                }
                _ => {}
            }
        }
        Some(policy)
    }
}

fn prefix(address: IpAddr, length: u8) -> Option<IpNet> {
    IpNet::new(address, length).ok()
}

impl Netlink {
    /// The rules of ours that are there, those of IPv4 first.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn policies(&self) -> Result<Vec<Policy>, NetlinkError> {
        let mut found = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let all = self.handle.rule().get(version).execute();
            let all: Vec<RuleMessage> = all
                .try_collect()
                .await
                .asked(|| "list policy rules".to_owned())?;
            found.extend(all.iter().filter_map(Policy::from_message));
        }
        Ok(found)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `Exists` when there is one like it.
    pub async fn add_policy(&self, policy: &Policy) -> Result<(), NetlinkError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = policy.to_message();
        let added = request.execute().await;
        added.asked(|| format!("add {policy}"))
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `NotFound` when there is none like it.
    pub async fn delete_policy(&self, policy: &Policy) -> Result<(), NetlinkError> {
        let deleted = self.handle.rule().del(policy.to_message()).execute().await;
        deleted.asked(|| format!("delete {policy}"))
    }
}
