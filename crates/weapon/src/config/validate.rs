//! From what the file says to a configuration that holds: the draft is checked as a whole and
//! every problem is reported.

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::IpNet;
use weapon_noise::{PresharedKey, PrivateKey, PublicKey, derive_psk, derive_site_keys};

use super::draft::{Draft, GatewayDraft, PeerDraft, SecretText, Spelling};
use super::model::{Config, ConfigSource, PeerConfig, Written};
use super::networks::{self, Networks};
use super::policy;
use super::problem::{Located, Place, Problems};
use super::written::written;
use super::{exported, keyfile, metrics, service, value};

/// The mark of the packets of a tunnel that is the way to everywhere, and the number of the routing
/// table that leads into it. wg-quick's choice.
const FULL_TUNNEL_MARK: u32 = 51_820;

/// Characters of its public key that name a peer in a file without peer names.
const KEY_NAME_LEN: usize = 8;

/// Checks `draft`. `None` if a problem is an error.
pub fn validate(draft: Draft, source: ConfigSource, problems: &mut Problems) -> Option<Config> {
    let Draft {
        gateway,
        peers: peer_drafts,
        groups,
        policy,
        spelling,
    } = draft;
    let name = gateway_name(&gateway, &source.path, spelling, problems);
    let interface = interface(&gateway, name.as_deref(), spelling, problems);
    let keys = keys(&gateway, name.as_deref(), spelling, problems);
    let networks = networks::check(&gateway, &peer_drafts, problems);
    let has_ipv6 = networks.has_ipv6();
    let mtu = number(&gateway.mtu, |mtu| value::mtu(mtu, has_ipv6), problems);
    let listen = number(&gateway.listen, value::port, problems);
    let fwmark = number(&gateway.fwmark, value::fwmark, problems);
    let (name_servers, search_domains) = Networks::dns(&gateway.dns, problems);
    let needs_mark = networks.check_full_tunnel(&gateway, problems);
    let lanes = number(&gateway.lanes, value::lanes, problems);
    let metrics = text(&gateway.metrics, metrics::metrics, problems);
    let danger_export_keys = exported::keys(&gateway, problems);
    let audit = gateway.audit.as_ref();
    let audit = audit.and_then(|audit| audit.check(name.as_deref(), &policy, problems));

    let routes = gateway.routes.unwrap_or(true);
    let known = KnownPeers::new(name.as_deref(), keys.as_ref());
    let of_peers = peer_drafts.iter().zip(networks.of_peers);
    let peers = peers(of_peers, known, (routes, spelling), problems);
    let groups = service::groups(&groups, &peers, &peer_drafts, problems);
    let (filter, rules) = policy::check(policy, &peers, peer_drafts.len(), problems).unzip();
    if problems.has_errors() {
        return None;
    }
    let (name, interface, keys) = (name?, interface?, keys?);
    let written = Written {
        behind: networks.our_places,
        rules: rules.unwrap_or_default(),
        ..written(&gateway, &networks.addresses, networks.places, spelling)
    };
    Some(Config {
        name,
        interface,
        private_key: keys.private,
        listen_port: listen.unwrap_or(0),
        fwmark: fwmark.unwrap_or(if needs_mark { FULL_TUNNEL_MARK } else { 0 }),
        mtu,
        lanes: lanes.flatten(),
        cipher_backend: gateway.cipher_backend.unwrap_or_default(),
        user: gateway.user.as_ref().map(|user| user.value.clone()),
        sandbox: gateway.sandbox.unwrap_or_default(),
        addresses: (networks.addresses.into_iter().map(|net| net.value)).collect(),
        behind: networks.ours,
        masquerade: gateway.masquerade.unwrap_or(false),
        name_servers,
        search_domains,
        lan_access: gateway.lan_access.unwrap_or(false),
        kill_switch: gateway.kill_switch.unwrap_or(false),
        firewall: gateway.firewall.unwrap_or(true),
        routes,
        metrics,
        danger_export_keys,
        offload: gateway.offload.complete(),
        audit,
        filter,
        groups,
        peers,
        source,
        written,
    })
}

/// The peers that are good, with their networks.
fn peers<'d>(
    drafts: impl Iterator<Item = (&'d PeerDraft, Vec<IpNet>)>,
    mut known: KnownPeers<'_>,
    (has_routes, spelling): (bool, &Spelling),
    problems: &mut Problems,
) -> Vec<PeerConfig> {
    let mut peers = Vec::new();
    for (draft, networks) in drafts {
        let peer = peer(draft, networks, &mut known, spelling, problems);
        if let Some(peer) = &peer
            && has_routes
        {
            networks::endpoint_outside(peer, draft, problems);
        }
        peers.extend(peer);
    }
    peers
}

/// The value if it is good; else its problem is noted.
fn good<T, V>(
    result: Result<T, String>,
    located: &Located<V>,
    problems: &mut Problems,
) -> Option<T> {
    result
        .map_err(|message| problems.error(&located.place, message))
        .ok()
}

/// As [`good`], of a number that is written.
fn number<T>(
    written: &Option<Located<i64>>,
    parse: impl Fn(i64) -> Result<T, String>,
    problems: &mut Problems,
) -> Option<T> {
    let written = written.as_ref()?;
    good(parse(written.value), written, problems)
}

/// As [`good`], of a text that is written.
fn text<T>(
    written: &Option<Located<String>>,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> Option<T> {
    let written = written.as_ref()?;
    good(parse(&written.value), written, problems)
}

/// The gateway's name: given, or the stem of the file's name.
fn gateway_name(
    gateway: &GatewayDraft,
    path: &Path,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<String> {
    if let Some(name) = &gateway.name {
        good(value::name(&name.value), name, problems)?;
        return Some(name.value.clone());
    }
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Err(message) = value::name(&stem) else {
        return Some(stem);
    };
    let remedy = if spelling.name.is_empty() {
        "rename the file"
    } else {
        "give a name here"
    };
    let place = Place {
        key: spelling.name.to_owned(),
        ..gateway.place.clone()
    };
    problems.error(&place, format!("the file's name {message}; {remedy}"));
    None
}

/// The TUN device's name: given, or the gateway's name, cut to what Linux takes.
fn interface(
    gateway: &GatewayDraft,
    name: Option<&str>,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<String> {
    if let Some(interface) = &gateway.interface {
        good(value::interface_name(&interface.value), interface, problems)?;
        return Some(interface.value.clone());
    }
    let name = name?;
    let max = value::INTERFACE_NAME_LEN_MAX;
    if name.len() <= max {
        return Some(name.to_owned());
    }
    let place = Place {
        key: spelling.interface.to_owned(),
        ..gateway.place.clone()
    };
    if !spelling.named_peers {
        // wg-quick refuses such a file, for its name is the interface's.
        let message = format!("the file's name `{name}` has more than {max} bytes; rename it");
        problems.error(&place, message);
        return None;
    }
    let cut = name.get(..max)?.to_owned();
    let message = format!(
        "`{name}` has more than the {max} bytes of an interface name, so the interface is \
         `{cut}`; set interface to choose another"
    );
    problems.warning(&place, message);
    Some(cut)
}

/// Our keys, and the secret that those of the peers come from.
struct Keys {
    private: PrivateKey,
    public: PublicKey,
    secret: Option<PresharedKey>,
}

fn keys(
    gateway: &GatewayDraft,
    name: Option<&str>,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<Keys> {
    let given: Vec<&Place> = [
        gateway.private_key_file.as_ref().map(|key| &key.place),
        gateway.private_key.as_ref().map(|key| &key.place),
        gateway.secret_file.as_ref().map(|key| &key.place),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let [first, second, ..] = given[..] {
        let message = format!("{} is given too; keep one of them", first.key);
        problems.error(second, message);
        return None;
    }
    if let Some(file) = &gateway.secret_file {
        return shared_secret(file, gateway, name, problems);
    }
    let private: PrivateKey = if let Some(file) = &gateway.private_key_file {
        keyfile::read(file, "weapon genkey", problems)?
    } else if let Some(key) = &gateway.private_key {
        good(value::key(&key.value.0, "weapon genkey"), key, problems)?
    } else {
        // A section that is missing altogether was reported when the file was read.
        if gateway.place.line > 0 {
            let place = Place {
                key: spelling.private_key.to_owned(),
                ..gateway.place.clone()
            };
            let choice = if spelling.named_peers {
                "private_key_file = \"NAME.key\" (a file from `weapon genkey`), or secret_file"
            } else {
                "PrivateKey = … (from `weapon genkey`)"
            };
            problems.error(&place, format!("the gateway has no key; give {choice}"));
        }
        return None;
    };
    Some(Keys {
        public: private.public(),
        private,
        secret: None,
    })
}

/// The keys that come from a secret shared by all gateways and our name.
fn shared_secret(
    file: &Located<String>,
    gateway: &GatewayDraft,
    name: Option<&str>,
    problems: &mut Problems,
) -> Option<Keys> {
    let secret: PresharedKey = keyfile::read(file, "weapon genpsk", problems)?;
    if secret.is_none() {
        problems.error(
            &file.place,
            "the secret is all zero; make one with `weapon genpsk`",
        );
        return None;
    }
    if gateway.name.is_none() {
        let place = Place {
            key: "gateway.name".to_owned(),
            ..gateway.place.clone()
        };
        problems.error(
            &place,
            "with secret_file our key comes from the secret and our name; write the name that \
             the peers know us by",
        );
        return None;
    }
    let private = derive_site_keys(secret.expose(), name?);
    Some(Keys {
        public: private.public(),
        private,
        secret: Some(secret),
    })
}

/// What the peers before this one, and we ourselves, have taken.
struct KnownPeers<'a> {
    our_name: Option<&'a str>,
    keys: Option<&'a Keys>,
    names: BTreeMap<String, usize>,
    public_keys: BTreeMap<PublicKey, usize>,
}

impl<'a> KnownPeers<'a> {
    fn new(our_name: Option<&'a str>, keys: Option<&'a Keys>) -> Self {
        Self {
            our_name,
            keys,
            names: BTreeMap::new(),
            public_keys: BTreeMap::new(),
        }
    }
}

fn peer(
    draft: &PeerDraft,
    networks: Vec<IpNet>,
    known: &mut KnownPeers<'_>,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<PeerConfig> {
    let name = if spelling.named_peers {
        peer_name(draft, known, spelling, problems)
    } else {
        None
    };
    let public_key = public_key(draft, name.as_deref(), known, spelling, problems);
    let preshared_key = preshared_key(draft, name.as_deref(), known, problems);
    let endpoint = text(&draft.endpoint, value::endpoint, problems);
    let keepalive = number(&draft.persistent_keepalive, value::keepalive, problems);
    if draft.endpoint_pin == Some(true) && draft.endpoint.is_none() {
        let place = Place {
            key: "peer.endpoint_pin".to_owned(),
            ..draft.place.clone()
        };
        problems.error(
            &place,
            "there is no endpoint to pin; give endpoint, or leave this out",
        );
    }
    let public_key = public_key?;
    let name = name.unwrap_or_else(|| public_key.to_string().chars().take(KEY_NAME_LEN).collect());
    Some(PeerConfig {
        name,
        public_key,
        preshared_key,
        endpoint,
        networks,
        persistent_keepalive: keepalive.flatten(),
        groups: policy::groups(&draft.groups, problems),
        service: service::service(&draft.service, problems),
        endpoint_pin: draft.endpoint_pin.unwrap_or(false),
    })
}

fn peer_name(
    draft: &PeerDraft,
    known: &mut KnownPeers<'_>,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<String> {
    let Some(name) = &draft.name else {
        let place = Place {
            key: spelling.peer_name.to_owned(),
            ..draft.place.clone()
        };
        problems.error(
            &place,
            "the peer has no name; give it one: name = \"site-b\"",
        );
        return None;
    };
    good(value::name(&name.value), name, problems)?;
    if known.our_name == Some(name.value.as_str()) {
        let message = format!(
            "`{}` is this gateway's own name; a peer has another",
            name.value
        );
        problems.error(&name.place, message);
        return None;
    }
    if let Some(line) = known.names.get(&name.value) {
        let message = format!(
            "`{}` is the name of the peer in line {line} already; a name belongs to one peer",
            name.value
        );
        problems.error(&name.place, message);
        return None;
    }
    known.names.insert(name.value.clone(), name.place.line);
    Some(name.value.clone())
}

/// The peer's public key: given, or derived from the shared secret and the peer's name.
fn public_key(
    draft: &PeerDraft,
    name: Option<&str>,
    known: &mut KnownPeers<'_>,
    spelling: &Spelling,
    problems: &mut Problems,
) -> Option<PublicKey> {
    let secret = known.keys.and_then(|keys| keys.secret.as_ref());
    let (key, place) = match (&draft.public_key, secret) {
        (Some(text), _) => (given_public_key(text, known.keys, problems)?, &text.place),
        (None, Some(secret)) => (
            derive_site_keys(secret.expose(), name?).public(),
            &draft.place,
        ),
        // Our own key was refused: whether the peer's is missing cannot be said.
        (None, None) if known.keys.is_none() => return None,
        (None, None) => {
            let place = Place {
                key: spelling.public_key.to_owned(),
                ..draft.place.clone()
            };
            problems.error(
                &place,
                "the peer has no public key; it is what `weapon pubkey` prints for the peer's key",
            );
            return None;
        }
    };
    if let Some(line) = known.public_keys.get(&key) {
        let message = format!("is the key of the peer in line {line} already; one key, one peer");
        problems.error(place, message);
        return None;
    }
    known.public_keys.insert(key, place.line);
    Some(key)
}

fn given_public_key(
    text: &Located<SecretText>,
    keys: Option<&Keys>,
    problems: &mut Problems,
) -> Option<PublicKey> {
    const RIGHT: &str = "the peer's is what `weapon pubkey` prints for the peer's key";
    let key: PublicKey = good(value::key(&text.value.0, "weapon pubkey"), text, problems)?;
    let Some(keys) = keys else { return Some(key) };
    if key == keys.public {
        problems.error(
            &text.place,
            format!("is this gateway's own public key; {RIGHT}"),
        );
        return None;
    }
    if key.as_bytes() == keys.private.expose() {
        problems.error(
            &text.place,
            format!("is this gateway's own private key; {RIGHT}"),
        );
        return None;
    }
    Some(key)
}

/// The preshared key: given, or derived from the shared secret and both names.
fn preshared_key(
    draft: &PeerDraft,
    name: Option<&str>,
    known: &KnownPeers<'_>,
    problems: &mut Problems,
) -> Option<PresharedKey> {
    if let (Some(file), Some(inline)) = (&draft.preshared_key_file, &draft.preshared_key) {
        let message = format!("{} is given too; keep one of them", file.place.key);
        problems.error(&inline.place, message);
        return None;
    }
    if let Some(file) = &draft.preshared_key_file {
        let key: PresharedKey = keyfile::read(file, "weapon genpsk", problems)?;
        return Some(key).filter(|key| !key.is_none());
    }
    if let Some(text) = &draft.preshared_key {
        let key: PresharedKey = good(value::key(&text.value.0, "weapon genpsk"), text, problems)?;
        return Some(key).filter(|key| !key.is_none());
    }
    // A peer with a key of its own is not of those that share the secret.
    if draft.public_key.is_some() {
        return None;
    }
    let secret = known.keys.and_then(|keys| keys.secret.as_ref())?;
    Some(derive_psk(secret.expose(), known.our_name?, name?))
}
