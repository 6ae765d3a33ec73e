//! The Debian package is installed, used, upgraded under a running download, removed and purged: on
//! a machine with systemd that is a throw-away copy of this one. Nothing of it is left but what a
//! person has written.

use std::collections::BTreeSet;
use std::time::Duration;

use weapon_netns::booted::{self, PROGRAMS, package};
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::{Booted, Footprint, Pair, ready};

const UNIT: &str = "weapon@one";

/// What dpkg, the user database and systemd write for themselves, whatever is installed.
const OF_OTHERS: [&str; 9] = [
    "/var/lib/dpkg/",
    "/var/cache/",
    "/var/lib/systemd/",
    "/var/tmp",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/.pwd.lock",
];

/// Everything in the package's name that is on the machine, and all users and groups.
#[track_caller]
fn traces(booted: &Booted) -> BTreeSet<String> {
    let paths = booted.changes().into_iter();
    let paths = paths.filter(|path| !OF_OTHERS.iter().any(|other| path.starts_with(other)));
    let more = [
        booted.run("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow"),
        booted.run(
            "find /run/weapon /run/wireguard /run/systemd/units /run/credentials -name *weapon*",
        ),
        booted.run("systemctl list-units --all --plain --no-legend weapon*"),
        booted.run("find /etc/systemd /usr/lib/systemd /usr/share /var/lib/weapon -name *weapon*"),
    ];
    let more = more.iter().flat_map(|text| text.lines()).map(str::to_owned);
    paths.chain(more).collect()
}

#[test]
fn installed_used_upgraded_and_purged_it_leaves_nothing() {
    if !ready(&[&PROGRAMS[..], &["dpkg", "dpkg-deb", "man"]].concat()) {
        return;
    }
    assert_eq!(booted::lacking(), None);
    let mut pair = Pair::new();
    let _other = pair.start_other();
    let booted = Booted::start(&pair.one);
    let footprint = Footprint::of(&pair.one);
    // The index of all manuals is made anew with each package, which takes long.
    booted.run("rm -f /var/lib/man-db/auto-update");
    // Made here, so that searching them is no error.
    booted.run("mkdir -p /run/weapon /run/wireguard /run/credentials /var/lib/weapon /etc/weapon");
    booted.run("mkdir -p /etc/systemd/system/multi-user.target.wants");
    let before = traces(&booted);

    let made = package(&booted.outside());
    let name = made
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let said = booted.run(&format!("dpkg --install /outside/{name}"));
    println!("{said}");
    // What came is what the list of files says, unchanged.
    assert_eq!(booted.run("dpkg --verify weapon"), "");
    let listed = booted.run("dpkg --listfiles weapon");
    for path in [
        "/usr/bin/weapon",
        "/usr/bin/weapon-wg",
        "/usr/lib/systemd/system/weapon@.service",
        "/usr/share/man/man1/weapon.1.gz",
        "/usr/share/man/man1/weapon-up.1.gz",
        "/usr/share/man/man1/weapon-wg.1.gz",
        "/usr/share/man/man5/weapon.toml.5.gz",
    ] {
        assert!(listed.lines().any(|it| it == path), "no {path}: {listed}");
    }
    manual_and_completions(&booted);

    // A person writes a configuration and a key, and starts the gateway for good.
    let key = booted.run("weapon genkey");
    pair.plan.private_key = key.trim().parse().expect("a key");
    let text = pair.plan.toml();
    let lines = text.lines().filter(|line| !line.starts_with("private_key"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.replacen("[gateway]", "[gateway]\nprivate_key_file = \"one.key\"", 1);
    booted.write("/etc/weapon/one.toml", &text, "644");
    booted.write("/etc/weapon/one.key", &key, "600");
    // The other side learns of the new key.
    let public = pair.plan.private_key.public();
    drop(_other);
    pair.other_plan.peers[0].public_key = public;
    let other = pair.start_other();
    booted.run(&format!("systemctl enable --now {UNIT}"));
    pair.one.ping("10.99.0.2");

    // The next version comes while something is downloaded.
    booted.sh(&format!(
        "cd /tmp && dpkg-deb --raw-extract /outside/{name} next &&
         sed -i 's/^Version: .*/Version: 99.0/' next/DEBIAN/control &&
         dpkg-deb -Znone --build next next.deb"
    ));
    let pid = booted.property(UNIT, "MainPID");
    let pace = Pace {
        bytes: None,
        pause: Duration::from_millis(1),
    };
    let stream = Stream::start(&pair.other, &pair.one, "10.99.0.1", pace);
    stream.expect_progress(1 << 20);
    println!("{}", booted.run("dpkg --install /tmp/next.deb"));
    stream.expect_progress(1 << 20);
    stream.finish();
    assert_ne!(booted.property(UNIT, "MainPID"), pid, "it was replaced");
    let journal = booted.journal(UNIT);
    assert!(
        journal.contains("the sockets were kept for us"),
        "{journal}"
    );
    let configuration = booted.run("cat /etc/weapon/one.toml");
    assert_eq!(configuration, text, "an upgrade leaves it alone");

    // Removed, it runs no more, and what it knows is kept for the next time.
    println!("{}", booted.run("dpkg --remove weapon"));
    assert_eq!(Footprint::of(&pair.one), footprint);
    booted.run("test ! -e /usr/bin/weapon");
    booted.run("test -e /var/lib/weapon/one.timestamp");

    println!("{}", booted.run("dpkg --purge weapon"));
    drop(other);
    // Also when no gateway ever ran.
    for line in [
        &format!("dpkg --install /outside/{name}"),
        "dpkg --install /tmp/next.deb",
        "dpkg --purge weapon",
    ] {
        booted.run(line);
    }
    booted.run("rm -r /tmp/next /tmp/next.deb");
    // What a person wrote is that person's.
    for path in ["/etc/weapon/one.toml", "/etc/weapon/one.key"] {
        booted.run(&format!("rm {path}"));
    }
    booted.run("mkdir -p /run/weapon /run/wireguard /var/lib/weapon /etc/weapon");
    let after = traces(&booted);
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// All pages are well formed, and the shells that are here take what is for them.
#[track_caller]
fn manual_and_completions(booted: &Booted) {
    let pages = booted.sh("ls /usr/share/man/man[15]/weapon*");
    assert!(pages.lines().count() > 10, "{pages}");
    for page in pages.lines() {
        let complaint = booted.sh(&format!(
            "LC_ALL=C.UTF-8 man --warnings -l {page} 2>&1 >/dev/null"
        ));
        assert_eq!(complaint, "", "{page}");
    }
    let up = booted.sh("man --pager=cat weapon-up");
    assert!(up.contains("--foreground"), "{up}");
    let file = booted.sh("man --pager=cat weapon.toml");
    assert!(file.contains("private_key_file"), "{file}");
    let completed = booted.command("bash").args(["-ec", BASH]).output();
    let completed = completed.expect("bash");
    let words = String::from_utf8_lossy(&completed.stdout);
    assert!(words.split_whitespace().any(|it| it == "reload"), "{words}");
}

/// Completes `weapon re`.
const BASH: &str = "
. /usr/share/bash-completion/completions/weapon
COMP_WORDS=(weapon re) COMP_CWORD=1
_weapon weapon re weapon
echo ${COMPREPLY[@]}
";
