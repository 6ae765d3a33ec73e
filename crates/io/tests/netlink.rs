//! Netlink against the running kernel, each test in namespaces of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use weapon_io::namespace::Namespace;
use weapon_io::netlink::{
    LinkEvent, LinkMonitor, Netlink, NetlinkError, Route, RouteMonitor, block_on,
};

/// Runs `test` on a netlink connection in a fresh namespace.
fn in_namespace(test: impl AsyncFnOnce(&Netlink) -> Result<(), NetlinkError> + Send) {
    let Some(namespace) = support::namespace() else {
        return;
    };
    namespace.enter(|| block_on(test)).unwrap().unwrap();
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A veth pair with one end up and addressed.
async fn veth(netlink: &Netlink) -> Result<u32, NetlinkError> {
    netlink.add_veth("left", "right").await?;
    let (left, right) = (
        netlink.link("left").await?.index,
        netlink.link("right").await?.index,
    );
    netlink.set_up(left).await?;
    netlink.set_up(right).await?;
    Ok(left)
}

#[test]
fn fresh_namespace_has_loopback_alone() {
    in_namespace(async |netlink| {
        let links = netlink.links().await?;
        assert_eq!(links.len(), 1, "{links:?}");
        assert!(links[0].loopback && links[0].name == "lo" && !links[0].up);
        assert!(netlink.all_routes().await?.is_empty());
        assert!(netlink.connected_networks().await?.is_empty());
        Ok(())
    });
}

#[test]
fn mtu_and_flags() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        netlink.set_mtu(index, 1420).await?;
        let link = netlink.link("left").await?;
        assert_eq!((link.index, link.mtu, link.up), (index, 1420, true));
        netlink.set_down(index).await?;
        assert!(!netlink.link_by_index(index).await?.up);
        netlink.rename(index, "other").await?;
        assert_eq!(netlink.link_by_index(index).await?.name, "other");
        let refused = netlink.set_mtu(index, 1).await.unwrap_err();
        assert!(matches!(refused, NetlinkError::Refused { .. }), "{refused}");
        assert!(
            refused.to_string().starts_with("set MTU 1 on interface "),
            "{refused}"
        );
        Ok(())
    });
}

#[test]
fn an_interface_can_stay_without_link_local_address() {
    in_namespace(async |netlink| {
        netlink.add_veth("quiet", "far").await?;
        let index = netlink.link("quiet").await?.index;
        let far = netlink.link("far").await?.index;
        netlink.no_link_local(index).await?;
        netlink.set_segments_max(index, 128).await?;
        netlink.set_up(index).await?;
        netlink.set_up(far).await?;
        // The kernel gives one by itself as soon as it has seen the carrier.
        while netlink.addresses(far).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(netlink.addresses(index).await?.is_empty());
        Ok(())
    });
}

#[test]
fn addresses_of_both_families() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        for address in ["10.99.0.1/24", "10.99.7.1/32", "fd99::1/64"] {
            netlink.add_address(index, net(address)).await?;
            let again = netlink.add_address(index, net(address)).await.unwrap_err();
            assert!(again.is_exists(), "{again}");
        }
        let found = netlink.addresses(index).await?;
        assert!(found.contains(&net("10.99.0.1/24")) && found.contains(&net("fd99::1/64")));
        let connected = netlink.connected_networks().await?;
        assert!(
            connected.iter().any(|c| c.network() == net("10.99.0.0/24")),
            "{connected:?}"
        );
        assert!(connected.iter().all(|c| c.interface != 1), "{connected:?}");

        // Usable at once, without duplicate address detection.
        std::net::UdpSocket::bind("[fd99::1]:0").unwrap();

        for address in ["10.99.0.1/24", "fd99::1/64"] {
            netlink.delete_address(index, net(address)).await?;
            assert!(!netlink.addresses(index).await?.contains(&net(address)));
            let gone = netlink
                .delete_address(index, net(address))
                .await
                .unwrap_err();
            assert!(gone.is_not_found(), "{gone}");
        }
        assert!(netlink.addresses(4711).await?.is_empty());
        Ok(())
    });
}

#[test]
fn routes_of_both_families() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        netlink.add_address(index, net("10.99.0.1/24")).await?;
        netlink.add_address(index, net("fd99::1/64")).await?;
        let direct = [
            Route::new(net("172.18.0.0/16"), index),
            Route::new(net("fd18::/48"), index),
        ];
        let defaults = [
            Route::new(net("0.0.0.0/0"), index).via(ip("10.99.0.254")),
            Route::new(net("::/0"), index).via(ip("fd99::254")),
        ];
        for route in direct.iter().chain(&defaults) {
            netlink.add_route(route).await?;
            let again = netlink.add_route(route).await.unwrap_err();
            assert!(again.is_exists(), "{again}");
        }
        let found = netlink.routes(index).await?;
        for route in direct.iter().chain(&defaults) {
            let same =
                |r: &&Route| r.destination == route.destination && r.gateway == route.gateway;
            assert!(
                found.iter().any(|r| same(&r)),
                "{route} is not in {found:?}"
            );
        }
        assert!(netlink.routes(1).await?.is_empty());

        let path = netlink.path_to(ip("172.18.3.4"), None, 0).await?;
        assert_eq!((path.interface, path.gateway), (index, None));
        assert_eq!(path.source, Some(ip("10.99.0.1")));
        let path = netlink.path_to(ip("2001:db8::1"), None, 7).await?;
        assert_eq!(
            (path.interface, path.gateway),
            (index, Some(ip("fd99::254")))
        );

        for route in direct.iter().chain(&defaults) {
            netlink.delete_route(route).await?;
            let gone = netlink.delete_route(route).await.unwrap_err();
            assert!(gone.is_not_found(), "{gone}");
        }
        let unreachable = netlink
            .path_to(ip("172.18.3.4"), None, 0)
            .await
            .unwrap_err();
        assert!(
            unreachable.to_string().starts_with("look up the path to"),
            "{unreachable}"
        );
        Ok(())
    });
}

#[test]
fn host_bits_of_a_route_are_cleared() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        netlink.add_address(index, net("10.99.0.1/24")).await?;
        netlink
            .add_route(&Route::new(net("172.18.9.9/16"), index))
            .await?;
        let found = netlink.routes(index).await?;
        assert!(
            found.iter().any(|r| r.destination == net("172.18.0.0/16")),
            "{found:?}"
        );
        Ok(())
    });
}

#[test]
fn unknown_interface_is_named() {
    in_namespace(async |netlink| {
        let error = netlink.link("nonesuch").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "look up interface \"nonesuch\": there is no such thing"
        );
        assert!(netlink.delete_link(4711).await.unwrap_err().is_not_found());
        Ok(())
    });
}

#[test]
fn without_privilege_the_error_says_so() {
    in_namespace(async |netlink| {
        // Capabilities belong to the thread; this one ends with the test.
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        let index = netlink.link("lo").await?.index;
        rustix::thread::set_capabilities(None, none).unwrap();
        let error = netlink.set_up(index).await.unwrap_err();
        assert!(
            matches!(error, NetlinkError::NotPermitted { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        Ok(())
    });
}

/// The next event, or a failure: the kernel sends them at once.
async fn event(monitor: &mut LinkMonitor) -> Option<LinkEvent> {
    let next = tokio::time::timeout(Duration::from_secs(5), monitor.next());
    next.await.expect("an event within five seconds")
}

#[test]
fn route_monitor_tells_of_changes() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        let mut monitor = RouteMonitor::open(index)?;
        let second = Duration::from_secs(1);
        netlink
            .add_address(index, "192.0.2.1/24".parse().unwrap())
            .await?;
        let network = "198.51.100.0/24".parse().unwrap();
        netlink.add_route(&Route::new(network, index)).await?;
        let told = tokio::time::timeout(5 * second, monitor.changed()).await;
        told.expect("word of the change");
        let elsewhere = netlink.link("right").await?.index;
        let mut other_monitor = RouteMonitor::open(elsewhere)?;
        netlink
            .delete_address(index, "192.0.2.1/24".parse().unwrap())
            .await?;
        let told = tokio::time::timeout(5 * second, monitor.changed()).await;
        let change = told.expect("word of the next change");
        assert!(change.through_interface, "the network of the address");
        let told = tokio::time::timeout(5 * second, other_monitor.changed()).await;
        let change = told.expect("word for another monitor");
        assert!(!change.through_interface, "through another interface");
        Ok(())
    });
}

#[test]
fn monitor_tells_what_happens() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        let mut monitor = LinkMonitor::open(index).await?;
        let right = netlink.link("right").await?.index;
        netlink.set_mtu(right, 1300).await?; // of no interest
        netlink.set_down(index).await?;
        assert_eq!(event(&mut monitor).await, Some(LinkEvent::Up(false)));
        netlink.set_up(index).await?;
        assert_eq!(event(&mut monitor).await, Some(LinkEvent::Up(true)));
        netlink.set_mtu(index, 1280).await?;
        assert_eq!(event(&mut monitor).await, Some(LinkEvent::Mtu(1280)));
        assert_eq!(monitor.link().mtu, 1280);

        // Into a bridge and out again: it stays, though the bridge says that it is deleted.
        let bridge = netlink.add_bridge("bridge").await?;
        netlink.enslave(index, bridge).await?;
        netlink.enslave(index, 0).await?;
        netlink.delete_link(index).await?;
        let mut last = event(&mut monitor).await;
        while last == Some(LinkEvent::Up(true)) || last == Some(LinkEvent::Up(false)) {
            last = event(&mut monitor).await; // deletion begins by setting the interface down
        }
        assert_eq!(last, Some(LinkEvent::Deleted));
        assert_eq!(event(&mut monitor).await, None);
        Ok(())
    });
}

#[test]
fn monitor_of_nothing_is_an_error() {
    in_namespace(async |_| {
        assert!(LinkMonitor::open(4711).await.unwrap_err().is_not_found());
        Ok(())
    });
}

#[test]
fn monitor_sees_a_move_to_another_namespace_as_deletion() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        let mut monitor = LinkMonitor::open(index).await?;
        netlink.set_down(index).await?;
        assert_eq!(event(&mut monitor).await, Some(LinkEvent::Up(false)));
        netlink.move_link(index, Namespace::new().unwrap()).await?;
        assert_eq!(event(&mut monitor).await, Some(LinkEvent::Deleted));
        Ok(())
    });
}

#[test]
fn monitor_loses_nothing_in_a_flood() {
    in_namespace(async |netlink| {
        let index = veth(netlink).await?;
        let mut monitor = LinkMonitor::open(index).await?;
        // Far more than a socket's buffer holds, while nobody reads: this runtime has one thread,
        // but the awaits below let the connection's task run, so block it out entirely.
        std::thread::scope(|scope| {
            let here = Namespace::current().unwrap();
            scope.spawn(move || {
                here.enter(|| {
                    block_on(async |other| {
                        for round in 0..3000 {
                            other.set_mtu(index, 1280 + round % 100).await?;
                        }
                        other.set_mtu(index, 1111).await?;
                        other.delete_link(index).await
                    })
                })
            });
        });
        let mut events = Vec::new();
        while let Some(event) = event(&mut monitor).await {
            events.push(event);
        }
        assert_eq!(events.last(), Some(&LinkEvent::Deleted));
        Ok(())
    });
}

#[test]
fn two_namespaces_joined_by_a_bridge() {
    let (Some(here), Ok(there)) = (support::namespace(), Namespace::new()) else {
        return;
    };
    let there_fd = &there;
    here.enter(|| {
        block_on(async |netlink| {
            let bridge = netlink.add_bridge("br0").await?;
            netlink.add_address(bridge, net("172.17.0.1/16")).await?;
            netlink.add_veth("port", "eth0").await?;
            let port = netlink.link("port").await?.index;
            netlink.enslave(port, bridge).await?;
            netlink.set_up(port).await?;
            netlink
                .move_link(netlink.link("eth0").await?.index, there_fd)
                .await?;
            assert!(netlink.link("eth0").await.unwrap_err().is_not_found());
            assert_eq!(netlink.link("port").await?.controller, Some(bridge));
            Ok(())
        })
    })
    .unwrap()
    .unwrap();
    there
        .enter(|| {
            block_on(async |netlink| {
                let eth0 = netlink.link("eth0").await?.index;
                netlink.add_address(eth0, net("172.17.0.2/16")).await?;
                netlink.set_up(eth0).await
            })
        })
        .unwrap()
        .unwrap();

    // TCP through it: the listener's socket stays where it was opened.
    let listener = here
        .enter(|| std::net::TcpListener::bind("172.17.0.1:7000").unwrap())
        .unwrap();
    let answering = std::thread::spawn(move || listener.accept().unwrap().1);
    let peer: std::net::SocketAddr = "172.17.0.1:7000".parse().unwrap();
    there
        .enter(|| std::net::TcpStream::connect_timeout(&peer, Duration::from_secs(5)).unwrap())
        .unwrap();
    assert_eq!(answering.join().unwrap().ip(), ip("172.17.0.2"));
}
