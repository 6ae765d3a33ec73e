//! Where in the file the values stand that only the system can refuse.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    draft::{GatewayDraft, Spelling},
    model::Written,
    policy::WrittenRules,
    problem::{Located, Place},
};

/// Of a draft, its addresses, and the peers' networks.
pub fn written(
    gateway: &GatewayDraft,
    addresses: &[Located<IpNet>],
    networks: BTreeMap<IpNet, Place>,
    spelling: &Spelling,
) -> Written {
    let place = |written: Option<&Place>, key: &str| match written {
        Some(place) => place.clone(),
        None => Place {
            key: key.to_owned(),
            ..gateway.place.clone()
        },
    };
    let exported = gateway.danger_export_keys.as_ref();
    let interface = gateway.interface.as_ref().map(|name| &name.place);
    Written {
        fwmark: place(gateway.fwmark.as_ref().map(|mark| &mark.place), ""),
        listen: place(gateway.listen.as_ref().map(|port| &port.place), ""),
        metrics: place(gateway.metrics.as_ref().map(|at| &at.place), ""),
        danger_export_keys: place(exported.map(|path| &path.place), ""),
        interface: place(interface, spelling.interface),
        user: place(gateway.user.as_ref().map(|user| &user.place), ""),
        addresses: addresses
            .iter()
            .map(|address| (address.value, address.place.clone()))
            .collect(),
        networks,
        behind: Vec::new(),
        rules: WrittenRules::default(),
    }
}
