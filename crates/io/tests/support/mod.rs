//! A fresh network namespace for a test, or the reason why there can be none.

use weapon_io::namespace::Namespace;

/// A new namespace. Where the machine does not give one, the test is skipped with the reason
/// printed; under `CI=true` it fails.
#[allow(clippy::print_stdout, reason = "says why a test did not run")]
pub(crate) fn namespace() -> Option<Namespace> {
    match Namespace::new() {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            let reason = format!("no network namespace ({error}): run this test as root");
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "{reason}"
            );
            println!("skipped: {reason}");
            None
        }
    }
}
