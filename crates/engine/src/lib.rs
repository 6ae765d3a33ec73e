//! Threads that give the gateway its packets, its clock and its randomness.
