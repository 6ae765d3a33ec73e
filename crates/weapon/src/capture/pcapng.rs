//! pcapng, the format of files with packets (draft-ietf-opsawg-pcapng): of its blocks those five
//! that are needed.

/// The link type of a loopback interface of BSD: in front of each packet stands a number of four
/// bytes that says which version of IP it is. `LINKTYPE_RAW` has none; but libpcap before 1.10.5
/// reads no file with several interfaces of that type, so neither does tcpdump.
const LINKTYPE_NULL: u16 = 0;
const FAMILY_UNKNOWN: u32 = 0;
const FAMILY_IPV4: u32 = 2;
const FAMILY_IPV6: u32 = 30;
const FAMILY_LEN: usize = 4;

/// The longest packet; Wireshark and tcpdump take no longer ones.
pub const PACKET_BYTES_MAX: usize = 262_144;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

// Options.
const END: u16 = 0;
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Ten to the minus ninth.
const NANOSECONDS: u8 = 9;

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Which interface, in the order in which they were written.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Whether it came in.
    pub is_inbound: bool,
    /// The packet.
    pub bytes: &'a [u8],
    /// What is to be said of it.
    pub comment: Option<&'a str>,
}

/// Writes the beginning.
pub fn section(out: &mut Vec<u8>, program: &str) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // The length of the section is not known.
        out.extend(u64::MAX.to_le_bytes());
        option(out, SHB_USERAPPL, program.as_bytes());
        option(out, END, &[]);
    });
}

/// Writes an interface. The first one is number 0.
pub fn interface(out: &mut Vec<u8>, name: &str, description: &str) {
    block(out, INTERFACE, |out| {
        out.extend(LINKTYPE_NULL.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend((PACKET_BYTES_MAX as u32).to_le_bytes());
        option(out, IF_NAME, name.as_bytes());
        option(out, IF_DESCRIPTION, description.as_bytes());
        option(out, IF_TSRESOL, &[NANOSECONDS]);
        option(out, END, &[]);
    });
}

/// Writes a packet.
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    let bytes = packet.bytes;
    let kept = &bytes[..bytes.len().min(PACKET_BYTES_MAX - FAMILY_LEN)];
    let family = match bytes.first().map(|first| first >> 4) {
        Some(4) => FAMILY_IPV4,
        Some(6) => FAMILY_IPV6,
        _ => FAMILY_UNKNOWN,
    };
    block(out, PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        moment(out, packet.at);
        out.extend(((FAMILY_LEN + kept.len()) as u32).to_le_bytes());
        out.extend(((FAMILY_LEN + bytes.len()) as u32).to_le_bytes());
        out.extend(family.to_le_bytes());
        padded(out, kept);
        let direction: u32 = if packet.is_inbound { 1 } else { 2 };
        option(out, EPB_FLAGS, &direction.to_le_bytes());
        if let Some(comment) = packet.comment {
            option(out, COMMENT, comment.as_bytes());
        }
        option(out, END, &[]);
    });
}

/// Writes how many packets of an interface were seen so far, and how many were missed.
pub fn statistics(out: &mut Vec<u8>, interface: u32, at: u64, (seen, missed): (u64, u64)) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        moment(out, at);
        option(out, ISB_IFRECV, &seen.to_le_bytes());
        option(out, ISB_IFDROP, &missed.to_le_bytes());
        option(out, END, &[]);
    });
}

fn moment(out: &mut Vec<u8>, at: u64) {
    out.extend(((at >> 32) as u32).to_le_bytes());
    out.extend((at as u32).to_le_bytes());
}

/// A block: its kind, its length, what is in it, and its length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = ((out.len() - start + 4) as u32).to_le_bytes();
    out.extend(len);
    out[start + 4..start + 8].copy_from_slice(&len);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    padded(out, value);
}

/// Bytes, and zeroes up to a multiple of four.
fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len() + bytes.len().wrapping_neg() % 4, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_draft() {
        let mut out = Vec::new();
        section(&mut out, "weapon");
        #[rustfmt::skip]
        let expected = [
            0x0a, 0x0d, 0x0d, 0x0a, 44, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
            255, 255, 255, 255, 255, 255, 255, 255,
            4, 0, 6, 0, b'w', b'e', b'a', b'p', b'o', b'n', 0, 0, 0, 0, 0, 0, 44, 0, 0, 0,
        ];
        assert_eq!(out, expected);

        out.clear();
        interface(&mut out, "site-b", "p");
        #[rustfmt::skip]
        let expected = [
            1, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0,
            2, 0, 6, 0, b's', b'i', b't', b'e', b'-', b'b', 0, 0,
            3, 0, 1, 0, b'p', 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(out, expected);

        out.clear();
        let at = 0x1122_3344_5566_7788;
        let shown = Packet {
            interface: 3,
            at,
            is_inbound: true,
            bytes: &[0x45, 1, 2, 3, 4],
            comment: Some("dropped"),
        };
        packet(&mut out, &shown);
        #[rustfmt::skip]
        let expected = [
            6, 0, 0, 0, 68, 0, 0, 0, 3, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55,
            9, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0x45, 1, 2, 3, 4, 0, 0, 0, 2, 0, 4, 0, 1, 0, 0, 0,
            1, 0, 7, 0, b'd', b'r', b'o', b'p', b'p', b'e', b'd', 0, 0, 0, 0, 0, 68, 0, 0, 0,
        ];
        assert_eq!(out, expected);

        out.clear();
        statistics(&mut out, 1, at, (7, 258));
        #[rustfmt::skip]
        let expected = [
            5, 0, 0, 0, 52, 0, 0, 0, 1, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55,
            4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 8, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            52, 0, 0, 0,
        ];
        assert_eq!(out, expected);
    }
}
