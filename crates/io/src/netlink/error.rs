//! What was asked of the kernel, and why it would not.

use std::io;

/// A netlink request that failed. `asked` reads like `"add address 10.99.0.1/24 to interface 7"`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// No netlink socket.
    #[error("no netlink socket")]
    Connect(#[source] io::Error),
    /// The name, address or route is there already (`EEXIST`).
    #[error("{asked}: it exists already")]
    Exists {
        /// The request in words.
        asked: String,
    },
    /// The link, address or route is not there (`ENODEV`, `ENOENT`, `ESRCH`, `EADDRNOTAVAIL`).
    #[error("{asked}: there is no such thing")]
    NotFound {
        /// The request in words.
        asked: String,
    },
    /// `EPERM` or `EACCES`: `CAP_NET_ADMIN` is missing in this network namespace.
    #[error("{asked}: not permitted, CAP_NET_ADMIN is needed in this network namespace")]
    NotPermitted {
        /// The request in words.
        asked: String,
    },
    /// Any other refusal; `reason` is the kernel's own sentence where it gave one.
    #[error("{asked}: {reason}")]
    Refused {
        /// The request in words.
        asked: String,
        /// The kernel's explanation, else the text of the error number.
        reason: String,
        /// The error number, positive.
        errno: i32,
    },
    /// The answer could not be understood, or the connection ended.
    #[error("{asked}: no usable answer from the kernel: {reason}")]
    NoAnswer {
        /// The request in words.
        asked: String,
        /// What came instead.
        reason: String,
    },
}

impl NetlinkError {
    /// Whether the thing to be made was there already.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }

    /// Whether the thing to be changed or removed was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The number of the kernel's error, where it is one that has no other name here.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    pub(crate) fn new(asked: impl Into<String>, error: rtnetlink::Error) -> Self {
        let asked = asked.into();
        let rtnetlink::Error::NetlinkError(message) = error else {
            return Self::NoAnswer {
                asked,
                reason: error.to_string(),
            };
        };
        let errno = message.raw_code().saturating_neg();
        match errno {
            libc::EEXIST => Self::Exists { asked },
            libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL => {
                Self::NotFound { asked }
            }
            libc::EPERM | libc::EACCES => Self::NotPermitted { asked },
            _ => {
                let reason = explanation(&message.header)
                    .unwrap_or_else(|| io::Error::from_raw_os_error(errno).to_string());
                Self::Refused {
                    asked,
                    reason,
                    errno,
                }
            }
        }
    }
}

/// Adds what was asked to an error of rtnetlink.
pub(crate) trait Asked<T> {
    fn asked(self, asked: impl FnOnce() -> String) -> Result<T, NetlinkError>;
}

impl<T> Asked<T> for Result<T, rtnetlink::Error> {
    fn asked(self, asked: impl FnOnce() -> String) -> Result<T, NetlinkError> {
        self.map_err(|error| NetlinkError::new(asked(), error))
    }
}

/// The kernel's sentence behind an error (NETLINK_EXT_ACK, linux/netlink.h): after the copy of our
/// request come attributes, of which type 1 is a text.
fn explanation(payload: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const TYPE_MASK: u16 = 0x3fff;
    let request_len = u32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    let mut rest = payload.get((request_len as usize).next_multiple_of(4)..)?;
    while rest.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & TYPE_MASK;
        let value = rest.get(4..len)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanation_stands_behind_the_request() {
        let mut payload = vec![0u8; 20];
        payload[..4].copy_from_slice(&18u32.to_ne_bytes());
        payload.extend(8u16.to_ne_bytes());
        payload.extend(2u16.to_ne_bytes()); // NLMSGERR_ATTR_OFFS
        payload.extend(16u32.to_ne_bytes());
        payload.extend(8u16.to_ne_bytes());
        payload.extend(1u16.to_ne_bytes());
        payload.extend(b"why\0");
        assert_eq!(explanation(&payload).as_deref(), Some("why"));
    }

    #[test]
    fn explanation_survives_garbage() {
        for len in 0..24 {
            assert_eq!(explanation(&vec![0xff; len]), None);
            assert_eq!(explanation(&vec![0; len]), None);
        }
    }
}
