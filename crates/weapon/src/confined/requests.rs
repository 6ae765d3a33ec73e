//! The helper answers what the gateway asks, and believes nothing of it.

use std::{
    os::fd::AsFd,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;
use weapon_core::TimestampStore;
use weapon_engine::Event;
use weapon_io::udp::{Sockets, Udp, UdpError};
use weapon_noise::Tai64n;

use super::{
    link::{Link, LinkError},
    message::{Layout, REQUEST_BOUNDS, Reply, Request},
};
use crate::flows::ToldFlows;

/// How far a mark may be ahead of all clocks that were seen: it is some minutes at most, unless
/// somebody wants to lock the gateway out of its peers for years.
const AHEAD_SECONDS_MAX: u64 = 3600;

/// Hears what the engine tells.
pub type Tell = Box<dyn Fn(Event) + Send>;

/// What the helper has for the gateway.
pub struct Parts {
    /// Opens sockets as the configuration says.
    pub open: Box<dyn FnMut() -> Result<Sockets<Udp>, UdpError> + Send>,
    /// Keeps the timestamp's high-water mark.
    pub store: Box<dyn TimestampStore + Send>,
    /// Hears what the engine tells.
    pub tell: Tell,
    /// Hears what happened to flows.
    pub tell_flows: Box<dyn Fn(ToldFlows) + Send>,
}

/// What the gateway's process has told and was not looked at yet.
const EVENTS_MAX: usize = 1024;

/// Passes on what the engine tells to the other end. Of a gateway that tells more than anybody
/// wants to hear, what there is no room for is dropped; but not that it ends.
pub fn teller() -> (Tell, mpsc::Receiver<Event>) {
    let (to, heard) = mpsc::channel(EVENTS_MAX);
    (to_all(to), heard)
}

fn to_all(to: mpsc::Sender<Event>) -> Tell {
    // Both fail when nobody listens any more, because we stop.
    Box::new(move |event| match event {
        Event::Unanswered { .. } | Event::Happened(_) => drop(to.try_send(event)),
        Event::DeviceGone | Event::Failed(_) => drop(to.blocking_send(event)),
    })
}

/// Answers until the link ends; says why it did.
pub fn serve(link: &Link, parts: &mut Parts, mark: Option<Tai64n>) -> LinkError {
    let mut marks = Marks::after(mark);
    loop {
        let reply = match link.receive::<Request>(REQUEST_BOUNDS) {
            Ok((request, _)) => answer(request, parts, &mut marks),
            Err(LinkError::Malformed(what)) => refused(&format!("malformed: {what}")),
            Err(error) => return error,
        };
        let sent = match reply {
            Answered::Said(reply) => link.send(&reply, &[]),
            Answered::Opened(sockets) => send(link, sockets),
        };
        if let Err(error) = sent {
            return error.into();
        }
    }
}

enum Answered {
    Said(Reply),
    Opened(Sockets<Udp>),
}

fn answer(request: Request, parts: &mut Parts, marks: &mut Marks) -> Answered {
    match request {
        Request::Persist(mark) => match marks.check(mark, seconds_now()) {
            Err(why) => refused(why),
            Ok(()) if parts.store.persist(mark) => {
                marks.last = Some(mark);
                Answered::Said(Reply::Done)
            }
            // The store has said why.
            Ok(()) => Answered::Said(Reply::Refused("the mark could not be written".into())),
        },
        Request::OpenSockets => match (parts.open)() {
            Ok(sockets) => Answered::Opened(sockets),
            // Not the gateway's fault, which tries again or says so.
            Err(error) => Answered::Said(Reply::Refused(whole(&error))),
        },
        Request::Tell(event) => {
            (parts.tell)(event);
            Answered::Said(Reply::Done)
        }
        Request::TellFlows(flows) => {
            (parts.tell_flows)(flows);
            Answered::Said(Reply::Done)
        }
    }
}

fn refused(why: &str) -> Answered {
    tracing::error!(
        why,
        "the gateway's process asks for what it may not have; refused"
    );
    Answered::Said(Reply::Refused(why.to_owned()))
}

fn send(link: &Link, sockets: Sockets<Udp>) -> std::io::Result<()> {
    let (facts, files) = sockets.into_parts();
    let (layout, files) = Layout::of(files);
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    match facts {
        Some(facts) => link.send(&Reply::Opened(facts, layout), &files),
        None => link.send(&Reply::Refused("there are no sockets".into()), &[]),
    }
}

fn whole(error: &UdpError) -> String {
    let source = std::error::Error::source(error);
    match source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn seconds_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Which marks may be kept.
struct Marks {
    last: Option<Tai64n>,
    /// The greatest clock that was seen, in seconds since 1970.
    greatest: u64,
    started: Instant,
}

impl Marks {
    fn after(mark: Option<Tai64n>) -> Self {
        Self {
            last: mark,
            greatest: mark.map_or(0, |mark| mark.unix_seconds()),
            started: Instant::now(),
        }
    }

    /// Marks grow, and not faster than clocks. A clock that has gone back meanwhile was seen.
    fn check(&mut self, mark: Tai64n, now: u64) -> Result<(), &'static str> {
        self.greatest = self.greatest.max(now);
        let latest = self
            .greatest
            .saturating_add(self.started.elapsed().as_secs());
        if self.last.is_some_and(|last| mark <= last) {
            return Err("a timestamp that is not newer than the last");
        }
        if mark.unix_seconds() > latest.saturating_add(AHEAD_SECONDS_MAX) {
            return Err("a timestamp of the far future");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc as std_mpsc},
        thread,
    };

    use weapon_io::udp::UdpConfig;

    use super::*;
    use crate::confined::message::COMMAND_BOUNDS;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Tai64n>>>);

    impl TimestampStore for Kept {
        fn persist(&mut self, mark: Tai64n) -> bool {
            self.0.lock().unwrap().push(mark);
            true
        }
    }

    fn at(seconds: u64) -> Tai64n {
        Tai64n::from_unix(seconds, 0)
    }

    /// The gateway's end, what was kept, what was told.
    fn helper(mark: Option<Tai64n>) -> (Link, Kept, std_mpsc::Receiver<Event>) {
        let (gateway, link) = Link::pair().unwrap();
        let (tell, told) = std_mpsc::channel();
        let kept = Kept::default();
        let mut parts = Parts {
            open: Box::new(|| Udp::bind_lanes(&UdpConfig::default(), 1)),
            store: Box::new(kept.clone()),
            tell: Box::new(move |event| tell.send(event).unwrap()),
            tell_flows: Box::new(drop),
        };
        thread::spawn(move || serve(&link, &mut parts, mark));
        (gateway, kept, told)
    }

    fn ask(gateway: &Link, request: &impl serde::Serialize) -> (Reply, usize) {
        gateway.send(request, &[]).unwrap();
        let (reply, files) = gateway.receive::<Reply>(COMMAND_BOUNDS).unwrap();
        (reply, files.len())
    }

    #[test]
    fn what_the_gateway_may_ask_for_it_gets() {
        let (gateway, kept, told) = helper(None);
        let mark = at(seconds_now() + 600);
        let (reply, _) = ask(&gateway, &Request::Persist(mark));
        assert!(matches!(reply, Reply::Done), "{reply:?}");
        assert_eq!(*kept.0.lock().unwrap(), [mark]);
        let (reply, files) = ask(&gateway, &Request::OpenSockets);
        assert!(matches!(reply, Reply::Opened(..)), "{reply:?}");
        assert!(files >= 1);
        ask(&gateway, &Request::Tell(Event::DeviceGone));
        assert_eq!(told.recv().unwrap(), Event::DeviceGone);
    }

    #[test]
    fn what_it_may_not_have_is_refused_and_it_is_heard_again() {
        let now = seconds_now();
        let (gateway, kept, _told) = helper(Some(at(now)));
        for mark in [
            at(now),
            at(5),
            at(now + 10 * AHEAD_SECONDS_MAX),
            at(u64::MAX),
        ] {
            let (reply, _) = ask(&gateway, &Request::Persist(mark));
            assert!(matches!(reply, Reply::Refused(_)), "{mark:?}: {reply:?}");
        }
        for nonsense in [
            serde_json::json!("AddRoute"),
            serde_json::json!({"Persist": "yesterday"}),
            serde_json::json!({"OpenSockets": {"port": 22}}),
            serde_json::json!([1, 2, 3]),
        ] {
            let (reply, files) = ask(&gateway, &nonsense);
            assert!(matches!(reply, Reply::Refused(_)), "{nonsense}: {reply:?}");
            assert_eq!(files, 0);
        }
        assert!(kept.0.lock().unwrap().is_empty());
        let (reply, _) = ask(&gateway, &Request::Persist(at(now + 1)));
        assert!(matches!(reply, Reply::Done), "{reply:?}");
    }

    #[test]
    fn a_message_without_end_ends_the_link() {
        let (gateway, link) = Link::pair().unwrap();
        let mut parts = Parts {
            open: Box::new(|| Udp::bind_lanes(&UdpConfig::default(), 1)),
            store: Box::new(Kept::default()),
            tell: Box::new(drop),
            tell_flows: Box::new(drop),
        };
        gateway
            .send(&"x".repeat(REQUEST_BOUNDS.bytes), &[])
            .unwrap();
        let end = serve(&link, &mut parts, None);
        assert!(matches!(end, LinkError::Broken(_)), "{end:?}");
    }

    #[test]
    fn that_it_ends_is_heard_however_much_it_has_told() {
        let (sender, mut heard) = mpsc::channel(2);
        let told = thread::spawn(move || {
            let tell = to_all(sender);
            for _ in 0..10 {
                tell(Event::Unanswered {
                    peer: "site-b".into(),
                    next: None,
                });
            }
            tell(Event::DeviceGone);
        });
        let mut last = None;
        while let Some(event) = heard.blocking_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(Event::DeviceGone));
        told.join().unwrap();
    }

    #[test]
    fn a_clock_that_went_back_locks_nobody_out() {
        let mut marks = Marks::after(Some(at(2_000_000_000)));
        marks.last = Some(at(2_000_000_000));
        assert_eq!(marks.check(at(2_000_000_600), 0), Ok(()));
        assert!(marks.check(at(2_000_009_999), 0).is_err());
    }
}
