#![forbid(unsafe_code)]
//! A gateway without I/O: cryptokey routing, outbound and inbound path, gateway state machine.
