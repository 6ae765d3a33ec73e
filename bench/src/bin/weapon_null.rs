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
use weapon_noise::{Cipher, CipherError, PrivateKey, PublicKey, Tai64n, TransportKey};
use weapon_wire::SEGMENTS_MAX;
use weapon_wire::message::TAG_LEN;

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
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        event = events.recv() => event,
    };
    engine.stop();
    match ended {
        None | Some(Event::DeviceGone) => Ok(()),
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
    fn seal(
        &self,
        _counter: u64,
        plaintext: &[u8],
        ciphertext: &mut [u8],
        padding: &[u8],
        tail: &mut [u8],
    ) -> Result<(), CipherError> {
        if ciphertext.len() != plaintext.len() || tail.len() != padding.len() + TAG_LEN {
            return Err(CipherError);
        }
        ciphertext.copy_from_slice(plaintext);
        let (end, tag) = tail.split_at_mut(padding.len());
        end.copy_from_slice(padding);
        tag.fill(0);
        Ok(())
    }

    fn open(&self, _counter: u64, body: &mut [u8]) -> Result<(), CipherError> {
        if body.len() < TAG_LEN {
            return Err(CipherError);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_the_plaintext_the_padding_and_a_tag_of_zeros() {
        let key = NullCipher.key(&[7; 32]);
        let (mut ciphertext, mut tail) = ([0xff; 5], [0xff; 3 + TAG_LEN]);
        key.seal(1, b"hello", &mut ciphertext, &[0, 0, 9], &mut tail)
            .unwrap();
        assert_eq!(&ciphertext, b"hello");
        assert_eq!(&tail[..3], [0, 0, 9]);
        assert_eq!(&tail[3..], [0; TAG_LEN]);
    }

    #[test]
    fn opening_changes_nothing_and_wants_room_for_a_tag() {
        let mut body = [3; TAG_LEN + 2];
        NullKey.open(1, &mut body).unwrap();
        assert_eq!(body, [3; TAG_LEN + 2]);
        assert!(NullKey.open(1, &mut [0; TAG_LEN - 1]).is_err());
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let seal = |ciphertext: &mut [u8], tail: &mut [u8]| {
            NullKey.seal(1, &[1; 4], ciphertext, &[0; 2], tail)
        };
        assert!(seal(&mut [0; 3], &mut [0; 2 + TAG_LEN]).is_err());
        assert!(seal(&mut [0; 4], &mut [0; TAG_LEN]).is_err());
        assert!(seal(&mut [0; 4], &mut [0; 2 + TAG_LEN]).is_ok());
    }
}
