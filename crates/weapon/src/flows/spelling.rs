//! How what is known of a flow is written, wherever it is.

use weapon_core::filter::Direction;

/// Flags of TCP, from the lowest bit on, by the letters that tcpdump has for them.
const FLAGS: [(u8, char); 6] = [
    (0x02, 'S'),
    (0x10, '.'),
    (0x08, 'P'),
    (0x01, 'F'),
    (0x04, 'R'),
    (0x20, 'U'),
];

/// `tcp`, `udp`, `icmp` of both families, or a number.
pub fn protocol_name(number: u8, is_icmp: bool) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        _ if is_icmp => "icmp".to_owned(),
        number => number.to_string(),
    }
}

/// Which way the first packet went.
pub fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

/// The flags that are set; `None` if it is not TCP.
pub fn flag_letters(protocol: u8, bits: u8) -> Option<String> {
    let set = FLAGS.iter().filter(|(bit, _)| bits & bit != 0);
    (protocol == 6).then(|| set.map(|(_, letter)| letter).collect())
}
