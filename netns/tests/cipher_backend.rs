//! A gateway runs the cipher that its configuration says, and talks to one that runs another.

use weapon_netns::{Pair, Weapon, ready};

#[test]
fn either_backend_talks_to_either_and_status_says_which_it_is() {
    if !ready(&[]) {
        return;
    }
    let mut shown = Vec::new();
    for backend in ["library", "auto"] {
        let pair = Pair::new();
        let other = pair.start_other();
        let text = pair
            .plan
            .toml()
            .lines()
            .filter(|line| !line.starts_with("cipher_backend"))
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        let setting = format!("[gateway]\ncipher_backend = \"{backend}\"\n");
        let text = text.replacen("[gateway]\n", &setting, 1);
        let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
        pair.one.ping("10.99.0.2");
        shown.push(one.status()["cipher"].clone());
        assert_eq!(other.stop().code(), Some(0));
    }
    assert_eq!(shown[0]["backend"], "library");
    assert_eq!(shown[0]["reason"], "the configuration says so");
    // Another machine may choose another: then there is nothing to explain.
    let explains = shown[1]["reason"].is_string();
    assert_eq!(explains, shown[1]["backend"] == "library", "{}", shown[1]);
}
