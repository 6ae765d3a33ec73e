//! The control loop: owns the gateway, wakes for mail, commands and deadlines, for nothing else.

use std::{
    io,
    sync::{Arc, mpsc},
};

use weapon_core::{Env, Gateway, TimestampStore, Underlay};
use weapon_io::{
    poll::{Epoll, Events, Interest, TimerFd},
    tun::Device,
    udp::{Sender, Socket},
};

use crate::{
    doors::Doors,
    engine::{Command, Event, Rebind, Shared},
    mailbox::Mail,
    pulse::Pulse,
    socket_cell::SocketHold,
    status::ControlStatus,
    surroundings::{KernelEntropy, now, tick},
    ways::{NoUnderlay, ToOverlay, ToUnderlay, flush},
};

const KNOCK: u64 = 0;
const DEADLINE: u64 = 1;

/// Events that are taken at once: knock, deadline, and of the doors what then has room. The kernel
/// takes turns with those that have to wait.
const EVENTS: usize = 34;

/// How long until a port that could not be opened is tried again, and how often without a word.
const RETRY_MS: u32 = 10;
const TRIES_UNSAID: u32 = 50;

/// What the control loop owns.
pub(crate) struct Control<D, S> {
    pub(crate) gateway: Gateway,
    pub(crate) shared: Arc<Shared<D, S>>,
    pub(crate) doors: Doors<D, S>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) rebind: Rebind<S>,
    pub(crate) store: Box<dyn TimestampStore + Send>,
    pub(crate) socket: SocketHold<S>,
    pub(crate) sender: Sender,
    /// Whether the interface is up when the loop begins.
    pub(crate) starts_up: bool,
    /// The interface is up, and this often the port could not be opened. None: it is open, or not
    /// wanted.
    pub(crate) tries: Option<u32>,
    pub(crate) on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

impl<D: Device, S: Socket> Control<D, S> {
    /// Runs until told to stop.
    pub(crate) fn run(mut self, epoll: &Epoll, timer: &TimerFd) -> io::Result<()> {
        let mailbox = Arc::clone(&self.shared.mailbox);
        epoll.add(mailbox.knock(), KNOCK, Interest::Readable)?;
        epoll.add(timer, DEADLINE, Interest::Readable)?;
        let mut events = Events::with_capacity(EVENTS);
        let mut mail = Mail::default();
        if self.starts_up {
            self.with_env(|gateway, env| gateway.up(env));
        } else {
            self.down();
        }
        loop {
            // They were opened or closed by what came last.
            self.doors.refresh()?;
            let deadline = self.gateway.poll_timeout();
            if let Some((at, reason)) = deadline {
                tracing::trace!(at = at.as_nanos(), reason, "next deadline");
            }
            timer.arm(deadline.map(|(at, _)| at.as_nanos()))?;
            epoll.wait(&mut events, self.tries.map(|_| RETRY_MS))?;
            if self.tries.is_some() {
                self.up();
            }
            timer.drain();
            // Before the mail is taken, for this is where it goes.
            self.doors.receive(&events, tick())?;
            mailbox.knock().drain();
            self.shared.pulse.answer(Pulse::CONTROL);
            mailbox.take(&mut mail);
            self.with_env(|gateway, env| {
                deliver(gateway, &mut mail, env);
                gateway.handle_timeout(env);
            });
            for (peer, next) in self.gateway.take_unanswered() {
                (self.on_event)(Event::Unanswered { peer, next });
            }
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => {
                        self.with_env(|gateway, env| gateway.down(env));
                        return Ok(());
                    }
                    Ok(command) => self.command(command),
                    Err(mpsc::TryRecvError::Empty) => break,
                }
            }
            for happening in self.gateway.take_happenings() {
                (self.on_event)(Event::Happened(happening));
            }
        }
    }

    /// Calls the gateway with the time and the ways out, and sends what came of it.
    fn with_env(&mut self, call: impl FnOnce(&mut Gateway, &mut Env<'_>)) {
        self.socket.refresh();
        let held = self.socket.held();
        let socket = held.get();
        let (mut open, mut closed);
        let underlay: &mut dyn Underlay = if let Some(socket) = socket {
            open = ToUnderlay::new(&mut self.sender, socket);
            &mut open
        } else {
            closed = NoUnderlay::default();
            &mut closed
        };
        let mut overlay = ToOverlay::new(&*self.shared.device, &self.shared.steering);
        let mut env = Env {
            now: now(),
            underlay,
            overlay: &mut overlay,
            entropy: &mut KernelEntropy,
            store: &mut *self.store,
        };
        call(&mut self.gateway, &mut env);
        if let Some(socket) = socket {
            let fib = self.shared.fib.load();
            self.shared
                .totals
                .note_sent(flush(&mut self.sender, socket, &fib));
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Stop => {}
            Command::Status(reply) => {
                let status = ControlStatus {
                    gateway: self.gateway.status(now().tick),
                    tun_offloads: self.shared.device.offloads(),
                    udp_gso: self.socket.socket().is_some_and(S::gso),
                };
                // Whoever asked may have gone.
                let _ = reply.send(status);
            }
            Command::SetAddresses { peer, addresses } => {
                self.with_env(|gateway, env| {
                    if let Some(id) = gateway.peer_by_name(&peer) {
                        gateway.set_addresses(id, addresses, env);
                    }
                });
            }
            Command::ClearSource(peer) => {
                if let Some(id) = self.gateway.peer_by_key(&peer) {
                    self.gateway.leave_source(id, now().tick);
                }
            }
            Command::SetMtus(mtus) => self.gateway.set_mtus(mtus),
            Command::SetUp(up) if up == self.gateway.is_up() => self.tries = None,
            Command::SetUp(true) => {
                self.tries = Some(0);
                self.up();
            }
            Command::SetUp(false) => self.down(),
            Command::Change(change) => self.with_env(|gateway, env| gateway.change(*change, env)),
            Command::Examine((hypothesis, from), reply) => {
                let now = now().tick;
                let seen = self.gateway.examine(&hypothesis, from.as_deref(), now);
                // Whoever asked may have gone.
                let _ = reply.send(seen);
            }
            Command::Dump(reply) => drop(reply.send(self.gateway.dump(now().tick))),
            Command::SetMark(mark, reply) => drop(reply.send(self.set_mark(mark))),
            Command::Rebind(reply) => drop(reply.send(self.rebind())),
            Command::Files(reply) => drop(reply.send(self.shared.files())),
        }
    }

    fn set_mark(&self, mark: u32) -> io::Result<()> {
        for socket in self.shared.socket.all().iter().flat_map(|all| all.iter()) {
            socket.set_mark(mark)?;
        }
        self.gateway.clear_sources();
        Ok(())
    }

    /// The new sockets are open before the old ones close, so nothing is lost if they can't be.
    fn rebind(&mut self) -> io::Result<()> {
        if !self.gateway.is_up() || self.tries.is_some() {
            return Ok(());
        }
        let sockets = (self.rebind)()?;
        self.shared.socket.set(Some(sockets));
        self.shared.wake_lanes();
        self.gateway.clear_sources();
        Ok(())
    }

    /// The interface is up again: opens the port and greets those who are to be kept alive (P99).
    /// Just after it was closed the port may still be taken, until each lane has let go of it.
    fn up(&mut self) {
        match (self.rebind)() {
            Ok(sockets) => {
                self.shared.socket.set(Some(sockets));
                self.shared.wake_lanes();
                self.tries = None;
                // Learned by sockets that had another port, perhaps, and another mark (P80).
                self.gateway.clear_sources();
                self.with_env(|gateway, env| gateway.up(env));
                tracing::info!("interface is up");
            }
            Err(error) => {
                let tries = self.tries.get_or_insert(0);
                *tries = tries.saturating_add(1);
                if *tries == TRIES_UNSAID {
                    tracing::error!(%error, "interface is up, but the port can't be opened");
                }
            }
        }
    }

    /// The interface is down: erases the sessions and closes the port (P11, P99).
    fn down(&mut self) {
        self.tries = None;
        self.with_env(|gateway, env| gateway.down(env));
        self.shared.socket.set(None);
        self.socket.refresh();
        self.shared.wake_lanes();
        tracing::info!("interface is down");
    }
}

fn deliver(gateway: &mut Gateway, mail: &mut Mail, env: &mut Env<'_>) {
    gateway.note_handshakes(mail.handshakes.iter(), env);
    for message in mail.handshakes.drain(..) {
        gateway.handle_handshake(&message, env);
    }
    for peer in mail.attention.drain(..) {
        gateway.attend(peer, env);
    }
    for (peer, read) in mail.parked.drain(..) {
        gateway.park(peer, read, env);
    }
    for packet in mail.unreachable.drain(..) {
        gateway.return_unreachable(&packet, env);
    }
}
