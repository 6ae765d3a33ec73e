//! A cipher that copies and believes: the fuzzer's own data messages are authentic, so that what
//! comes after the tag is reached.

use weapon_aead::LengthError;
use weapon_noise::{Cipher, Opening, Sealing, TransportKey};

#[derive(Debug)]
pub(crate) struct NullCipher;

impl Cipher for NullCipher {
    fn key(&self, _secret: &[u8; 32]) -> Box<dyn TransportKey> {
        Box::new(Self)
    }
}

impl TransportKey for NullCipher {
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
