//! A good audit log, and what somebody does to it: whatever that is, it is found.

use weapon::readers;

use crate::texts::assert_is_harmless;

/// A log of a gateway, and its key.
const LOG: &str = include_str!("audit_log/audit-0000000000000001.jsonl");
const KEY: &str = include_str!("audit_log/verification.key");
const NAME: &str = "audit-0000000000000001.jsonl";

/// Its last record, which is a seal.
const LAST: u64 = 11;

/// Changes that are made to it at most.
const EDITS_MAX: usize = 64;

/// Bytes as a log, if the first one is odd; else as changes of a good log.
pub fn run(data: &[u8]) {
    let Some((how, data)) = data.split_first() else {
        return;
    };
    if how & 1 == 1 {
        // Nobody without the key makes one of his own.
        assert!(!verify(data), "a log that nobody wrote is good");
        return;
    }
    let mut log = LOG.as_bytes().to_vec();
    for edit in data.chunks_exact(5).take(EDITS_MAX) {
        change(&mut log, edit);
    }
    assert_eq!(verify(&log), log == LOG.as_bytes());
}

fn verify(log: &[u8]) -> bool {
    let (is_good, said) = readers::audit_log(log, NAME, KEY, LAST);
    said.iter().for_each(|line| assert_is_harmless(line));
    is_good
}

/// One change: what, where (two bytes), and two bytes more.
fn change(log: &mut Vec<u8>, edit: &[u8]) {
    let number = |at: usize| usize::from(edit[at]) << 8 | usize::from(edit[at + 1]);
    let at = number(1) % (log.len() + 1);
    match edit[0] % 6 {
        0 => log.insert(at, edit[3]),
        1 if at < log.len() => log[at] ^= edit[3],
        2 => drop(log.drain(at..(at + usize::from(edit[3])).min(log.len()))),
        3 => log.truncate(at),
        // Whole lines: one goes, or takes the place of another.
        what @ (4 | 5) => {
            let mut lines: Vec<Vec<u8>> = log
                .split_inclusive(|&byte| byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            if lines.is_empty() {
                return;
            }
            let one = number(1) % lines.len();
            let other = number(3) % lines.len();
            if what == 4 {
                lines.remove(one);
            } else {
                lines.swap(one, other);
            }
            *log = lines.concat();
        }
        _ => {}
    }
}
