//! A thread that must not die alone.

/// Ends the process when a loop unwinds; the thread's name is said.
pub(crate) struct AbortOnPanic(pub(crate) String);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        tracing::error!(thread = &*self.0, "a loop has died; ending the process");
        std::process::abort();
    }
}
