//! Arguments of `weapon flows`.

use std::time::Duration;

use ipnet::IpNet;
use weapon_core::filter::Direction;

use super::status::interval;
use crate::{config::value, flows::FlowsQuery};

/// Arguments of `weapon flows`.
#[derive(clap::Args, Debug)]
pub struct FlowsArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
    /// Only of this peer
    #[arg(long)]
    pub peer: Option<String>,
    /// Only with an end in this network, or this host
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub address: Option<IpNet>,
    /// Only with this port at one end
    #[arg(long)]
    pub port: Option<u16>,
    /// Only of this protocol: tcp, udp, icmp or a number
    #[arg(long)]
    pub protocol: Option<String>,
    /// Only those that have come so far, as established
    #[arg(long)]
    pub state: Option<String>,
    /// Only those that this rule lets pass
    #[arg(long)]
    pub rule: Option<String>,
    /// Only those opened from the peer's side
    #[arg(long, conflicts_with = "outbound")]
    pub inbound: bool,
    /// Only those opened from our side
    #[arg(long)]
    pub outbound: bool,
    /// How many at most
    #[arg(long, default_value = "1000")]
    pub limit: usize,
    /// Ask DNS too what the hosts are called: it sees who talks with whom then
    #[arg(long)]
    pub resolve: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show them again and again, until it is interrupted; with --json a line each time
    #[arg(long)]
    pub watch: bool,
    /// Seconds from one look to the next
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    #[arg(requires = "watch")]
    pub interval: Duration,
}

impl FlowsArgs {
    /// What the gateway is asked.
    pub fn query(&self) -> FlowsQuery {
        let direction = match (self.inbound, self.outbound) {
            (true, _) => Some(Direction::Inbound),
            (false, true) => Some(Direction::Outbound),
            (false, false) => None,
        };
        FlowsQuery {
            peer: self.peer.clone(),
            address: self.address,
            port: self.port,
            protocol: self.protocol.clone(),
            state: self.state.clone(),
            rule: self.rule.clone(),
            direction,
            ..FlowsQuery::default()
        }
    }
}

fn address(text: &str) -> Result<IpNet, String> {
    value::prefix(text).map(|net| net.trunc())
}
