//! What is written of keys, by the gateway's process.

use std::{fs::File, io::Write as _, os::fd::OwnedFd};

use weapon_noise::{HandshakeSecrets, KeyLog, PrivateKey, Role};
use zeroize::Zeroizing;

/// Bytes of what is written at once at most: four lines. What never grows leaves no copies.
const BLOCK_BYTES: usize = 512;

/// Writes keys to a file, until that is full or fails.
#[derive(Debug)]
pub struct KeyWriter {
    file: Option<File>,
    room: u64,
}

impl KeyWriter {
    /// Writes to the end of `file`, so many bytes at most.
    pub fn new(file: OwnedFd, room: u64) -> Self {
        Self {
            file: Some(file.into()),
            room,
        }
    }

    /// Writes whole lines, or tells once that it does not any more.
    fn write(&mut self, block: &str) {
        let Some(file) = &mut self.file else { return };
        let len = block.len() as u64;
        let written = if self.room < len {
            Err("the file is full".to_owned())
        } else {
            let written = file.write_all(block.as_bytes());
            written.map_err(|error| error.to_string())
        };
        match written {
            Ok(()) => self.room -= len,
            Err(error) => {
                tracing::error!(error, "keys are not written any more");
                self.file = None;
            }
        }
    }
}

impl KeyLog for KeyWriter {
    fn note_identity(&mut self, private: &PrivateKey) {
        let mut block = Block::new();
        block.line("LOCAL_STATIC_PRIVATE_KEY", &private.to_base64());
        self.write(&block.0);
    }

    fn note_handshake(&mut self, secrets: &HandshakeSecrets<'_>) {
        let mut block = Block::new();
        // Of an initiation to us our static key shows whose it is.
        if secrets.role == Role::Initiator {
            block.line("REMOTE_STATIC_PUBLIC_KEY", &secrets.remote.to_string());
        }
        block.line(
            "LOCAL_EPHEMERAL_PRIVATE_KEY",
            &secrets.ephemeral.to_base64(),
        );
        // It belongs to the ephemeral key above it.
        if let Some(key) = secrets.preshared_key {
            block.line("PRESHARED_KEY", &key.to_base64());
        }
        self.write(&block.0);
    }
}

/// Lines that are written together.
struct Block(Zeroizing<String>);

impl Block {
    fn new() -> Self {
        Self(Zeroizing::new(String::with_capacity(BLOCK_BYTES)))
    }

    fn line(&mut self, kind: &str, key: &str) {
        for part in [kind, " = ", key, "\n"] {
            self.0.push_str(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Seek as _},
        os::fd::AsFd as _,
    };

    use weapon_noise::{PresharedKey, PublicKey};

    use super::*;

    /// What a writer with so much room writes of a static key and these handshakes.
    fn written(room: u64, roles: &[(Role, bool)]) -> String {
        let mut file = tempfile();
        let mut writer = KeyWriter::new(file.as_fd().try_clone_to_owned().unwrap(), room);
        writer.note_identity(&PrivateKey::from_bytes(&[0x41; 32]));
        let remote = PublicKey::from_bytes([2; 32]);
        let preshared = PresharedKey::from_bytes(&[3; 32]);
        for &(role, is_preshared) in roles {
            writer.note_handshake(&HandshakeSecrets {
                role,
                remote: &remote,
                ephemeral: PrivateKey::from_bytes(&[0x48; 32]),
                preshared_key: is_preshared.then_some(&preshared),
            });
        }
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn tempfile() -> File {
        let file = rustix::fs::memfd_create("keys", rustix::fs::MemfdFlags::CLOEXEC);
        file.unwrap().into()
    }

    const IDENTITY: &str =
        "LOCAL_STATIC_PRIVATE_KEY = QEFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n";

    #[test]
    fn no_more_is_written_than_decrypts() {
        let remote = "REMOTE_STATIC_PUBLIC_KEY = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n";
        let ephemeral =
            "LOCAL_EPHEMERAL_PRIVATE_KEY = SEhISEhISEhISEhISEhISEhISEhISEhISEhISEhISEg=\n";
        let preshared = "PRESHARED_KEY = AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n";
        let all = written(
            u64::MAX,
            &[(Role::Initiator, true), (Role::Responder, false)],
        );
        let expected = format!("{IDENTITY}{remote}{ephemeral}{preshared}{ephemeral}");
        assert_eq!(all, expected);
        assert!(expected.len() < BLOCK_BYTES, "one block has room");
    }

    #[test]
    fn a_full_file_is_left_as_it_is() {
        let room = IDENTITY.len() as u64 + 100;
        let handshakes = [
            (Role::Initiator, true),
            // This one would fit.
            (Role::Responder, false),
        ];
        assert_eq!(written(room, &handshakes), IDENTITY);
    }
}
