//! Sealing and opening one datagram with a session's key.

use core::hint::black_box;

use weapon_noise::{Keypair, Role, SecretKey32, SessionKeys, Tick};
use weapon_wire::message::{DATA_HEADER_LEN, DATA_OVERHEAD};

use crate::{buffer::Buffer, packets, region, site::cipher};

pub(crate) fn seal() -> u64 {
    seal_len(1420)
}

pub(crate) fn seal_small() -> u64 {
    seal_len(64)
}

pub(crate) fn open() -> u64 {
    open_len(1420)
}

pub(crate) fn open_small() -> u64 {
    open_len(64)
}

/// Both ends of a session.
struct Ends {
    ours: Keypair,
    theirs: Keypair,
    plaintext: Buffer,
    datagram: Buffer,
    /// The counter of the next datagram.
    counter: u64,
    /// Whether the last operation succeeded.
    done: bool,
}

impl Ends {
    fn new(len: usize) -> Self {
        let keys = |role, send, receive, local_index, remote_index| SessionKeys {
            role,
            send: SecretKey32::from_bytes(&[send; 32]),
            receive: SecretKey32::from_bytes(&[receive; 32]),
            local_index,
            remote_index,
        };
        let now = Tick::default();
        let plaintext: Vec<u8> = packets::payload(len).collect();
        Self {
            ours: Keypair::new(&keys(Role::Initiator, 1, 2, 3, 4), now, cipher()),
            theirs: Keypair::new(&keys(Role::Responder, 2, 1, 4, 3), now, cipher()),
            plaintext: Buffer::new(&plaintext),
            datagram: Buffer::new(&vec![0; len + DATA_OVERHEAD]),
            counter: 0,
            done: false,
        }
    }

    fn seal(&mut self) -> bool {
        let plaintext = self.plaintext.bytes();
        let slot = self.datagram.bytes();
        self.ours.seal(self.counter, plaintext, 0, slot).is_ok()
    }
}

fn seal_len(len: usize) -> u64 {
    let mut ends = Ends::new(len);
    let operations = region::repeat(
        &mut ends,
        |ends| {
            ends.counter += 1;
            ends.done = false;
        },
        |ends| ends.done = black_box(&mut *ends).seal(),
    );
    assert!(ends.done, "sealed");
    operations
}

fn open_len(len: usize) -> u64 {
    let mut ends = Ends::new(len);
    let operations = region::repeat(
        &mut ends,
        |ends| {
            ends.counter += 1;
            ends.done = ends.seal();
        },
        |ends| {
            let datagram = black_box(ends.datagram.bytes());
            let opened = ends
                .theirs
                .open_run(Tick::default())
                .and_then(|mut run| run.open(datagram));
            ends.done &= opened.is_ok();
        },
    );
    assert!(ends.done, "opened");
    let opened = &ends.datagram.bytes()[DATA_HEADER_LEN..][..len];
    assert_eq!(opened, ends.plaintext.bytes(), "opened");
    operations
}
