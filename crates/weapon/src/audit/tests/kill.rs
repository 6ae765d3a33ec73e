//! A writer that is killed at any moment: nothing that it has answered for is lost.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    thread,
};

use super::*;

const CHILD: &str = "WEAPON_TEST_AUDIT_LOG";

/// How often it is killed.
const KILLS: u64 = 25;

/// Not a test of its own: what is killed.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = Folder::open(Path::new(&path)).unwrap();
    let settings = Settings {
        seal_time: Duration::from_millis(3),
        file_bytes_max: 20_000,
        files_max: 100_000,
        ..settings()
    };
    let clock = Box::new(Moment::now);
    let mut writer = Writer::open(folder, settings, Also::default(), clock).unwrap();
    let mut number = writer.state().sequence * 1000;
    let mut out = std::io::stdout();
    loop {
        let entries = (0..3).map(|it| {
            Entry::new(Kind::FlowEnd)
                .with("number", number + it)
                .with("long", "x".repeat(300))
        });
        let state = writer.take(entries);
        assert_eq!(state.failing, None);
        number += 3;
        // What is said here is on the disk.
        writeln!(out, "acknowledged {}", number - 1).unwrap();
        out.flush().unwrap();
        writer.tick();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let home = Home::new();
    drop(home.open());
    let program = std::env::current_exe().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let mut child = Command::new(&program)
            .args(["--exact", "audit::tests::kill::child", "--nocapture"])
            .env(CHILD, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (begun, has_begun) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            while !text.contains("acknowledged") && out.read_line(&mut text).unwrap() != 0 {}
            let _ = begun.send(());
            out.read_to_string(&mut text).unwrap();
            text
        });
        // Some while they open the log, the others at any moment after that.
        if kill % 4 != 0 {
            has_begun.recv().unwrap();
        }
        thread::sleep(Duration::from_micros(kill * 7919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let text = reader.join().unwrap();
        let numbers = text.lines().filter_map(|line| {
            let number = line.split("acknowledged ").nth(1)?;
            number.parse::<u64>().ok()
        });
        acknowledged.extend(numbers);
    }
    drop(home.open());
    let verdict = home.verify();
    good(&verdict);
    let there: std::collections::BTreeSet<u64> = home
        .records()
        .iter()
        .filter_map(|it| it.number("number"))
        .collect();
    assert!(
        acknowledged.len() > KILLS as usize,
        "{}",
        acknowledged.len()
    );
    for number in acknowledged {
        assert!(there.contains(&number), "{number} is lost");
    }
    assert!(verdict.files > 1 && verdict.seals > 10, "{verdict:?}");
}
