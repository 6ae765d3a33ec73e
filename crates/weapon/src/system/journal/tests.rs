//! What was there comes back when nobody needs anything else any more.

use super::*;

const KEY: &str = "net/ipv4/conf/eth1/forwarding";

const NAMESPACE: &str = "4:1";

struct Machine {
    folder: tempfile::TempDir,
    parameters: Parameters,
    setting: Setting,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "0\n").unwrap();
        Self {
            parameters: Parameters::below(folder.path()),
            folder,
            setting: Setting {
                key: KEY.to_owned(),
                value: "1",
                is_own: false,
            },
        }
    }

    /// The journal, read anew.
    fn journal(&self) -> Journal {
        Journal::at(self.folder.path().join("system.journal")).unwrap()
    }

    fn set(&self, name: &str) {
        let mut journal = self.journal();
        journal
            .set((name, NAMESPACE), &self.setting, &self.parameters)
            .unwrap();
    }

    fn release(&self, name: &str) {
        let mut journal = self.journal();
        journal
            .release((name, NAMESPACE), &[], &self.parameters)
            .unwrap();
    }

    fn now(&self) -> String {
        self.parameters.read(KEY).unwrap()
    }

    fn write(&self, value: &str) {
        self.parameters.write(KEY, value).unwrap();
    }

    fn is_empty(&self) -> bool {
        !self.folder.path().join("system.journal").exists()
    }
}

#[test]
fn the_last_sets_it_back() {
    let machine = Machine::new();
    machine.set("one");
    machine.set("two");
    machine.set("two");
    assert_eq!((machine.now().as_str(), machine.is_empty()), ("1", false));
    machine.release("one");
    assert_eq!(machine.now(), "1");
    machine.release("two");
    assert_eq!((machine.now().as_str(), machine.is_empty()), ("0", true));
}

#[test]
fn what_was_right_before_stays() {
    let machine = Machine::new();
    machine.write("1");
    machine.set("one");
    assert!(machine.is_empty());
    machine.release("one");
    assert_eq!(machine.now(), "1");
}

#[test]
fn what_somebody_else_has_set_stays() {
    let machine = Machine::new();
    machine.set("one");
    machine.write("7");
    machine.release("one");
    assert_eq!((machine.now().as_str(), machine.is_empty()), ("7", true));
    // Its interface is gone.
    machine.set("one");
    fs::remove_dir_all(machine.folder.path().join("net")).unwrap();
    machine.release("one");
    assert!(machine.is_empty());
}

/// As Docker does when it starts.
#[test]
fn what_somebody_else_has_set_for_all_stays() {
    let machine = Machine::new();
    let all = machine.folder.path().join("net/ipv4/conf/all/forwarding");
    fs::create_dir_all(all.parent().unwrap()).unwrap();
    fs::write(&all, "0\n").unwrap();
    machine.set("one");
    machine.release("one");
    assert_eq!(machine.now(), "0");
    machine.set("one");
    fs::write(&all, "1\n").unwrap();
    machine.release("one");
    assert_eq!((machine.now().as_str(), machine.is_empty()), ("1", true));
}

#[test]
fn another_namespace_has_parameters_of_its_own() {
    let machine = Machine::new();
    machine.set("one");
    let mut journal = machine.journal();
    journal
        .set(("two", "4:2"), &machine.setting, &machine.parameters)
        .unwrap();
    assert_eq!(
        journal.held("two"),
        Vec::<String>::new(),
        "it was right there already"
    );
    journal
        .release(("one", "4:2"), &[], &machine.parameters)
        .unwrap();
    assert_eq!(journal.held("one"), [KEY]);
    journal.abandon("one");
    journal.save().unwrap();
    assert!(machine.is_empty());
}

#[test]
fn a_journal_that_cannot_be_read_is_an_empty_one() {
    let machine = Machine::new();
    fs::write(machine.folder.path().join("system.journal"), "nonsense").unwrap();
    let mut journal = machine.journal();
    assert!(journal.names().is_empty());
    journal.put(Entry {
        name: "one".to_owned(),
        ..Entry::default()
    });
    journal.save().unwrap();
    drop(journal);
    assert_eq!(machine.journal().names(), ["one"]);
}

#[test]
fn one_gateway_has_it_at_a_time_and_another_does_not_wait_for_ever() {
    let machine = Machine::new();
    let journal = machine.journal();
    let path = lock_path(&journal.path);
    let error = lock(&path, Duration::from_millis(50)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("system.lock locked for 0.05 s"), "{said}");
    drop(journal);
    assert!(!path.exists());
    machine.journal();
}

#[test]
fn what_cannot_be_read_is_not_forgotten() {
    let machine = Machine::new();
    let path = machine.folder.path().join("system.journal");
    fs::write(&path, "{\"gateways\":").unwrap();
    machine.journal().save().unwrap();
    let kept = path.with_extension("unreadable");
    assert_eq!(fs::read(kept).unwrap(), b"{\"gateways\":");
    fs::create_dir(&path).unwrap();
    let error = Journal::at(path).unwrap_err();
    assert!(
        format!("{error:#}").starts_with("cannot read "),
        "{error:#}"
    );
}
