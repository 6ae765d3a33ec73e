//! ECN in and out of the tunnel, against the tables of the module's documentation.

use etherparse::Ipv4HeaderSlice;
use weapon_wire::{
    Flow,
    ecn::{self, CE, ECT_0, ECT_1, NOT_ECT},
};

use crate::packets::Spec;

#[test]
fn p92_the_outer_packet_has_the_inner_ecn_and_no_dscp() {
    for (inner, outer) in [
        (NOT_ECT, NOT_ECT),
        (ECT_1, ECT_1),
        (ECT_0, ECT_0),
        (CE, ECT_0),
    ] {
        for dscp in 0..64 {
            assert_eq!(ecn::encapsulated(dscp << 2 | inner), outer);
        }
    }
}

/// What the inner packet says afterwards, by its own ECN (down) and the outer one (across).
const DECAPSULATED: [[u8; 4]; 4] = [
    //         not-ECT  ECT(1)   ECT(0)   CE
    /* not */
    [NOT_ECT, NOT_ECT, NOT_ECT, NOT_ECT],
    /* (1) */ [ECT_1, ECT_1, ECT_1, CE],
    /* (0) */ [ECT_0, ECT_1, ECT_0, CE],
    /* CE  */ [CE, CE, CE, CE],
];

#[test]
fn p92_the_mark_comes_into_the_inner_packet_and_nothing_else_does() {
    for (inner, row) in (0..).zip(DECAPSULATED) {
        for (outer, expected) in (0..).zip(row) {
            let dscps = (0..64).step_by(if cfg!(miri) { 21 } else { 1 });
            for (dscp, is_v6) in dscps.flat_map(|dscp| [(dscp, false), (dscp, true)]) {
                let spec = |ecn| Spec {
                    is_v6,
                    tos: dscp << 2 | ecn,
                    ..Spec::tcp(vec![1; 9])
                };
                let (mut packet, wanted) = (spec(inner).build(), spec(expected).build());
                let mut flow = Flow::parse(&packet).unwrap();
                // An outer DSCP is the network's own affair.
                ecn::decapsulate(0xb8 | outer, &mut packet, &mut flow);
                assert_eq!(packet, wanted, "inner {inner}, outer {outer}, v6 {is_v6}");
                assert_eq!(Flow::parse(&packet).unwrap(), flow);
                assert!(ecn::tells(outer) || packet == spec(inner).build());
            }
        }
    }
}

/// Every sum that a header may have; among them those around 0, which has two forms.
#[test]
fn p92_the_header_checksum_is_mended_and_a_wrong_one_stays_wrong() {
    let ids = (0..=u16::MAX).step_by(if cfg!(miri) { 5041 } else { 1 });
    for (id, ecn) in ids.flat_map(|id| [(id, ECT_0), (id, ECT_1)]) {
        let spec = Spec {
            id,
            tos: ecn,
            ..Spec::tcp(Vec::new())
        };
        let mut packet = spec.build();
        let mut flow = Flow::parse(&packet).unwrap();
        ecn::decapsulate(CE, &mut packet, &mut flow);
        let header = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());

        let mut wrong = spec.build();
        wrong[11] ^= 1;
        let mut flow = Flow::parse(&wrong).unwrap();
        ecn::decapsulate(CE, &mut wrong, &mut flow);
        let header = Ipv4HeaderSlice::from_slice(&wrong).unwrap().to_header();
        assert_ne!(header.header_checksum, header.calc_header_checksum());
    }
}
