//! Which flows are asked for, and how that reads as the query of an URL.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_core::filter::Direction;

use crate::{config::value, parameters};

/// Flows of one answer at most.
pub const LIMIT_MAX: usize = 10_000;
/// And if nothing is said.
const LIMIT_DEFAULT: usize = 1000;

/// What is asked for; what is not said is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsQuery {
    /// Flows of this peer.
    pub peer: Option<String>,
    /// One end is in this prefix.
    pub address: Option<IpNet>,
    /// One end has this port.
    pub port: Option<u16>,
    /// They carry this, by name or number.
    pub protocol: Option<String>,
    /// They have come so far.
    pub state: Option<String>,
    /// This rule lets them pass.
    pub rule: Option<String>,
    /// They were opened this way.
    pub direction: Option<Direction>,
    /// How many at most, or some more: the table is read in sets.
    pub limit: usize,
    /// Where to go on, as the answer before says.
    pub cursor: usize,
}

impl Default for FlowsQuery {
    fn default() -> Self {
        Self {
            peer: None,
            address: None,
            port: None,
            protocol: None,
            state: None,
            rule: None,
            direction: None,
            limit: LIMIT_DEFAULT,
            cursor: 0,
        }
    }
}

impl FlowsQuery {
    /// What a query says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (key, value) in parameters::read(query)? {
            let wrong = |what: &str| format!("{key}: {} is no {what}", value::quoted(&value));
            match key {
                "peer" => asked.peer = Some(value),
                "address" => asked.address = Some(value::prefix(&value)?.trunc()),
                "port" => asked.port = Some(value.parse().map_err(|_| wrong("port"))?),
                "protocol" => asked.protocol = Some(value),
                "state" => asked.state = Some(value),
                "rule" => asked.rule = Some(value),
                "direction" => {
                    asked.direction = Some(match value.as_str() {
                        "inbound" => Direction::Inbound,
                        "outbound" => Direction::Outbound,
                        _ => return Err(wrong("direction; there are inbound and outbound")),
                    });
                }
                "limit" => {
                    let limit = value.parse().ok();
                    let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    asked.limit = limit.ok_or_else(|| format!("limit: 1 to {LIMIT_MAX}"))?;
                }
                "cursor" => asked.cursor = value.parse().map_err(|_| wrong("cursor"))?,
                _ => {
                    return Err(format!(
                        "there is no parameter {}; there are peer, address, port, protocol, \
                         state, rule, direction, limit and cursor",
                        value::quoted(key)
                    ));
                }
            }
        }
        Ok(asked)
    }

    /// The query that says it.
    pub fn written(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        let direction = self.direction.map(|direction| match direction {
            Direction::Inbound => "inbound".to_owned(),
            Direction::Outbound => "outbound".to_owned(),
        });
        parameters::written([
            ("peer", self.peer.clone()),
            ("address", address),
            ("port", self.port.map(|port| port.to_string())),
            ("protocol", self.protocol.clone()),
            ("state", self.state.clone()),
            ("rule", self.rule.clone()),
            ("direction", direction),
            ("limit", Some(self.limit.to_string())),
            ("cursor", Some(self.cursor.to_string())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_understood() {
        let asked = FlowsQuery {
            peer: Some("a=b+c&d %e".into()),
            address: Some("fd00::/8".parse().unwrap()),
            port: Some(22),
            protocol: Some("tcp".into()),
            state: Some("established".into()),
            rule: Some("web".into()),
            direction: Some(Direction::Inbound),
            limit: 7,
            cursor: 99,
        };
        assert_eq!(FlowsQuery::parse(&asked.written()), Ok(asked));
        let none = FlowsQuery::default();
        assert_eq!(FlowsQuery::parse(&none.written()), Ok(none.clone()));
        assert_eq!(FlowsQuery::parse(""), Ok(none));
    }

    #[test]
    fn bad_queries_are_named() {
        for (query, problem) in [
            ("limit=0", "limit: 1 to 10000"),
            ("limit=10001", "limit: 1 to 10000"),
            ("port=70000", "port: `70000` is no port"),
            ("cursor=-1", "cursor: `-1` is no cursor"),
            ("peer=%4", "peer: bad percent-encoding"),
            ("peer=%zz", "peer: bad percent-encoding"),
            ("peer=%ff", "peer: bad percent-encoding"),
            (
                "direction=in",
                "direction: `in` is no direction; there are inbound and outbound",
            ),
            (
                "who=x",
                "there is no parameter `who`; there are peer, address, port, protocol, \
                       state, rule, direction, limit and cursor",
            ),
        ] {
            assert_eq!(FlowsQuery::parse(query), Err(problem.to_owned()));
        }
        assert!(FlowsQuery::parse("address=x").is_err());
    }
}
