//! The local API: JSON over a unix socket between the gateway and the command line.
