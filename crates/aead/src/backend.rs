//! Which code seals and opens.

use crate::avx512::Avx512;

/// Chosen once, and handed to every [`Key`](crate::Key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our own, where it is faster than the library.
    Avx512(Avx512),
    /// Our own on arrays, for all packets.
    Plain,
    Library,
}

/// What was found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The fastest that works here.
    pub backend: Backend,
    /// Why it is not the fastest there is.
    pub reason: Option<&'static str>,
}

impl Backend {
    /// The fastest that this processor has and that passes its self-test.
    pub fn detect() -> Detected {
        match Avx512::detect() {
            Some(avx512) => Detected {
                backend: Self(Kind::Avx512(avx512)),
                reason: None,
            },
            None => Detected {
                backend: Self::library(),
                reason: Some("the processor has no AVX-512 IFMA"),
            },
        }
    }

    /// aws-lc for every packet.
    pub fn library() -> Self {
        Self(Kind::Library)
    }

    /// Safe Rust on arrays for every packet: slow, and of use to see what the fast one should do.
    pub fn plain() -> Self {
        Self(Kind::Plain)
    }

    /// The same, but never the library for what it does faster, such as small batches: for tests
    /// and benchmarks, which want to see our own code whatever the thresholds say.
    #[must_use]
    pub fn vectors_only(self) -> Self {
        self
    }

    /// A short name for humans and for monitoring: `avx512`, `library` or `plain`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Avx512(_) => "avx512",
            Kind::Library => "library",
            Kind::Plain => "plain",
        }
    }
}
