//! The sockets of a gateway on their way to the process that uses them.

use serde::{Deserialize, Serialize};

use super::{Family, Files, NotAdopted, Sockets, Udp};

/// What is known of a pair of sockets beside their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpFacts {
    /// The port of both.
    pub port: u16,
    /// Whether trains are sent.
    pub gso: bool,
    /// Whether trains are received.
    pub gro: bool,
}

impl Udp {
    /// What is known of them.
    pub fn facts(&self) -> UdpFacts {
        UdpFacts {
            port: self.port(),
            gso: self.gso,
            gro: self.gro(),
        }
    }

    /// Its files, and what is known of them.
    pub fn into_parts(self) -> (UdpFacts, Files) {
        let facts = self.facts();
        let v6 = self.v6.map(|v6| (Family::V6, v6.into()));
        let v4 = (Family::V4, self.v4.into());
        (facts, [v4].into_iter().chain(v6).collect())
    }

    /// What another process has opened, as it was opened: nothing is set on it, as that may need a
    /// privilege.
    ///
    /// # Errors
    /// [`NotAdopted::Other`] if there is no socket for IPv4.
    pub fn of_parts(facts: UdpFacts, files: Files) -> Result<Self, NotAdopted> {
        let (mut v4, mut v6) = (None, None);
        for (family, file) in files {
            match family {
                Family::V4 => v4 = Some(file.into()),
                Family::V6 => v6 = Some(file.into()),
            }
        }
        let v4 = v4.ok_or(NotAdopted::Other)?;
        Ok(Self::with_facts(v4, v6, facts))
    }
}

impl Sockets<Udp> {
    /// All files, and what is known of all pairs.
    pub fn into_parts(self) -> (Option<UdpFacts>, Sockets<Files>) {
        let mut known = None;
        let mut apart = |all: Vec<Udp>| {
            let all = all.into_iter().map(Udp::into_parts);
            all.map(|(facts, files)| {
                known.get_or_insert(facts);
                files
            })
            .collect()
        };
        let files = Sockets {
            lanes: apart(self.lanes),
            doors: apart(self.doors),
        };
        (known, files)
    }

    /// See [`Udp::of_parts`].
    ///
    /// # Errors
    /// As there.
    pub fn of_parts(facts: UdpFacts, files: Sockets<Files>) -> Result<Self, NotAdopted> {
        let whole = |all: Vec<Files>| {
            let all = all.into_iter().map(|files| Udp::of_parts(facts, files));
            all.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            lanes: whole(files.lanes)?,
            doors: whole(files.doors)?,
        })
    }
}

/// Marks all that is sent by these sockets from now on, whoever holds them; 0 for no mark.
///
/// # Errors
/// What the kernel says.
pub fn mark_all(files: Sockets<Files>, mark: u32) -> std::io::Result<()> {
    let all = files.lanes.into_iter().chain(files.doors).flatten();
    for (_, file) in all {
        socket2::Socket::from(file).set_mark(mark)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::UdpConfig;

    #[test]
    fn what_is_taken_apart_is_the_same_when_it_is_put_together() {
        let bound = Udp::bind_lanes(&UdpConfig::default(), 2).unwrap();
        let facts = bound.lanes[0].facts();
        let doors = bound.doors.len();
        let (known, files) = bound.into_parts();
        assert_eq!(known, Some(facts));
        let again = Sockets::<Udp>::of_parts(facts, files).unwrap();
        assert_eq!((again.lanes.len(), again.doors.len()), (2, doors));
        assert!(again.lanes.iter().all(|udp| udp.facts() == facts));
        let none = Udp::of_parts(facts, Files::new());
        assert!(matches!(none, Err(NotAdopted::Other)));
    }
}
