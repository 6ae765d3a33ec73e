//! Where metrics are read: `metrics` of `[gateway]`.

use std::{fmt, net::SocketAddr, path::PathBuf};

use super::value::quoted;

/// Bytes of a socket's path at most: `sockaddr_un` without its zero byte, and without what it is
/// called until it listens.
const PATH_BYTES_MAX: usize = 107 - ".new!".len();

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// A port of this host, at an address that no other host reaches.
    Tcp(SocketAddr),
    /// A unix socket, by its path from the root on.
    Unix(PathBuf),
}

impl fmt::Display for MetricsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `127.0.0.1:9586`, `[::1]:9586` or `unix:/PATH`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn metrics(text: &str) -> Result<MetricsPlace, String> {
    const RIGHT: &str = "write it like 127.0.0.1:9586, [::1]:9586 or unix:/run/weapon/metrics";
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(match text.rsplit_once(':') {
            Some(("localhost", port)) => {
                format!("a name may stand for several addresses; write 127.0.0.1:{port}")
            }
            Some(("", port)) | Some(("*", port)) => format!(
                "this would be every address of this host, and whoever reaches it learns of all \
                 peers; write 127.0.0.1:{port}"
            ),
            _ => format!("{} is no place for metrics; {RIGHT}", quoted(text)),
        });
    };
    if address.port() == 0 {
        return Err(format!("nobody would know the port; {RIGHT}"));
    }
    if !address.ip().is_loopback() {
        return Err(format!(
            "{} is not a loopback address. Who reads metrics learns of all peers and their \
             traffic, and is not asked who he is, nor is that encrypted; write 127.0.0.1:{port}, \
             and let a collector on this host, or a proxy that asks for a password, hand them on",
            address.ip(),
            port = address.port()
        ));
    }
    Ok(MetricsPlace::Tcp(address))
}

fn unix(path: &str) -> Result<MetricsPlace, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!(
            "{} is no path of a socket; it begins at the root, like unix:/run/weapon/metrics",
            quoted(path)
        ));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!(
            "the path of a socket has {PATH_BYTES_MAX} bytes here at most, and this one {}",
            path.len()
        ));
    }
    Ok(MetricsPlace::Unix(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_on_this_host() {
        for good in [
            "127.0.0.1:9586",
            "127.8.9.1:1",
            "[::1]:9586",
            "unix:/run/weapon/a.metrics",
        ] {
            assert_eq!(metrics(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("10.0.0.1:9586", "10.0.0.1 is not a loopback address"),
            ("0.0.0.0:9586", "0.0.0.0 is not a loopback address"),
            ("[::]:9586", ":: is not a loopback address"),
            ("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1 is not a loopback"),
            ("127.0.0.1:0", "nobody would know the port"),
            ("127.0.0.1", "`127.0.0.1` is no place for metrics; write it"),
            ("9586", "`9586` is no place for metrics"),
            (":9586", "this would be every address"),
            ("*:9586", "this would be every address"),
            (
                "localhost:9586",
                "a name may stand for several addresses; write 127.0.0.1:9586",
            ),
            ("unix:metrics", "`metrics` is no path of a socket"),
            ("unix:", "`` is no path of a socket"),
            ("unix:/", "`/` is no path of a socket"),
            ("", "`` is no place for metrics"),
        ] {
            let message = metrics(bad).unwrap_err();
            assert!(message.starts_with(why), "{bad}: {message}");
        }
        let long = format!("unix:/{}", "a".repeat(110));
        assert!(metrics(&long).unwrap_err().contains("and this one 111"));
    }
}
