//! Two of our gateways with a cable between their hosts, and a tunnel between them: what most
//! tests begin with.
//!
//! ```text
//!   one   w-one    10.99.0.1, fd99::1            w-other  10.99.0.2, fd99::2   other
//!         eth0     192.0.2.1, 2001:db8::1 ------ eth0     192.0.2.2, 2001:db8::2
//! ```

use std::rc::Rc;

use crate::lab::{Host, link};
use crate::plan::{Plan, introduce};
use crate::said::Said;
use crate::weapon::{Home, Weapon};

/// Two hosts and what their gateways are to be.
#[derive(Debug)]
pub struct Pair {
    /// The folders of both.
    pub home: Rc<Home>,
    /// A host.
    pub one: Host,
    /// Another.
    pub other: Host,
    /// The gateway of `one`, which knows where the other is.
    pub plan: Plan,
    /// The gateway of `other`, which waits to be found.
    pub other_plan: Plan,
}

impl Pair {
    /// The hosts and their cable; no gateway runs yet.
    #[track_caller]
    pub fn new() -> Self {
        let (one, other) = (Host::new("one"), Host::new("other"));
        link(
            (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
            (&other, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
        );
        Self::between(one, other)
    }

    /// As [`Pair::new`], for hosts that have their cable.
    pub fn between(one: Host, other: Host) -> Self {
        let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
        let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
        introduce(
            (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
            (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
            None,
        );
        plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
        Self {
            home: Home::new(),
            one,
            other,
            plan,
            other_plan,
        }
    }

    /// Starts the gateway of `one`.
    #[track_caller]
    pub fn start(&self) -> Weapon {
        Weapon::start_with(&self.one, &self.home, "one.toml", &self.plan.toml())
    }

    /// Starts the gateway of `other`.
    #[track_caller]
    pub fn start_other(&self) -> Weapon {
        Weapon::start_with(
            &self.other,
            &self.home,
            "other.toml",
            &self.other_plan.toml(),
        )
    }

    /// Starts both, and waits until pings pass. The gateway of `one` comes first in the result.
    #[track_caller]
    pub fn start_both(&self) -> (Weapon, Weapon) {
        let other = self.start_other();
        let one = self.start();
        self.one.ping("10.99.0.2");
        (one, other)
    }

    /// `weapon WORDS` at `one`.
    #[track_caller]
    pub fn weapon(&self, words: &[&str]) -> Said {
        Said::by(self.home.command(&self.one).args(words))
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
