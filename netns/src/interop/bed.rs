//! One of our gateways, one of others, and the tunnel between them.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::gateway::{Gateway, Kind};
use crate::lab::{Host, link, until};
use crate::machine::Machine;
use crate::plan::{Plan, introduce, preshared_key};
use crate::weapon::{Home, PATIENCE, Weapon};

/// What the cable has at our end.
const OUR_ADDRESSES: [&str; 2] = ["192.0.2.1/24", "2001:db8::1/64"];

/// What kind of tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// The other side knows where we are and we don't; else it is the other way about.
    pub(super) they_begin: bool,
    pub(super) over_ipv6: bool,
    pub(super) with_preshared_key: bool,
    pub(super) our_keepalive: Option<u16>,
    pub(super) their_keepalive: Option<u16>,
}

/// Both gateways; they run.
pub(super) struct Bed {
    pub(super) setup: Setup,
    pub(super) home: Rc<Home>,
    /// The host of ours.
    pub(super) one: Host,
    /// Where the tunnel ends over there.
    pub(super) other: Host,
    pub(super) plan: Plan,
    pub(super) other_plan: Plan,
    kind: Kind,
    /// `None` while it is being started again.
    weapon: Option<Weapon>,
    peer: Option<Gateway>,
}

impl Bed {
    /// Starts both, whoever waits first: an initiation that nobody hears is repeated only after
    /// five seconds.
    pub(super) fn start(kind: Kind, setup: Setup) -> Self {
        Self::with(kind, setup, |_, _| {})
    }

    /// As [`Bed::start`], with a change to the plans.
    pub(super) fn with(
        kind: Kind,
        setup: Setup,
        change: impl FnOnce(&mut Plan, &mut Plan),
    ) -> Self {
        let (plan, other_plan) = plans(setup, change);
        let (one, other) = (Host::new("one"), Host::new("other"));
        if kind != Kind::Kernel {
            let theirs: &[&str] = &["192.0.2.2/24", "2001:db8::2/64"];
            link((&one, "eth0", &OUR_ADDRESSES), (&other, "eth0", theirs));
            other.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
        }
        let mut bed = Self {
            setup,
            home: Home::new(),
            one,
            other,
            plan,
            other_plan,
            kind,
            weapon: None,
            peer: None,
        };
        // The cable to a machine comes with it.
        if setup.they_begin && kind != Kind::Kernel {
            bed.start_ours();
            bed.start_theirs();
        } else {
            bed.start_theirs();
            bed.start_ours();
        }
        bed.one
            .sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
        bed
    }

    fn start_ours(&mut self) {
        let text = self.plan.toml();
        self.weapon = Some(Weapon::start_with(&self.one, &self.home, "one.toml", &text));
    }

    fn start_theirs(&mut self) {
        self.peer = Some(if self.kind == Kind::Kernel {
            let (home, plan) = (&self.home, &self.other_plan);
            let machine = Machine::start(&self.one, &OUR_ADDRESSES, home, plan);
            self.other = machine.site.again();
            Gateway::Machine(machine)
        } else {
            Gateway::start(self.kind, &self.other, &self.home, &self.other_plan)
        });
    }

    /// Ends our gateway and starts it again: it knows nothing of its sessions.
    pub(super) fn restart_ours(&mut self) {
        self.weapon = None;
        self.start_ours();
    }

    /// Ends the other gateway and starts it again.
    pub(super) fn restart_theirs(&mut self) {
        if let Some(Gateway::Machine(machine)) = &mut self.peer {
            machine.restart();
            return;
        }
        self.peer = None;
        self.start_theirs();
    }

    /// Runs a line where the other gateway is: in its host, or in its machine.
    pub(super) fn run_theirs(&mut self, line: &str) {
        match &mut self.peer {
            Some(Gateway::Machine(machine)) => machine.run(line),
            _ => self.other.run(line),
        };
    }

    /// Tells the other gateway, where `wg` can, where ours is, which it knew before. Says whether
    /// it could be told; else it was started again.
    pub(super) fn tell_theirs(&mut self, endpoint: &str) -> bool {
        let Some(Gateway::Daemon(daemon)) = &self.peer else {
            return true;
        };
        let key = self.plan.private_key.public();
        let line = format!("wg set {} peer {key} endpoint {endpoint}", daemon.interface);
        let told = self.other.attempt(&line).is_ok();
        if !told {
            self.other_plan.peers[0].endpoint = Some(endpoint.to_owned());
            self.restart_theirs();
        }
        told
    }

    /// Our gateway.
    pub(super) fn weapon(&self) -> &Weapon {
        self.weapon.as_ref().expect("a running gateway")
    }

    /// What our gateway says of the other.
    pub(super) fn peer(&self) -> Value {
        self.weapon().peer("other")
    }

    /// One ping from that end which is to begin, then from both over both families.
    pub(super) fn ping_all(&self) {
        let ours = [(&self.one, "10.99.0.2"), (&self.one, "fd99::2")];
        let theirs = [(&self.other, "10.99.0.1"), (&self.other, "fd99::1")];
        let pairs = if self.setup.they_begin {
            theirs.into_iter().chain(ours)
        } else {
            ours.into_iter().chain(theirs)
        };
        for (host, remote) in pairs {
            host.ping(remote);
        }
    }

    /// One ping that has to be answered.
    pub(super) fn ping_once(&self, theirs: bool) {
        let (host, remote): (&Host, IpAddr) = if theirs {
            (&self.other, [10, 99, 0, 1].into())
        } else {
            (&self.one, [10, 99, 0, 2].into())
        };
        let answer = host.ping_once(remote, Duration::from_secs(5));
        assert!(answer.is_ok(), "{}: {answer:?}", host.name);
    }

    /// Whose handshake the session came from must be as the setup wants it.
    pub(super) fn expect_roles(&self) {
        let we_began = until("a session", PATIENCE, || {
            self.peer()["session"]["initiator"].as_bool()
        });
        assert_eq!(we_began, !self.setup.they_begin, "who began the session");
    }

    /// Waits until our gateway believes the other to be at `endpoint`.
    pub(super) fn expect_endpoint(&self, endpoint: &str) {
        until(&format!("the peer is at {endpoint}"), PATIENCE, || {
            (self.peer()["endpoint"] == endpoint).then_some(())
        });
    }
}

fn plans(setup: Setup, change: impl FnOnce(&mut Plan, &mut Plan)) -> (Plan, Plan) {
    let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
    let key = setup.with_preshared_key.then(preshared_key);
    introduce(
        (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
        (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
        key.as_ref(),
    );
    let place = |host: u8| match setup.over_ipv6 {
        false => format!("192.0.2.{host}:51820"),
        true => format!("[2001:db8::{host}]:51820"),
    };
    if setup.they_begin {
        other_plan.peers[0].endpoint = Some(place(1));
    } else {
        plan.peers[0].endpoint = Some(place(2));
    }
    plan.peers[0].keepalive = setup.our_keepalive;
    other_plan.peers[0].keepalive = setup.their_keepalive;
    change(&mut plan, &mut other_plan);
    (plan, other_plan)
}
