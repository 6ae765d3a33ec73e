//! The running gateway: what `weapon up` starts.
