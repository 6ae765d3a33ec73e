//! What a configuration file says, before anyone asked whether it makes sense: the common form of
//! both file formats, every value with its place.

use std::fmt;

use zeroize::Zeroizing;

use super::audit::AuditDraft;
use super::model::{CipherBackend, Offload, Sandbox};
use super::policy::PolicyDraft;
use super::problem::{Located, Place};
use super::service::{GroupDraft, ServiceDraft};

/// A whole file.
#[derive(Debug)]
pub struct Draft {
    /// `[gateway]`, `[Interface]`.
    pub gateway: GatewayDraft,
    /// `[[peer]]`, `[Peer]`, in the order of the file.
    pub peers: Vec<PeerDraft>,
    /// `[[group]]`; wg-quick has none.
    pub groups: Vec<GroupDraft>,
    /// `[filter]`, `[[rule]]`, `[[test]]`; wg-quick has none.
    pub policy: PolicyDraft,
    /// How keys are spelled in this format.
    pub spelling: &'static Spelling,
}

/// How a format spells the keys that validation has to name although they are not in the file.
#[derive(Debug)]
pub struct Spelling {
    /// The gateway's own key.
    pub private_key: &'static str,
    /// The gateway's name.
    pub name: &'static str,
    /// The gateway's interface.
    pub interface: &'static str,
    /// A peer's name.
    pub peer_name: &'static str,
    /// A peer's public key.
    pub public_key: &'static str,
    /// Whether peers carry names in this format.
    pub named_peers: bool,
}

/// The gateway's section.
#[derive(Debug, Default)]
pub struct GatewayDraft {
    /// The section's header.
    pub place: Place,
    pub name: Option<Located<String>>,
    pub private_key: Option<Located<SecretText>>,
    pub private_key_file: Option<Located<String>>,
    pub secret_file: Option<Located<String>>,
    pub address: Vec<Located<String>>,
    pub listen: Option<Located<i64>>,
    pub networks: Vec<Located<String>>,
    pub interface: Option<Located<String>>,
    pub mtu: Option<Located<i64>>,
    /// 0 is off.
    pub fwmark: Option<Located<i64>>,
    /// 0 is automatic.
    pub lanes: Option<Located<i64>>,
    pub cipher_backend: Option<CipherBackend>,
    pub user: Option<Located<String>>,
    pub sandbox: Option<Sandbox>,
    /// Whether routes are written.
    pub routes: Option<bool>,
    pub masquerade: Option<bool>,
    pub lan_access: Option<bool>,
    pub dns: Vec<Located<String>>,
    pub kill_switch: Option<bool>,
    pub metrics: Option<Located<String>>,
    pub danger_export_keys: Option<Located<String>>,
    /// Whether the firewall is set.
    pub firewall: Option<bool>,
    pub offload: OffloadDraft,
    /// `[audit]`
    pub audit: Option<AuditDraft>,
}

/// The switches of the kernel's facilities.
#[derive(Debug, Default)]
pub struct OffloadDraft {
    pub tcp: Option<bool>,
    pub udp: Option<bool>,
    pub gso: Option<bool>,
    pub gro: Option<bool>,
}

impl OffloadDraft {
    /// With what holds where nothing is written.
    pub fn complete(&self) -> Offload {
        let all = Offload::default();
        Offload {
            tcp: self.tcp.unwrap_or(all.tcp),
            udp: self.udp.unwrap_or(all.udp),
            gso: self.gso.unwrap_or(all.gso),
            gro: self.gro.unwrap_or(all.gro),
        }
    }
}

/// One peer's section.
#[derive(Debug, Default)]
pub struct PeerDraft {
    /// The section's header.
    pub place: Place,
    pub name: Option<Located<String>>,
    pub public_key: Option<Located<SecretText>>,
    pub preshared_key: Option<Located<SecretText>>,
    pub preshared_key_file: Option<Located<String>>,
    pub endpoint: Option<Located<String>>,
    pub networks: Vec<Located<String>>,
    /// Seconds; 0 is off.
    pub persistent_keepalive: Option<Located<i64>>,
    pub endpoint_pin: Option<bool>,
    /// Names by which rules mean several peers.
    pub groups: Vec<Located<String>>,
    /// Limits and a mark; wg-quick has none.
    pub service: ServiceDraft,
}

/// Text that may be a secret: erased on drop, never printed. A public key is held so too, for
/// people paste the wrong one.
pub struct SecretText(pub Zeroizing<String>);

impl SecretText {
    /// A copy of `text`.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({} bytes)", self.0.len())
    }
}
