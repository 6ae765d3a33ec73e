//! Links and machines that misbehave, each scenario in its short form. `cargo xtask chaos` does the
//! same for as long as the numbers want it.

use weapon_netns::chaos::expect_good;
use weapon_netns::ready;

/// A test for each scenario.
macro_rules! scenarios {
    ($($test:ident = $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                if ready(&["prlimit"]) {
                    expect_good($name);
                }
            }
        )*
    };
}

scenarios! {
    c01_twenty_percent_loss = "C01"
    c02_reordering_is_no_replay = "C02"
    c03_nothing_is_delivered_twice = "C03"
    c04_nothing_corrupt_is_delivered = "C04"
    c05_a_cut_link_recovers = "C05"
    c06_a_download_follows_the_address = "C06"
    c07_kill_9_of_either_side = "C07"
    c08_a_stopped_peer_recovers = "C08"
    c09_interface_changes_under_load = "C09"
    c10_deleted_at_any_moment = "C10"
    c11_refused_sends_lose_no_more = "C11"
    c12_no_descriptors_and_no_memory = "C12"
    c14_p74_a_flood_hurts_nobody_else = "C14"
    c15_a_thousand_peers_at_once = "C15"
    p64_recorded_packets_are_not_delivered = "P64"
}
