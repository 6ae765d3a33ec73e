//! `weapon-null`: the gateway of this workspace with an empty cipher. **It protects nothing.**
//!
//! It exists to be measured beside the real gateway, so that what the data path costs and what the
//! cipher costs can be told apart. Handshakes are real; data messages have the right lengths and
//! travel in the clear, with a tag of zeros that nobody checks. It talks to nothing but itself, is
//! no part of the program `weapon`, and is never shipped.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use weapon_core::{Gateway, GatewayConfig, PeerConfig, TimestampStore};
use weapon_engine::{Engine, EngineConfig, Event};
use weapon_io::netlink::Netlink;
use weapon_io::tun::{Offloads, Tun, TunConfig};
use weapon_io::udp::{Udp, UdpConfig};
use weapon_noise::{
    Cipher, LengthError, Opening, PrivateKey, PublicKey, Sealing, Tai64n, TransportKey,
};
use weapon_wire::SEGMENTS_MAX;

/// The gateway with an empty cipher: it protects nothing, and is here to be measured
#[derive(Debug, Parser)]
#[command(name = "weapon-null", version)]
struct Options {
    /// Name of the TUN device
    #[arg(long)]
    interface: String,
    /// Our own addresses in the tunnel
    #[arg(long = "address", required = true)]
    addresses: Vec<IpNet>,
    /// Bytes of the largest packet in the tunnel
    #[arg(long, default_value_t = 1420)]
    mtu: u32,
    /// UDP port
    #[arg(long)]
    listen: u16,
    /// File with our private key
    #[arg(long)]
    private_key_file: PathBuf,
    /// Public key of the only peer
    #[arg(long)]
    peer: PublicKey,
    /// Where the peer is
    #[arg(long)]
    endpoint: SocketAddr,
    /// What lies behind the peer; the addresses' own prefixes lead there, no route is written
    #[arg(long = "network", required = true)]
    networks: Vec<IpNet>,
}

fn main() -> ExitCode {
    let run = || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve(Options::parse()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "weapon-null: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until SIGTERM or SIGINT; device, addresses and routes end with the process.
async fn serve(options: Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (event, mut events) = mpsc::unbounded_channel();
    let engine = start(options, move |what| drop(event.send(what))).await?;
    let ended = loop {
        let event = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            event = events.recv() => event,
        };
        if !matches!(event, Some(Event::Unanswered { .. } | Event::Happened(_))) {
            break event;
        }
    };
    engine.stop();
    match ended {
        None | Some(Event::DeviceGone | Event::Unanswered { .. } | Event::Happened(_)) => Ok(()),
        Some(Event::Failed(reason)) => bail!("{reason}"),
    }
}

/// What `lanes = "auto"` is on a machine with two or three processors.
const LANES: usize = 1;

/// Everything is made and set as the program `weapon` does it.
async fn start(
    options: Options,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Engine> {
    let private_key = private_key(&options.private_key_file)?;
    let udp_config = UdpConfig {
        port: options.listen,
        ..UdpConfig::default()
    };
    let sockets = Udp::bind_lanes(&udp_config, LANES)?;
    let tun = interface(&options, &Netlink::connect()?).await?;
    let mut gateway = Gateway::new(GatewayConfig {
        private_key,
        mtu: options.mtu as usize,
        addresses: options.addresses.iter().map(IpNet::addr).collect(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: &NullCipher,
    });
    gateway.add_peers([PeerConfig {
        name: "other".to_owned(),
        public_key: options.peer,
        preshared_key: None,
        endpoint: Some(options.endpoint),
        endpoint_pinned: false,
        networks: options.networks,
        persistent_keepalive: None,
    }]);
    let config = EngineConfig {
        up: true,
        rebind: Box::new(move || Udp::bind_lanes(&udp_config, LANES).map_err(io::Error::other)),
        store: Box::new(NoStore),
        on_event: Box::new(on_event),
    };
    Ok(Engine::start(gateway, tun, sockets, config)?)
}

async fn interface(options: &Options, netlink: &Netlink) -> Result<Tun> {
    let tun = Tun::open(&TunConfig {
        name: options.interface.clone(),
        mtu: options.mtu,
        offloads: Offloads {
            tcp: true,
            udp: true,
        },
        queues: LANES,
    })?;
    let index = tun.ifindex();
    netlink.set_segments_max(index, SEGMENTS_MAX as u32).await?;
    // Refused where there is no IPv6, and then there is nothing to switch off.
    let _refused = netlink.no_link_local(index).await;
    for &address in &options.addresses {
        netlink.add_address(index, address).await?;
    }
    netlink.set_up(index).await?;
    Ok(tun)
}

fn private_key(file: &Path) -> Result<PrivateKey> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.trim().parse()?)
}

/// Keeps nothing: each run has new keys, so no peer has ever seen a timestamp of ours.
struct NoStore;

impl TimestampStore for NoStore {
    fn persist(&mut self, _mark: Tai64n) -> bool {
        true
    }
}

/// Copies and never encrypts.
#[derive(Debug)]
struct NullCipher;

impl Cipher for NullCipher {
    fn key(&self, _secret: &[u8; 32]) -> Box<dyn TransportKey> {
        Box::new(NullKey)
    }
}

/// Looks at lengths, as the trait demands, and at nothing else.
#[derive(Debug)]
struct NullKey;

impl TransportKey for NullKey {
    fn seal_many(&self, packets: &mut [Sealing<'_>]) -> Result<(), LengthError> {
        for (index, packet) in packets.iter_mut().enumerate() {
            let (_, tag) = packet.lay_out().ok_or(LengthError { index })?;
            tag.fill(0);
        }
        Ok(())
    }

    fn open_many(&self, packets: &mut [Opening<'_>]) {
        packets.iter_mut().for_each(Opening::accept);
    }
}

#[cfg(test)]
mod tests {
    use weapon_wire::message::TAG_LEN;

    use super::*;

    #[test]
    fn what_is_sealed_is_the_plaintext_the_padding_and_a_tag_of_zeros() {
        let key = NullCipher.key(&[7; 32]);
        let mut apart = [0xff; 5 + 3 + TAG_LEN];
        let mut with_head = [7; 64 + 5 + TAG_LEN];
        key.seal_many(&mut [
            Sealing::apart(1, b"hello", &mut apart),
            Sealing::with_head(2, 64, b"again", &mut with_head),
        ])
        .unwrap();
        assert_eq!(&apart[..5], b"hello");
        assert_eq!(&apart[5..], [0; 3 + TAG_LEN]);
        assert_eq!(&with_head[..64], [7; 64]);
        assert_eq!(&with_head[64..69], b"again");
        assert_eq!(&with_head[69..], [0; TAG_LEN]);
    }

    #[test]
    fn opening_changes_nothing_and_wants_room_for_a_tag() {
        let (mut body, mut short) = ([3; TAG_LEN + 2], [0; TAG_LEN - 1]);
        let mut packets = [
            Opening::in_place(1, &mut body),
            Opening::in_place(2, &mut short),
        ];
        NullKey.open_many(&mut packets);
        assert!(packets[0].is_authentic() && !packets[1].is_authentic());
        assert_eq!(body, [3; TAG_LEN + 2]);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for (len, fits) in [(TAG_LEN, false), (4 + TAG_LEN, true), (6 + TAG_LEN, true)] {
            let mut out = vec![0; len];
            let mut packet = Sealing::apart(1, &[1; 4], &mut out);
            let sealed = NullKey.seal_many(std::slice::from_mut(&mut packet));
            assert_eq!(sealed.is_ok(), fits, "{len}");
        }
    }
}
