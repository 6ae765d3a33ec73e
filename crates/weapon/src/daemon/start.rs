//! The parts of a gateway, made from its configuration.

use anyhow::Context as _;
use tokio::{net::UnixListener, sync::mpsc};
use weapon_core::GatewayChange;
use weapon_engine::Event;
use weapon_io::udp::{Files, Sockets, Udp, UdpConfig, UdpError, UdpFacts};
use weapon_noise::{Backend, Detected, SlowerBecause, Tai64n};

use super::{End, recording};
use crate::{
    api::{self, Call},
    audit::Sender,
    config::{CipherBackend, Config},
    confined::{Begin, Parts, Tell, User, Wanted},
    difference,
    key_log::KeyFile,
    port::Port,
    privileges,
    report::{Cipher, Facts, GatewayPrivileges},
    resolver::{self, Unresolved},
    timestamp_file::TimestampFile,
    uapi::{self, UapiFile, UapiSocket},
};

/// Calls of the local API that wait.
const CALLS_MAX: usize = 16;

/// The sockets that packets of the underlay come by: those that were kept for us, if they fit.
pub(super) fn open_port(
    config: &Config,
    lanes: usize,
    kept: Sockets<Files>,
) -> anyhow::Result<(Port, Sockets<Udp>)> {
    let udp_config = UdpConfig {
        port: config.listen_port,
        fwmark: config.fwmark,
        gso: config.offload.gso,
        gro: config.offload.gro,
        ..UdpConfig::default()
    };
    let port = Port::new(udp_config, lanes);
    if !kept.lanes.is_empty() {
        match port.take_over(kept) {
            Ok(sockets) => {
                tracing::info!(port = port.number(), "the sockets were kept for us");
                return Ok((port, sockets));
            }
            Err(error) => tracing::info!(%error, "the sockets kept for us are not used"),
        }
    }
    let sockets = port.open().map_err(|error| {
        let at = match &error {
            UdpError::MarkPermission => &config.written.fwmark,
            _ => &config.written.listen,
        };
        let at = config.at(at);
        anyhow::Error::new(error).context(at)
    })?;
    Ok((port, sockets))
}

pub(super) fn engine_end(event: Option<Event>) -> End {
    match event {
        Some(Event::DeviceGone) => End::Deleted,
        Some(Event::Failed(reason)) => End::Failed(reason),
        Some(Event::Unanswered { .. } | Event::Happened(_)) | None => {
            End::Failed("the engine ended".into())
        }
    }
}

pub(super) fn serve(listener: UnixListener) -> mpsc::Receiver<Call> {
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    tokio::spawn(api::serve(listener, sender));
    calls
}

/// Serves `wg`, if it can be: the gateway does not need it.
pub(super) fn serve_wg(interface: &str) -> (Option<UapiFile>, mpsc::Receiver<uapi::Call>) {
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    match UapiSocket::open(interface) {
        Ok((socket, file)) => {
            tokio::spawn(uapi::serve(socket, sender));
            (Some(file), calls)
        }
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "`wg` will not see this gateway"
            );
            (None, calls)
        }
    }
}

/// What seals and opens, for the whole life of the process.
pub fn cipher(wanted: CipherBackend) -> (Backend, Cipher) {
    let report = |backend: Backend, reason| Cipher {
        backend: backend.name().to_owned(),
        reason,
    };
    if wanted == CipherBackend::Library {
        let reason = "the configuration says so".to_owned();
        return (Backend::library(), report(Backend::library(), Some(reason)));
    }
    let Detected { backend, reason } = Backend::detect();
    if reason == Some(SlowerBecause::SelfTestFailed) {
        // The tunnel works all the same. But this should never be, and is worth a report.
        let used = backend.name();
        tracing::error!(used, "the fast cipher FAILED its self-test and is not used");
    }
    let reason = reason.map(|reason| reason.to_string());
    (backend, report(backend, reason))
}

pub(super) fn facts(
    config: &Config,
    unresolved: &Unresolved,
    udp: Option<UdpFacts>,
    cipher: Cipher,
) -> Facts {
    let exported = config.danger_export_keys.as_ref();
    Facts {
        name: config.name.clone(),
        interface: config.interface.clone(),
        config: config.source.path.display().to_string(),
        exports_keys: exported.map(|path| path.display().to_string()),
        listen_port: udp.map_or(0, |udp| udp.port),
        fwmark: config.fwmark,
        cipher,
        privileges: privileges::now(),
        gateway_process: GatewayPrivileges::default(),
        networks: Vec::new(),
        udp_gro: udp.is_some_and(|udp| udp.gro),
        unresolved: resolver::written(unresolved).collect(),
    }
}

/// What the gateway of the configuration begins with.
pub(super) fn begin(
    config: &Config,
    mtu: u32,
    log: Option<&Sender>,
    timestamp_mark: Option<Tai64n>,
    danger_export_keys: Option<KeyFile>,
) -> anyhow::Result<Begin> {
    let addresses = config.addresses.iter();
    Ok(Begin {
        private_key: Some(config.private_key.clone()),
        mtu,
        addresses: addresses.map(|address| address.addr()).collect(),
        mappings: config.mappings(),
        policy: config.policy()?,
        services: config.services(),
        timestamp_mark,
        up: true,
        is_recorded: log.is_some(),
        flows: log.map(|log| recording::wanted_flows(config, log)),
        danger_export_keys,
        peers: GatewayChange {
            peers: config.peers.iter().map(difference::peer).collect(),
            ..GatewayChange::default()
        },
    })
}

/// What the gateway's process may ask of us.
pub(super) fn parts(port: &Port, store: TimestampFile, tell: Tell, log: Option<Sender>) -> Parts {
    let port = port.clone();
    Parts {
        open: Box::new(move || port.open()),
        store: Box::new(store),
        tell: recording::on_event(tell, log.clone()),
        tell_flows: recording::on_flows(log),
    }
}

/// What the gateway's process must be like.
///
/// # Errors
/// The user that the configuration names is not there.
pub(super) fn confinement(config: &Config) -> anyhow::Result<Wanted> {
    let user = User::find(config.user.as_deref());
    let user = user.with_context(|| config.at(&config.written.user))?;
    if let Some(user) = user.as_ref().filter(|user| user.is_shared()) {
        tracing::debug!(
            user = user.name,
            "there is no user `weapon`: the gateway's process shares this one with others"
        );
    }
    Ok(Wanted {
        name: config.name.clone(),
        user,
        sandbox: config.sandbox,
        cipher: config.cipher_backend,
    })
}
