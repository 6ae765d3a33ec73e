//! Which of the sockets at a port gets a datagram: data goes to the lanes, all else to the doors.
//!
//! A flood of handshake messages then fills a buffer of its own, and the kernel drops there what
//! nobody has taken; data never waits behind it, nor do handshakes of most other networks
//! (`docs/decisions/0009-doors-for-handshakes.md`). The kernel runs the program for each datagram,
//! or train, that comes to the port (`reuseport_select_sock`): classic BPF, which needs no
//! privilege.

use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MISC,
    BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X, BPF_XOR, SKF_NET_OFF, sock_filter,
};

use super::Family;

/// How many doors there are, a power of two. A peer has the door of a flood with the probability of
/// one to this; more would be more files, two each.
pub(super) const DOORS: u32 = 16;

/// The first four bytes of a data message, in the order of the network (paper §5.4.6).
const DATA: u32 = 0x0400_0000;

/// 2^32 by the golden ratio, odd: the upper half of a product with it depends on all of a word.
const GOLDEN: u32 = 0x9e37_79b9;

/// Random numbers, so that nobody can choose a network that has the door of somebody else's.
pub(super) type Key = [u32; 3];

/// The program for sockets that were bound in this order: `lanes`, then [`DOORS`]. It returns the
/// number of one.
///
/// What one sender sends goes to one lane, always the same, as it would without a program; what is
/// no data comes to the door of the network, its /24 or its /64. What has not even four bytes goes
/// to the first lane, as the kernel returns 0 for a load past the end.
pub(super) fn program(family: Family, lanes: u32, key: Key) -> Vec<sock_filter> {
    let door = door(family, lanes, key);
    let is_data = sock_filter {
        // Jumps over the door.
        jt: door.len() as u8,
        ..op(BPF_JMP | BPF_JEQ | BPF_K, DATA)
    };
    let mut program = vec![op(BPF_LD | BPF_W | BPF_ABS, 0), is_data];
    program.extend(door);
    program.extend(lane(family, lanes));
    program
}

/// Multiply-shift: the upper bits of a * high + b * low + c.
fn door(family: Family, lanes: u32, [a, b, c]: Key) -> Vec<sock_filter> {
    let mut program = match family {
        Family::V4 => vec![
            network_word(12),
            op(BPF_ALU | BPF_AND | BPF_K, 0xffff_ff00),
            op(BPF_ALU | BPF_MUL | BPF_K, a | 1),
        ],
        Family::V6 => vec![
            network_word(8),
            op(BPF_ALU | BPF_MUL | BPF_K, a | 1),
            op(BPF_MISC | BPF_TAX, 0),
            network_word(12),
            op(BPF_ALU | BPF_MUL | BPF_K, b | 1),
            op(BPF_ALU | BPF_ADD | BPF_X, 0),
        ],
    };
    program.extend([
        op(BPF_ALU | BPF_ADD | BPF_K, c),
        op(BPF_ALU | BPF_RSH | BPF_K, DOORS.leading_zeros() + 1),
        op(BPF_ALU | BPF_ADD | BPF_K, lanes),
        op(BPF_RET | BPF_A, 0),
    ]);
    program
}

fn lane(family: Family, lanes: u32) -> Vec<sock_filter> {
    if lanes <= 1 {
        return vec![op(BPF_RET | BPF_K, 0)];
    }
    // The sender's port is behind the header if there are no options. With options that is what
    // they begin with, the same for all of a flow.
    let (words, port): (&[u32], u32) = match family {
        Family::V4 => (&[12], 20),
        Family::V6 => (&[8, 12, 16, 20], 40),
    };
    let mut program = vec![op(BPF_LD | BPF_H | BPF_ABS, network_offset(port))];
    for &word in words {
        program.extend([
            op(BPF_ALU | BPF_MUL | BPF_K, GOLDEN),
            op(BPF_MISC | BPF_TAX, 0),
            network_word(word),
            op(BPF_ALU | BPF_XOR | BPF_X, 0),
        ]);
    }
    program.extend([
        op(BPF_ALU | BPF_MUL | BPF_K, GOLDEN),
        op(BPF_ALU | BPF_RSH | BPF_K, 16),
        op(BPF_ALU | BPF_MOD | BPF_K, lanes),
        op(BPF_RET | BPF_A, 0),
    ]);
    program
}

/// Loads a word of the network header.
fn network_word(offset: u32) -> sock_filter {
    op(BPF_LD | BPF_W | BPF_ABS, network_offset(offset))
}

const fn network_offset(offset: u32) -> u32 {
    (SKF_NET_OFF as u32).wrapping_add(offset)
}

fn op(code: u32, value: u32) -> sock_filter {
    sock_filter {
        // All codes fit: the kernel's field has 16 bits.
        code: code as u16,
        jt: 0,
        jf: 0,
        k: value,
    }
}
