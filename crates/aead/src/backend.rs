//! Which code seals and opens.

use core::fmt;

#[cfg(all(target_arch = "x86_64", feature = "std"))]
use crate::avx512::Avx512;
use crate::self_test;

/// Chosen once, and handed to every [`Key`](crate::Key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our own with AVX-512.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    Avx512 {
        proof: Avx512,
        /// Batches that do not fill the lanes go to the library.
        with_library: bool,
    },
    /// Our own on arrays.
    Plain,
    /// aws-lc, one packet after the other.
    #[cfg(feature = "library")]
    Library,
}

/// What was found on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The fastest that works here.
    pub backend: Backend,
    /// Why it is not the fastest there is.
    pub reason: Option<SlowerBecause>,
}

/// Why the fastest backend is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowerBecause {
    /// The processor or the system on it has not all that is needed.
    NoAvx512,
    /// It has, but what came out was wrong. Something is broken: the processor, an emulator, or
    /// this crate. Somebody should be told.
    SelfTestFailed,
}

impl fmt::Display for SlowerBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAvx512 => "the processor has no AVX-512 with IFMA and VBMI2",
            Self::SelfTestFailed => "the self-test of the AVX-512 code failed",
        })
    }
}

impl Backend {
    /// The fastest that this processor has and that passes its self-test.
    pub fn detect() -> Detected {
        match Self::vectors() {
            Some(vectors) if self_test::passes(vectors) => Detected {
                backend: vectors.with_library(),
                reason: None,
            },
            Some(_) => Detected {
                backend: Self::fallback(),
                reason: Some(SlowerBecause::SelfTestFailed),
            },
            None => Detected {
                backend: Self::fallback(),
                reason: Some(SlowerBecause::NoAvx512),
            },
        }
    }

    /// Our own code with AVX-512 for every packet, even where the library would be faster: for
    /// tests and measurements. Nothing if the processor lacks it.
    pub fn vectors() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        return Avx512::detect().map(|proof| {
            Self(Kind::Avx512 {
                proof,
                with_library: false,
            })
        });
        #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
        None
    }

    /// aws-lc for every packet.
    #[cfg(feature = "library")]
    pub fn library() -> Self {
        Self(Kind::Library)
    }

    /// Safe Rust on arrays for every packet: slow, and of use to see what the fast one should do.
    pub fn plain() -> Self {
        Self(Kind::Plain)
    }

    /// A short name for humans and for monitoring: `avx512`, `library` or `plain`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Kind::Avx512 { .. } => "avx512",
            Kind::Plain => "plain",
            #[cfg(feature = "library")]
            Kind::Library => "library",
        }
    }

    #[cfg(feature = "library")]
    fn fallback() -> Self {
        Self::library()
    }

    #[cfg(not(feature = "library"))]
    fn fallback() -> Self {
        Self::plain()
    }

    /// Leaves to the library what that does faster.
    fn with_library(self) -> Self {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Kind::Avx512 { proof, .. } => Self(Kind::Avx512 {
                proof,
                with_library: cfg!(feature = "library"),
            }),
            #[cfg(feature = "library")]
            Kind::Library => self,
            Kind::Plain => self,
        }
    }
}
