//! Packets at a checkpoint, against a slow and simple account of what a filter is.

use core::{net::IpAddr, time::Duration};

use weapon_core::{
    Checkpoint, PeerId, Policy,
    filter::{Action, Direction, IcmpType, PortRange, Protocol, Rule, RulePeers},
};
use weapon_noise::Tick;

use crate::input::Input;

mod headers;
mod reference;
use reference::Reference;

/// Packets of one input; the table has room for many more flows.
const PACKETS_MAX: usize = 200;
const FLOWS_MAX: usize = 1 << 14;
const RULES_MAX: usize = 12;

const PEERS: [(PeerId, &str); 2] = [(PeerId(3), "one"), (PeerId(5), "two")];
const PROTOCOLS: [u8; 10] = [6, 17, 1, 58, 132, 33, 136, 47, 4, 0];
const PORTS: [u16; 5] = [0, 22, 53, 54, 65_535];

/// What the bytes say is sent, and by what rules.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let default = action(input.u8());
    let count = usize::from(input.u8()) % (RULES_MAX + 1);
    let rules: Vec<Rule> = (0..count).map(|number| rule(number, &mut input)).collect();
    let policy = Policy {
        default: Some(default),
        rules: rules.clone(),
        flows_max: FLOWS_MAX,
        seed: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
    };
    let peers = PEERS.map(|(id, name)| (id, name.into())).to_vec();
    let checkpoint = Checkpoint::of(&policy, peers);
    let mut reference = Reference::new(default, rules);
    let mut now = Tick::default() + Duration::from_secs(10_000);
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for _ in 0..PACKETS_MAX {
        if input.is_empty() {
            return;
        }
        let seconds = [0, 0, 0, 1, 9, 29, 61, 119, 241, 7440][usize::from(input.u8()) % 10];
        now = now + Duration::from_secs(seconds);
        let direction = direction(input.u8());
        let (peer, name) = PEERS[usize::from(input.u8() & 1)];
        let packet = packet(direction, &sent, &mut input);
        let result = checkpoint.try_packet(direction, peer, &packet, now);
        let expected = reference.judge(direction, (peer, name), &packet, now);
        assert_eq!(result, expected, "{direction:?} {name} {packet:02x?}");
        sent.push(packet);
    }
}

fn action(byte: u8) -> Action {
    if byte & 1 == 0 {
        Action::Deny
    } else {
        Action::Allow
    }
}

fn direction(byte: u8) -> Direction {
    if byte & 1 == 0 {
        Direction::Outbound
    } else {
        Direction::Inbound
    }
}

/// One of a few hosts, ours or theirs.
fn host(is_v4: bool, number: u8) -> IpAddr {
    let (side, host) = (number >> 2 & 1, number & 3);
    if is_v4 {
        IpAddr::from([10, side, 0, host])
    } else {
        IpAddr::from([0xfd00, side.into(), 0, 0, 0, 0, 0, host.into()])
    }
}

fn rule(number: usize, input: &mut Input<'_>) -> Rule {
    let mut rule = Rule::of_all(&number.to_string(), action(input.u8()));
    let asks = input.u8();
    if asks & 1 != 0 {
        rule.direction = Some(direction(input.u8()));
    }
    if asks & 2 != 0 {
        let name = PEERS[usize::from(input.u8() & 1)].1;
        rule.peers = RulePeers::Named([name.into()].into());
    }
    for (bit, list) in [(4, &mut rule.from), (8, &mut rule.to)] {
        if asks & bit != 0 {
            let (which, len) = (input.u8(), input.u8());
            let address = host(which & 8 != 0, which);
            let len_max = if address.is_ipv4() { 32 } else { 128 };
            let text = format!("{address}/{}", len % (len_max + 1));
            let net: Result<ipnet::IpNet, _> = text.parse();
            list.extend(net.map(|net| net.trunc()));
        }
    }
    if asks & 16 != 0 {
        rule.protocols = vec![match PROTOCOLS[usize::from(input.u8()) % PROTOCOLS.len()] {
            0 => Protocol::Icmp,
            number => Protocol::Number(number),
        }];
    }
    for (bit, list) in [(32, &mut rule.ports), (64, &mut rule.source_ports)] {
        if asks & bit != 0 {
            let (one, other) = (port(input.u8()), port(input.u8()));
            list.push(PortRange {
                first: one.min(other),
                last: one.max(other),
            });
        }
    }
    if asks & 128 != 0 {
        let kind = input.u8();
        rule.icmp = vec![IcmpType::V4(kind % 16), IcmpType::V6(kind)];
    }
    rule
}

fn port(byte: u8) -> u16 {
    PORTS[usize::from(byte) % PORTS.len()]
}

/// A packet on its way in `direction`, mostly between the hosts that belong there.
fn packet(direction: Direction, sent: &[Vec<u8>], input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.u8();
    let is_v4 = shape & 1 == 0;
    let ends = input.u8();
    let (ours, theirs) = (host(is_v4, ends & 7), host(is_v4, (ends >> 3 & 7) ^ 4));
    let (source, destination) = match direction {
        Direction::Outbound => (ours, theirs),
        Direction::Inbound => (theirs, ours),
    };
    let protocol = PROTOCOLS[usize::from(input.u8()) % PROTOCOLS.len()];
    let mut rest = transport(protocol, is_v4, sent, input);
    let fragment = (shape & 2 != 0).then(|| (input.u8() & 3, input.u8()));
    if shape & 4 != 0 {
        rest.truncate(usize::from(input.u8()) % 48);
    }
    if let Some((_, place)) = fragment {
        // In the middle of something, also.
        rest.resize(rest.len().max(usize::from(place >> 4) * 8), 0);
    }
    let mut packet = if is_v4 {
        v4(source, destination, protocol, fragment, &rest)
    } else {
        v6(source, destination, protocol, fragment, &rest, input)
    };
    if shape & 8 != 0 && !packet.is_empty() {
        let at = usize::from(input.u8()) % packet.len();
        packet[at] = input.u8();
    }
    if shape & 16 != 0 {
        packet.truncate(usize::from(input.u8()));
    }
    packet
}

fn transport(protocol: u8, is_v4: bool, sent: &[Vec<u8>], input: &mut Input<'_>) -> Vec<u8> {
    let mut rest = Vec::new();
    match protocol {
        1 | 58 => {
            let choice = input.u8();
            let kinds = if is_v4 {
                [8, 0, 3, 11, 13, 4]
            } else {
                [128, 129, 1, 2, 3, 135]
            };
            rest.extend([
                kinds[usize::from(choice) % 6],
                0,
                0,
                0,
                0,
                input.u8() & 3,
                0,
                0,
            ]);
            let quoted = usize::from(input.u8());
            if choice & 64 != 0 && !sent.is_empty() {
                let quoted = &sent[quoted % sent.len()];
                rest.extend_from_slice(quoted);
            }
        }
        6 => {
            rest.extend(port(input.u8()).to_be_bytes());
            rest.extend(port(input.u8()).to_be_bytes());
            rest.extend([0; 8]);
            rest.extend([0x50, input.u8() & 0x3f, 0, 0, 0, 0, 0, 0]);
        }
        _ => {
            rest.extend(port(input.u8()).to_be_bytes());
            rest.extend(port(input.u8()).to_be_bytes());
            rest.extend([0; 8]);
        }
    }
    rest
}

/// Offset in eight bytes, and whether more follow.
fn place(byte: u8) -> (u16, bool) {
    (u16::from(byte & 7), byte & 8 != 0)
}

fn v4(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: Option<(u8, u8)>,
    rest: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((rest.len() as u16 + 20).to_be_bytes());
    let (id, at) = fragment.unwrap_or_default();
    let (offset, more) = if fragment.is_some() {
        place(at)
    } else {
        (0, false)
    };
    packet.extend(u16::from(id).to_be_bytes());
    packet.extend((offset | u16::from(more) << 13).to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    for address in [source, destination] {
        if let IpAddr::V4(address) = address {
            packet.extend(address.octets());
        }
    }
    packet.extend(rest);
    packet
}

fn v6(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: Option<(u8, u8)>,
    rest: &[u8],
    input: &mut Input<'_>,
) -> Vec<u8> {
    // From the inside to the outside.
    let mut behind = rest.to_vec();
    let mut next = protocol;
    let extensions = input.u8();
    let wrap = |behind: &mut Vec<u8>, next: &mut u8, kind: u8| {
        let header = match kind {
            51 => vec![*next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => vec![*next, 0, 0, 0, 0, 0, 0, 0],
        };
        *next = kind;
        behind.splice(0..0, header);
    };
    if extensions & 1 != 0 {
        for _ in 0..extensions >> 4 {
            wrap(&mut behind, &mut next, 60);
        }
    }
    if let Some((id, at)) = fragment {
        let (offset, more) = place(at);
        let mut header = vec![next, 0];
        header.extend((offset << 3 | u16::from(more)).to_be_bytes());
        header.extend(u32::from(id).to_be_bytes());
        behind.splice(0..0, header);
        next = 44;
    }
    if extensions & 2 != 0 {
        wrap(&mut behind, &mut next, 51);
    }
    if extensions & 4 != 0 {
        wrap(&mut behind, &mut next, 0);
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((behind.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    for address in [source, destination] {
        if let IpAddr::V6(address) = address {
            packet.extend(address.octets());
        }
    }
    packet.extend(behind);
    packet
}

#[cfg(test)]
mod tests {
    /// Some thousand inputs without a fuzzer: it has no memory of its own, but is in every run.
    #[test]
    fn random_packets_are_judged_alike() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..3000 {
            let mut bytes = vec![0; 600];
            for chunk in bytes.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
            }
            super::run(&bytes);
        }
    }
}
