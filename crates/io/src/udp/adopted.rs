//! The sockets of a gateway that ran before us, kept for us by the service manager: what came in
//! between waits in them.
//!
//! Which of them gets a datagram is decided by their number in the order of binding ([`door`]), and
//! the kernel renumbers them when one is closed. So they are used all together, or none.

use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use super::{
    Family, Files, Sockets, Udp, UdpConfig, UdpError, door,
    socket::{equip, of_door, set_mark},
};

/// Why sockets are not used again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdopted {
    /// A gateway with other lanes had them.
    #[error("they were those of a gateway with other lanes")]
    Lanes,
    /// One is not what it should be.
    #[error("one is no UDP socket of its family, or has another port")]
    Other,
    /// An option can't be set.
    #[error(transparent)]
    Option(#[from] UdpError),
}

impl Udp {
    /// Takes over what [`Udp::bind_lanes`] has opened in another process, with the options that
    /// `config` asks for. Port 0 is any.
    ///
    /// # Errors
    /// [`NotAdopted`]; all are closed then.
    pub fn adopt_lanes(
        files: Sockets<Files>,
        config: &UdpConfig,
        lanes: usize,
    ) -> Result<Sockets<Self>, NotAdopted> {
        let Sockets {
            lanes: of_lanes,
            doors,
        } = files;
        let doors_fit = doors.is_empty() || doors.len() == door::DOORS as usize;
        if of_lanes.len() != lanes.max(1) || !doors_fit {
            return Err(NotAdopted::Lanes);
        }
        let mut config = *config;
        let mut adopt = |all: Vec<Files>, is_door: bool| -> Result<Vec<Self>, NotAdopted> {
            let sockets = all
                .into_iter()
                .map(|files| Self::adopt(files, &mut config, is_door));
            sockets.collect()
        };
        let lanes = adopt(of_lanes, false)?;
        let doors = adopt(doors, true)?;
        let has_v6 = |socket: &Self| socket.fds().count() == Family::ALL.len();
        let all = || lanes.iter().chain(&doors);
        if all().any(|socket| has_v6(socket) != has_v6(&lanes[0])) {
            return Err(NotAdopted::Other);
        }
        Ok(Sockets { lanes, doors })
    }

    /// A pair, or what the host has of it. A port that is not chosen yet is that of the first.
    fn adopt(files: Files, config: &mut UdpConfig, is_door: bool) -> Result<Self, NotAdopted> {
        let (mut v4, mut v6) = (None, None);
        for (family, file) in files {
            let place = match family {
                Family::V4 => &mut v4,
                Family::V6 => &mut v6,
            };
            *place = Some(fitting(file, family, config)?);
        }
        let v4 = v4.ok_or(NotAdopted::Other)?;
        let config = if is_door { of_door(config) } else { *config };
        for (family, socket) in [(Family::V4, Some(&v4)), (Family::V6, v6.as_ref())] {
            let Some(socket) = socket else { continue };
            equip(socket, family, &config)?;
            // It may have one that is not wanted any more; to take none away needs no privilege.
            if socket.mark().ok() != Some(config.fwmark) {
                set_mark(socket, config.fwmark)?;
            }
        }
        Ok(Self::with_sockets(v4, v6, &config))
    }
}

/// The file as a socket, if it is one of this family and port, bound to all addresses.
fn fitting(file: OwnedFd, family: Family, config: &mut UdpConfig) -> Result<Socket, NotAdopted> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::from(file);
    let address = socket.local_addr().ok().and_then(|it| it.as_socket());
    let address = address.ok_or(NotAdopted::Other)?;
    if config.port == 0 {
        config.port = address.port();
    }
    let is_ours = socket.domain().ok() == Some(domain)
        && socket.r#type().ok() == Some(Type::DGRAM)
        && address.ip().is_unspecified()
        && (address.port(), config.port != 0) == (config.port, true);
    if !is_ours || socket.set_nonblocking(true).is_err() {
        return Err(NotAdopted::Other);
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::udp::{Arrival, SLOT_BYTES, Socket as _};

    fn files(sockets: &Sockets<Udp>) -> Sockets<Files> {
        let of = |socket: &Udp| {
            let again = |(family, file): (Family, std::os::fd::BorrowedFd<'_>)| {
                (family, file.try_clone_to_owned().unwrap())
            };
            socket.fds().map(again).collect()
        };
        Sockets {
            lanes: sockets.lanes.iter().map(of).collect(),
            doors: sockets.doors.iter().map(of).collect(),
        }
    }

    /// What has come to the port waits for whoever takes over, at the lane or the door that it
    /// came to.
    #[test]
    fn what_waits_in_the_sockets_is_received_by_the_next() {
        let bound = Udp::bind_lanes(&UdpConfig::default(), 2).unwrap();
        let (port, kept) = (bound.lanes[0].port(), files(&bound));
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (data, initiation) = ([4, 0, 0, 0, 9], [1, 0, 0, 0, 8]);
        for message in [data, initiation] {
            sender
                .send_to(&message, (Ipv4Addr::LOCALHOST, port))
                .unwrap();
        }
        drop(bound);
        let config = UdpConfig {
            port,
            ..UdpConfig::default()
        };
        let Sockets { lanes, doors } = Udp::adopt_lanes(kept, &config, 2).unwrap();
        let mut received = Vec::new();
        for (kind, sockets) in [("lane", &lanes), ("door", &doors)] {
            for socket in sockets {
                let mut buffer = vec![0; SLOT_BYTES];
                let mut arrivals = [Arrival {
                    from: weapon_wire::Endpoint::new(([0, 0, 0, 0], 0).into()),
                    tos: 0,
                    len: 0,
                    stride: 0,
                    truncated: false,
                }];
                if socket
                    .receive(Family::V4, &mut buffer, &mut arrivals)
                    .is_ok()
                {
                    assert!(arrivals[0].from.source.is_some(), "its options are set");
                    received.push((kind, buffer[..arrivals[0].len].to_vec()));
                }
            }
        }
        assert_eq!(
            received,
            [("lane", data.to_vec()), ("door", initiation.to_vec())]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bound = Udp::bind_lanes(&UdpConfig::default(), 2).unwrap();
        let config = UdpConfig::default();
        let refused = |files, config: &UdpConfig, lanes| {
            let refused = Udp::adopt_lanes(files, config, lanes).err();
            refused.expect("a refusal").to_string()
        };
        let other = NotAdopted::Other.to_string();
        assert_eq!(
            refused(files(&bound), &config, 1),
            NotAdopted::Lanes.to_string()
        );
        let another_port = UdpConfig {
            port: bound.lanes[0].port() ^ 1,
            ..config
        };
        assert_eq!(refused(files(&bound), &another_port, 2), other);
        let mut less = files(&bound);
        less.doors[3].clear();
        assert_eq!(refused(less, &config, 2), other);
        let mut no_socket = files(&bound);
        no_socket.lanes[1][0].1 = std::fs::File::open("/dev/null").unwrap().into();
        assert_eq!(refused(no_socket, &config, 2), other);
        let mut fewer = files(&bound);
        fewer.doors.pop();
        assert_eq!(refused(fewer, &config, 2), NotAdopted::Lanes.to_string());
        // Any port is that port.
        let adopted = Udp::adopt_lanes(files(&bound), &config, 2).unwrap();
        assert_eq!(adopted.doors[0].port(), bound.lanes[0].port());
    }
}
