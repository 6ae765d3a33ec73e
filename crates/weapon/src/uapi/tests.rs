//! Requests and answers as `wg` writes and reads them.

use std::{io::ErrorKind, time::Duration};

use proptest::prelude::*;
use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
};
use weapon_core::{GatewayDump, NetworkChange, PeerDump, PeerStatus, WallTime};
use weapon_noise::{Attempts, PresharedKey, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::{
    READ_BYTES_MIN, REQUEST_BYTES_MAX, Unread, answer, end_of_request,
    request::{BadRequest, Request, SetRequest},
    serve_client,
};

const KEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

fn set(lines: &str) -> Result<SetRequest, BadRequest> {
    match Request::parse(format!("set=1\n{lines}\n\n").as_bytes())? {
        Request::Set(set) => Ok(*set),
        Request::Get => panic!("a set is no get"),
    }
}

fn errno(lines: &str) -> Option<Errno> {
    set(lines).err().map(|bad| bad.errno)
}

fn key() -> [u8; 32] {
    core::array::from_fn(|i| i as u8 + 1)
}

#[test]
fn u19_get_and_set_are_told_apart() {
    assert!(matches!(Request::parse(b"get=1\n\n"), Ok(Request::Get)));
    assert!(matches!(Request::parse(b"set=1\n\n"), Ok(Request::Set(_))));
    for text in [
        "",
        "\n",
        "get=2\n\n",
        "hello\n\n",
        "set=\n\n",
        "listen_port=1\n\n",
    ] {
        let bad = Request::parse(text.as_bytes()).unwrap_err();
        assert_eq!((bad.line, bad.errno), (1, Errno::PROTO), "{text:?}");
    }
    let bad = Request::parse(b"get=1\nfwmark=1\n\n").unwrap_err();
    assert_eq!((bad.line, bad.errno), (2, Errno::INVAL));
}

#[test]
fn u24_u28_every_key_of_the_device_and_of_a_peer_is_read() {
    let lines = format!(
        "private_key={KEY}\nlisten_port=51820\nfwmark=4294967295\nreplace_peers=true\n\
         public_key={KEY}\nupdate_only=true\npreshared_key={KEY}\n\
         endpoint=[2001:db8::1]:51821\npersistent_keepalive_interval=25\n\
         replace_allowed_ips=true\nallowed_ip=10.1.2.3/8\nallowed_ip=-fd00::/8\n\
         allowed_ip=192.0.2.1\nprotocol_version=1\n\
         public_key={}\nremove=true",
        KEY.to_uppercase().replace("20", "21")
    );
    let set = set(&lines).unwrap();
    assert_eq!(set.listen_port, Some(51820));
    assert_eq!(set.fwmark, Some(u32::MAX));
    let change = set.change;
    assert_eq!(
        change.private_key,
        Some(Some(PrivateKey::from_bytes(&key())))
    );
    assert!(change.replace_peers);
    let [peer, other] = &change.peers[..] else {
        panic!("{} peers", change.peers.len());
    };
    assert_eq!(peer.public_key, PublicKey::from_bytes(key()));
    assert!(peer.update_only && peer.replace_networks && !peer.remove);
    let psk = PresharedKey::from_bytes(&key());
    assert_eq!(peer.preshared_key, Some(Some(psk)));
    assert_eq!(peer.endpoint, Some("[2001:db8::1]:51821".parse().unwrap()));
    let seconds = Duration::from_secs(25);
    assert_eq!(peer.persistent_keepalive, Some(Some(seconds)));
    // Host bits are cut off (U28).
    let networks = [
        NetworkChange::Give("10.0.0.0/8".parse().unwrap()),
        NetworkChange::Take("fd00::/8".parse().unwrap()),
        NetworkChange::Give("192.0.2.1/32".parse().unwrap()),
    ];
    assert_eq!(peer.networks, networks);
    assert!(other.remove);
}

#[test]
fn u24_zeros_take_keys_away_and_only_true_is_true() {
    let zeros = "0".repeat(64);
    let lines = format!(
        "private_key={zeros}\npublic_key={KEY}\npreshared_key={zeros}\n\
         persistent_keepalive_interval=0"
    );
    let change = set(&lines).unwrap().change;
    assert_eq!(change.private_key, Some(None));
    assert_eq!(change.peers[0].preshared_key, Some(None));
    assert_eq!(change.peers[0].persistent_keepalive, Some(None));
    for line in ["replace_peers=false", "replace_peers=1", "replace_peers="] {
        assert_eq!(errno(line), Some(Errno::INVAL), "{line}");
    }
    for line in [
        "remove=false",
        "update_only=yes",
        "replace_allowed_ips=TRUE",
    ] {
        let lines = format!("public_key={KEY}\n{line}");
        assert_eq!(errno(&lines), Some(Errno::INVAL), "{line}");
    }
}

#[test]
fn u21_what_is_wrong_has_its_number_and_its_line() {
    for line in [
        "listen_port=65536",
        "listen_port=-1",
        "listen_port=+1",
        "listen_port= 1",
        "listen_port=",
        "fwmark=4294967296",
        "fwmark=0x1",
        "endpoint=192.0.2.1:5",
        "public_key=",
        "nonsense=1",
    ] {
        assert_eq!(errno(line), Some(Errno::INVAL), "{line}");
    }
    for line in [
        "endpoint=192.0.2.1",
        "endpoint=192.0.2.1:65536",
        "endpoint=example.org:5",
        "endpoint=[fe80::1%no-such-interface]:5",
        "persistent_keepalive_interval=65536",
        "allowed_ip=10.0.0.0/33",
        "allowed_ip=10.0.0/8",
        "allowed_ip=--10.0.0.0/8",
        "allowed_ip=",
        "protocol_version=2",
        "listen_port=1",
        "private_key=0",
    ] {
        let bad = set(&format!("public_key={KEY}\n{line}")).unwrap_err();
        assert_eq!((bad.line, bad.errno), (3, Errno::INVAL), "{line}");
    }
    assert_eq!(errno("no equals sign"), Some(Errno::PROTO));
    // Whoever asks for a version that is not there is told so, not that there are none.
    let bad = set(&format!("public_key={KEY}\nprotocol_version=2")).unwrap_err();
    assert_eq!(bad.what, "protocol_version needs 1: there is no other");
}

#[test]
fn u23_endpoints_with_a_scope_are_read_by_number_and_by_name() {
    for scope in ["%1", "%lo"] {
        let lines = format!("public_key={KEY}\nendpoint=[fe80::1{scope}]:5");
        let endpoint = set(&lines).unwrap().change.peers[0].endpoint;
        assert_eq!(endpoint, Some("[fe80::1%1]:5".parse().unwrap()), "{scope}");
    }
}

#[test]
fn u25_only_64_hex_digits_are_a_key() {
    let short = &KEY[..62];
    let base64 = PublicKey::from_bytes(key()).to_string();
    for bad in [
        short.to_owned(),
        format!("{short}2"),
        format!("{KEY}0"),
        format!("{short}g0"),
        format!("{short} 0"),
        format!("{short}ö"),
        format!("+{}", &KEY[1..]),
        base64,
    ] {
        for key in ["private_key", "public_key"] {
            assert_eq!(errno(&format!("{key}={bad}")), Some(Errno::INVAL), "{bad}");
        }
        let lines = format!("public_key={KEY}\npreshared_key={bad}");
        let complaint = set(&lines).unwrap_err().to_string();
        assert!(!complaint.contains(&bad), "a secret is told: {complaint}");
    }
}

#[test]
fn u20_a_failed_set_is_negative_and_a_failed_get_is_not() {
    assert_eq!(*answer::set(Ok(())), "errno=0\n\n");
    assert_eq!(*answer::set(Err(Errno::INVAL)), "errno=-22\n\n");
    assert_eq!(*answer::failed(Errno::IO), "errno=5\n\n");
}

fn dump() -> GatewayDump {
    let peer = PeerStatus {
        name: "site-b".into(),
        public_key: PublicKey::from_bytes(key()),
        endpoint: Some("[fe80::1%3]:5".parse().unwrap()),
        source: None,
        networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        persistent_keepalive: Some(Duration::from_secs(25)),
        last_handshake: Some(WallTime {
            seconds: 1_700_000_000,
            nanos: 12,
        }),
        session: None,
        last_received_age: None,
        received_bytes: 7,
        sent_bytes: 8,
        received_packets: 1,
        sent_packets: 1,
        parked: 0,
        arrivals: None,
        attempts: Attempts::default(),
        last_attempt_age: None,
        trouble: None,
        service: None,
    };
    GatewayDump {
        private_key: Some(PrivateKey::from_bytes(&key())),
        peers: vec![PeerDump {
            status: peer,
            preshared_key: None,
        }],
    }
}

#[test]
fn u22_u23_a_get_answers_what_wg_reads() {
    let clamped: String = PrivateKey::from_bytes(&key())
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected = format!(
        "private_key={clamped}\nlisten_port=51820\nfwmark=7\npublic_key={KEY}\n\
         preshared_key={}\nprotocol_version=1\nendpoint=[fe80::1%3]:5\n\
         last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=12\ntx_bytes=8\n\
         rx_bytes=7\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\n\
         allowed_ip=fd00::/8\nerrno=0\n\n",
        "0".repeat(64)
    );
    assert_eq!(*answer::state(&dump(), 51820, 7), expected);

    // What is not there is not told (U22).
    let bare = GatewayDump {
        private_key: None,
        peers: Vec::new(),
    };
    assert_eq!(*answer::state(&bare, 0, 0), "errno=0\n\n");
}

proptest! {
    #[test]
    fn u25_no_text_does_harm(text: Vec<u8>) {
        let _ = Request::parse(&text);
    }

    #[test]
    fn u25_no_malformed_line_yields_a_key(digits in "[0-9a-fA-Fg ö]{60,66}") {
        if let Ok(set) = set(&format!("public_key={digits}")) {
            let key = set.change.peers[0].public_key;
            let read: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(read, digits.to_lowercase());
        }
    }
}

#[tokio::test]
async fn u18_u19_requests_end_with_an_empty_line_wherever_they_are_cut() {
    let sent = "get=1\n\nset=1\nfwmark=7\n\n\nset=1\nlisten_port=5";
    for cut in 0..=sent.len() {
        let (mut client, mut served) = UnixStream::pair().unwrap();
        let write = async move {
            let (head, tail) = sent.split_at(cut);
            client.write_all(head.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(tail.as_bytes()).await.unwrap();
        };
        let read = async {
            let mut unread = Unread::default();
            let mut seen = Vec::new();
            while let Some(text) = unread.request(&mut served).await.unwrap() {
                seen.push(String::from_utf8(text.to_vec()).unwrap());
            }
            seen
        };
        let (seen, ()) = tokio::join!(read, write);
        // Half a request is none.
        assert_eq!(seen, ["get=1\n\n", "set=1\nfwmark=7\n\n", "\n"], "{cut}");
    }
}

#[test]
fn u19_the_end_is_found_from_where_it_was_not_searched_yet() {
    let text = b"get=1\n\nset=1\n\n";
    for (searched, end) in [(0, 7), (5, 7), (6, 14), (12, 14)] {
        assert_eq!(end_of_request(text, searched), Some(end), "{searched}");
    }
    for searched in [13, 14, 15] {
        assert_eq!(end_of_request(text, searched), None, "{searched}");
    }
    assert_eq!(end_of_request(b"\nget=1\n\n", 0), Some(1));
    assert_eq!(end_of_request(b"", 0), None);
}

#[tokio::test]
async fn u19_a_request_is_bounded() {
    for (len, is_refused) in [(REQUEST_BYTES_MAX, false), (REQUEST_BYTES_MAX + 1, true)] {
        let (client, mut served) = UnixStream::pair().unwrap();
        drop(client);
        let mut unread = Unread(Zeroizing::new(vec![b'a'; len]));
        let error = unread.request(&mut served).await.err();
        let kind = error.map(|error| error.kind());
        assert_eq!(kind, is_refused.then_some(ErrorKind::FileTooLarge), "{len}");
    }
}

/// Else the vector would grow by itself, and leave what it held where it was.
#[tokio::test]
async fn u18_there_is_room_before_anything_is_read() {
    let (mut client, mut served) = UnixStream::pair().unwrap();
    client.write_all(b"get=1\n").await.unwrap();
    drop(client);
    let mut unread = Unread::default();
    assert!(unread.request(&mut served).await.unwrap().is_none());
    assert_eq!(unread.0.as_slice(), b"get=1\n");
    assert_eq!(unread.0.capacity(), READ_BYTES_MIN);
}

#[tokio::test]
async fn u18_u20_each_request_of_a_client_is_answered() {
    let (mut client, served) = UnixStream::pair().unwrap();
    let (calls, mut called) = mpsc::channel(1);
    let serving = async move { serve_client(served, &calls).await.unwrap() };
    let gateway = async move {
        while let Some(call) = called.recv().await {
            let text = match call.request {
                Request::Get => answer::failed(Errno::IO),
                Request::Set(_) => answer::set(Ok(())),
            };
            let _ = call.answer.send(text);
        }
    };
    let asking = async move {
        let requests = "get=1\n\nset=1\n\nset=1\nnonsense=1\n\nget=2\n\n";
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = vec![0; 39];
        client.read_exact(&mut answers).await.unwrap();
        String::from_utf8(answers).unwrap()
    };
    let (answers, (), ()) = tokio::join!(asking, serving, gateway);
    assert_eq!(answers, "errno=5\n\nerrno=0\n\nerrno=-22\n\nerrno=71\n\n");
}
