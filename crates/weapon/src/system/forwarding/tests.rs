//! Parameters, in a folder that stands for `/proc/sys`.

use super::*;
use crate::system::table::tests::wanted as with;

/// A kernel with these parameters.
fn kernel(values: &[(&str, &str)]) -> (tempfile::TempDir, Parameters) {
    let folder = tempfile::tempdir().unwrap();
    for (key, value) in values {
        let path = folder.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }
    let parameters = Parameters::below(folder.path());
    (folder, parameters)
}

fn keys(settings: &[Setting]) -> Vec<(&str, &str)> {
    let settings = settings.iter();
    settings.map(|it| (it.key.as_str(), it.value)).collect()
}

#[test]
fn only_the_interfaces_in_question_forward() {
    let none = BTreeSet::new();
    let (_folder, parameters) = kernel(&[
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/lo/force_forwarding", "0"),
    ]);
    let ipv4 = [
        ("net/ipv4/conf/w-one/forwarding", "1"),
        ("net/ipv4/conf/eth1/forwarding", "1"),
    ];
    let ipv6 = [
        ("net/ipv6/conf/w-one/force_forwarding", "1"),
        ("net/ipv6/conf/eth1/force_forwarding", "1"),
    ];
    let settings = parameters.wanted(&with(&["10.1.0.0/24"], &[]), &none);
    assert_eq!(keys(&settings), ipv4);
    assert_eq!((settings[0].is_own, settings[1].is_own), (true, false));
    let both = with(&["10.1.0.0/24", "fd01::/64"], &[]);
    assert_eq!(
        keys(&parameters.wanted(&both, &none)),
        [ipv4, ipv6].concat()
    );
    // All forward already.
    parameters
        .write("net/ipv6/conf/all/forwarding", "1")
        .unwrap();
    assert_eq!(keys(&parameters.wanted(&both, &none)), ipv4);
}

/// Before Linux 6.17.
#[test]
fn an_old_kernel_heeds_its_routers_still() {
    let (_folder, parameters) = kernel(&[
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/all/accept_ra", "1"),
        ("net/ipv6/conf/eth0/accept_ra", "1"),
        ("net/ipv6/conf/eth1/accept_ra", "0"),
    ]);
    let wanted = with(&["fd01::/64"], &[]);
    let expected = [
        ("net/ipv6/conf/eth0/accept_ra", "2"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ];
    assert_eq!(
        keys(&parameters.wanted(&wanted, &BTreeSet::new())),
        expected
    );
    // Also when it is as it should be because we have made it so.
    for (key, value) in expected {
        parameters.write(key, value).unwrap();
    }
    let held = expected.map(|(key, _)| key.to_owned()).into();
    assert_eq!(keys(&parameters.wanted(&wanted, &held)), expected);
}

#[test]
fn what_may_not_be_written_is_named() {
    let (folder, parameters) = kernel(&[("net/ipv4/conf/eth1.7/forwarding", "0")]);
    assert_eq!(
        spelled("net/ipv4/conf/eth1.7/forwarding"),
        "net.ipv4.conf.eth1/7.forwarding"
    );
    // The interface is gone.
    parameters
        .write("net/ipv4/conf/eth2/forwarding", "1")
        .unwrap();
    // A folder cannot be written.
    let path = folder.path().join("net/ipv4/conf/eth1.7/forwarding");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = parameters
        .write("net/ipv4/conf/eth1.7/forwarding", "1")
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("sysctl -w net.ipv4.conf.eth1/7.forwarding=1"),
        "{text}"
    );
}
