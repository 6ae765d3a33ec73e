//! The engine: a gateway with its threads.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use serde::{Deserialize, Serialize};
use weapon_core::{
    Counters, Examination, Gateway, GatewayChange, GatewayDump, Hypothesis, Mtus, SharedFib,
    TimestampStore, flows::EventQueue,
};
use weapon_io::{
    poll::{Epoll, EventFd, TimerFd},
    tun::Device,
    udp::{Family, Files, Sender, Socket, Sockets},
};
use weapon_noise::PublicKey;

use crate::{
    abort_on_panic::AbortOnPanic,
    capture::Taps,
    control::Control,
    doors::Doors,
    lane::Lane,
    lane_inbound::LaneInbound,
    lane_outbound::LaneOutbound,
    mailbox::Mailbox,
    pulse::Pulse,
    socket_cell::{SocketCell, SocketHold},
    status::{ControlStatus, Totals},
    steering::Steering,
};

/// Opens the underlay sockets again after the interface was down.
pub(crate) type Rebind<S> = Box<dyn FnMut() -> io::Result<Sockets<S>> + Send>;

/// What an engine needs beside gateway, device and sockets.
pub struct EngineConfig<S> {
    /// Whether the interface is up. If not, the sockets are closed, and opened again when it is.
    pub up: bool,
    /// Opens the sockets again after the interface was down, as many as there are lanes.
    pub rebind: Box<dyn FnMut() -> io::Result<Sockets<S>> + Send>,
    /// Keeps the timestamp's high-water mark.
    pub store: Box<dyn TimestampStore + Send>,
    /// Called, from any thread, when the engine can't go on.
    pub on_event: Box<dyn Fn(Event) + Send + Sync>,
}

/// What an engine tells by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A peer, of which a name service says where it is, does not answer.
    Unanswered {
        /// Its name.
        peer: Box<str>,
        /// The address that is tried next, if it is another.
        next: Option<SocketAddr>,
    },
    /// Something happened to a peer; of a gateway that notes happenings.
    Happened(weapon_core::Happening),
    /// It can't go on: the interface was deleted.
    DeviceGone,
    /// It can't go on: a loop failed.
    Failed(String),
}

/// The engine has stopped and answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// A packet that somebody asks about, and the name of the peer that it comes from.
type Question = (Hypothesis, Option<Box<str>>);

/// What goes to the control loop.
pub(crate) enum Command {
    Stop,
    Status(mpsc::SyncSender<ControlStatus>),
    SetAddresses {
        peer: String,
        addresses: Vec<SocketAddr>,
    },
    ClearSource(PublicKey),
    SetMtus(Mtus),
    SetUp(bool),
    Change(Box<GatewayChange>),
    Examine(Question, mpsc::SyncSender<Option<Examination>>),
    Dump(mpsc::SyncSender<GatewayDump>),
    SetMark(u32, mpsc::SyncSender<io::Result<()>>),
    Rebind(mpsc::SyncSender<io::Result<()>>),
    Files(mpsc::SyncSender<io::Result<Sockets<Files>>>),
}

/// What the threads share.
pub(crate) struct Shared<D, S> {
    pub(crate) device: Arc<D>,
    pub(crate) socket: Arc<SocketCell<S>>,
    pub(crate) fib: SharedFib,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) taps: Arc<Taps>,
    pub(crate) steering: Arc<Steering>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) pulse: Arc<Pulse>,
    wakes: Vec<Arc<EventFd>>,
}

impl<D, S> Shared<D, S> {
    pub(crate) fn wake_lanes(&self) {
        for wake in &self.wakes {
            wake.wake();
        }
    }

    /// The files of the sockets of the moment, each once more; none while the port is closed.
    pub(crate) fn files(&self) -> io::Result<Sockets<Files>>
    where
        S: Socket,
    {
        let sockets = self.socket.all();
        let files = sockets.iter().flat_map(|all| all.iter()).map(|socket| {
            let of = |family| Some((family, socket.fd(family)?.try_clone_to_owned()));
            let files = Family::ALL.into_iter().filter_map(of);
            files.map(|(family, file)| Ok((family, file?))).collect()
        });
        let mut lanes = files.collect::<io::Result<Vec<Files>>>()?;
        let doors = lanes.split_off(self.wakes.len().min(lanes.len()));
        Ok(Sockets { lanes, doors })
    }
}

/// A running gateway. Dropping it stops it.
pub struct Engine {
    commands: mpsc::Sender<Command>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) taps: Arc<Taps>,
    pub(crate) wakes: Vec<Arc<EventFd>>,
    stopping: Arc<AtomicBool>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) fib: SharedFib,
    pub(crate) flow_events: Arc<EventQueue>,
    pulse: Arc<Pulse>,
    /// The control loop's, then those of the lanes.
    pub(crate) counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts the threads: the control loop, and a lane for each socket of a lane, which share the
    /// queues of the device evenly.
    ///
    /// # Errors
    /// If there are no lanes, or fewer queues, or the kernel has no files or threads left;
    /// nothing runs then.
    pub fn start<D, S>(
        gateway: Gateway,
        device: D,
        sockets: impl Into<Sockets<S>>,
        config: EngineConfig<S>,
    ) -> io::Result<Self>
    where
        D: Device + 'static,
        S: Socket + 'static,
    {
        let sockets = sockets.into();
        let lanes = sockets.lanes.len();
        if lanes == 0 || device.queues() < lanes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let wakes = (0..lanes).map(|_| EventFd::new().map(Arc::new));
        let wakes: Vec<_> = wakes.collect::<io::Result<_>>()?;
        let shared = Arc::new(Shared {
            steering: Arc::new(Steering::new(device.queues())),
            device: Arc::new(device),
            socket: Arc::new(SocketCell::new(sockets)),
            fib: Arc::clone(gateway.fib()),
            mailbox: Arc::new(Mailbox::new()?),
            taps: Arc::new(Taps::new(1 + lanes)),
            totals: Arc::default(),
            pulse: Arc::new(Pulse::new(lanes)),
            wakes: wakes.clone(),
        });
        let (commands, receiver) = mpsc::channel();
        let mut counters = vec![Arc::clone(gateway.counters())];
        counters.resize_with(1 + lanes, Arc::default);
        let mut engine = Self {
            commands,
            mailbox: Arc::clone(&shared.mailbox),
            taps: Arc::clone(&shared.taps),
            wakes,
            stopping: Arc::default(),
            totals: Arc::clone(&shared.totals),
            fib: Arc::clone(&shared.fib),
            flow_events: Arc::clone(gateway.flow_events()),
            pulse: Arc::clone(&shared.pulse),
            counters,
            threads: Vec::with_capacity(1 + lanes),
        };
        engine.spawn(gateway, &shared, receiver, config)?;
        Ok(engine)
    }

    fn spawn<D, S>(
        &mut self,
        gateway: Gateway,
        shared: &Arc<Shared<D, S>>,
        commands: mpsc::Receiver<Command>,
        config: EngineConfig<S>,
    ) -> io::Result<()>
    where
        D: Device + 'static,
        S: Socket + 'static,
    {
        let EngineConfig {
            up,
            rebind,
            store,
            on_event,
        } = config;
        let on_event: Arc<dyn Fn(Event) + Send + Sync> = on_event.into();
        let (epoll, timer) = (Arc::new(Epoll::new()?), TimerFd::new()?);
        let doors = Doors {
            sockets: SocketHold::of_doors(Arc::clone(&shared.socket), self.wakes.len()),
            inbound: LaneInbound::new(shared, Arc::clone(gateway.counters()), 0),
            epoll: Arc::clone(&epoll),
        };
        let control = Control {
            gateway,
            shared: Arc::clone(shared),
            doors,
            commands,
            rebind,
            store,
            socket: SocketHold::of_lane(Arc::clone(&shared.socket), 0),
            sender: Sender::new(),
            starts_up: up,
            tries: None,
            on_event: Arc::clone(&on_event),
        };
        self.thread("control".to_owned(), &on_event, move || {
            control.run(&epoll, &timer)?;
            Ok(false)
        })?;
        for number in 0..self.wakes.len() {
            let (lane, epoll) = (self.lane(number, shared), Epoll::new()?);
            self.thread(format!("lane-{number}"), &on_event, move || {
                lane.run(&epoll)
            })?;
        }
        Ok(())
    }

    fn lane<D: Device, S: Socket>(&self, number: usize, shared: &Arc<Shared<D, S>>) -> Lane<D, S> {
        let (lanes, queues) = (self.wakes.len(), shared.device.queues());
        let counters = &self.counters[1 + number];
        Lane {
            device: Arc::clone(&shared.device),
            queues: number * queues / lanes..(number + 1) * queues / lanes,
            socket: SocketHold::of_lane(Arc::clone(&shared.socket), number),
            outbound: LaneOutbound::new(shared, Arc::clone(counters), 1 + number),
            inbound: LaneInbound::new(shared, Arc::clone(counters), 1 + number),
            wake: Arc::clone(&self.wakes[number]),
            pulse: Arc::clone(&self.pulse),
            number,
            stopping: Arc::clone(&self.stopping),
        }
    }

    /// Starts one thread. A loop that ends by a panic ends the process: a gateway that has lost one
    /// of its loops looks alive and is not.
    fn thread(
        &mut self,
        name: String,
        on_event: &Arc<dyn Fn(Event) + Send + Sync>,
        run: impl FnOnce() -> io::Result<bool> + Send + 'static,
    ) -> io::Result<()> {
        let on_event = Arc::clone(on_event);
        let builder = thread::Builder::new().name(name.clone());
        let thread = builder.spawn(move || {
            let guard = AbortOnPanic(name.clone());
            match run() {
                Ok(false) => {}
                Ok(true) => on_event(Event::DeviceGone),
                Err(error) => on_event(Event::Failed(format!("{name}: {error}"))),
            }
            std::mem::forget(guard);
        })?;
        self.threads.push(thread);
        Ok(())
    }

    fn command(&self, command: Command) {
        // A control loop that has ended has told so by its event.
        let _ = self.commands.send(command);
        self.mailbox.knock().wake();
    }

    /// A name service says that a peer has these addresses, the best first.
    pub fn set_addresses(&self, peer: &str, addresses: Vec<SocketAddr>) {
        self.command(Command::SetAddresses {
            peer: peer.into(),
            addresses,
        });
    }

    /// Another way leads to the peer now: which address it is answered from is chosen anew.
    pub fn clear_source(&self, peer: PublicKey) {
        self.command(Command::ClearSource(peer));
    }

    /// The MTU of the interface changed, or of a route through it.
    pub fn set_mtus(&self, mtus: Mtus) {
        self.command(Command::SetMtus(mtus));
    }

    /// The interface was set up or down.
    pub fn set_up(&self, up: bool) {
        self.command(Command::SetUp(up));
    }

    /// Changes our key and our peers, all at once.
    pub fn change(&self, change: GatewayChange) {
        self.command(Command::Change(Box::new(change)));
    }

    /// What would become of a packet that comes from the peer of this name, or from our side if
    /// none is named; see [`Gateway::examine`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn examine(
        &self,
        hypothesis: Hypothesis,
        from: Option<&str>,
    ) -> Result<Option<Examination>, Stopped> {
        let question = (hypothesis, from.map(Box::from));
        self.ask(|reply| Command::Examine(question, reply))
    }

    /// All of the configuration, with its secrets.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn dump(&self) -> Result<GatewayDump, Stopped> {
        self.ask(Command::Dump)
    }

    /// Marks all that is sent from now on. What marks choose may be another way to the peers, so
    /// which address each is answered from is chosen anew (P80, P94).
    ///
    /// # Errors
    /// What the kernel says, or that the engine has stopped.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.ask(|reply| Command::SetMark(mark, reply))
            .map_err(io::Error::other)?
    }

    /// Opens other sockets in place of those that are open, as [`EngineConfig::rebind`] says. While
    /// the interface is down nothing happens: they are opened when it is up.
    ///
    /// # Errors
    /// Why they can't be opened; the old ones go on then.
    pub fn rebind(&self) -> io::Result<()> {
        self.ask(Command::Rebind).map_err(io::Error::other)?
    }

    /// The files of the sockets, each once more, for somebody who keeps them when we are gone: what
    /// comes in then waits in them. None while the interface is down.
    ///
    /// # Errors
    /// No more files, or the engine has stopped.
    pub fn files(&self) -> io::Result<Sockets<Files>> {
        self.ask(Command::Files).map_err(io::Error::other)?
    }

    /// Asks every thread to show that it still goes round. It waits for none of them.
    pub fn ask_threads(&self) {
        self.pulse.ask();
        self.mailbox.knock().wake();
        for wake in &self.wakes {
            wake.wake();
        }
    }

    /// Whether every thread has gone round since [`Engine::ask_threads`] was called last.
    pub fn have_threads_answered(&self) -> bool {
        self.pulse.is_felt()
    }

    pub(crate) fn ask<A>(
        &self,
        command: impl FnOnce(mpsc::SyncSender<A>) -> Command,
    ) -> Result<A, Stopped> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.command(command(reply));
        answer.recv().map_err(|_| Stopped)
    }

    /// Stops all threads and waits for them: sessions are erased, device and socket are closed.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.command(Command::Stop);
        for wake in &self.wakes {
            wake.wake();
        }
        for thread in self.threads.drain(..) {
            // It ended by itself, or by the abort.
            let _ = thread.join();
        }
    }
}
