//! What is taken away from under a gateway: C10.

use std::time::{Duration, Instant};

use weapon_io::netlink;

use super::check::{Check, Form};
use crate::pair::Pair;
use crate::traces::Traces;
use crate::weapon::PATIENCE;
use crate::wire::Dice;

/// C10, U08.
const END_TIME_MAX: Duration = Duration::from_millis(100);

/// C10. A machine that is busy lets a process wait, so the median is held to the number.
pub(super) fn interface(form: Form) -> Vec<Check> {
    let pair = Pair::new();
    let _other = pair.start_other();
    let before = Traces::of(&pair.one, &pair.home);
    let mut dice = Dice::new(10);
    let (mut times, mut unclean, mut left) = (Vec::new(), 0, 0);
    for _ in 0..form.pick(5, 100) {
        let mut one = pair.start();
        // Before, during and after the handshake.
        std::thread::sleep(Duration::from_micros(dice.below(100_000) as u64));
        let _ = pair.one.ping_once(
            [10, 99, 0, 2].into(),
            Duration::from_millis(dice.below(30) as u64 + 1),
        );
        let deleted = pair.one.enter(|| {
            netlink::block_on(async |netlink| {
                let index = netlink.link("w-one").await?.index;
                netlink.delete_link(index).await?;
                Ok(Instant::now())
            })
        });
        let deleted = deleted.expect("the interface deleted");
        let status = one.process().wait(PATIENCE);
        times.push(deleted.elapsed());
        unclean += u64::from(status.code() != Some(0));
        left += u64::from(Traces::of(&pair.one, &pair.home) != before);
    }
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    let count = times.len();
    let text = format!(
        "ended after, median of {count}, longest {} ms",
        longest.as_millis()
    );
    vec![
        Check::within(text, END_TIME_MAX, median),
        Check::none("exits with an error", unclean),
        Check::none("times that something was left behind", left),
    ]
}
