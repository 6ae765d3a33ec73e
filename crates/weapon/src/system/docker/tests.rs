//! Docker's rules are recognised.

use super::*;
use crate::system::table::tests::wanted;

#[test]
fn only_where_docker_is_there_are_rules() {
    let wanted = wanted(&["172.17.0.0/16"], &["172.18.0.0/16"]);
    let without = Saved::parse("iptables", "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
    assert_eq!(rules(&wanted, &without), []);
    let before_28 = "*filter\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\nCOMMIT\n";
    let saved = Saved::parse("iptables", before_28);
    let commands = |saved: &Saved| -> Vec<String> {
        rules(&wanted, saved).iter().map(Rule::command).collect()
    };
    let both = [
        "iptables -t filter -I DOCKER-USER -i w-one -m comment --comment \"weapon w-one: from \
         peers to what lies behind this gateway\" -j ACCEPT",
        "iptables -t filter -I DOCKER-USER -o w-one -m comment --comment \"weapon w-one: from \
         what lies behind this gateway to peers\" -j ACCEPT",
    ];
    assert_eq!(commands(&saved), both);
    // Drops for other addresses, and rules that only look like Docker's, change nothing.
    let raw = |rule: &str| {
        let text = format!("{before_28}*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        Saved::parse("iptables", &text)
    };
    for rule in [
        "-A PREROUTING -d 172.19.0.2/32 ! -i br-7 -j DROP",
        "-A PREROUTING -d 172.17.0.2/32 -i br-7 -j DROP",
        "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j ACCEPT",
        "-A PREROUTING -d nonsense ! -i docker0 -j DROP",
    ] {
        assert_eq!(commands(&raw(rule)), both, "{rule}");
    }
    for rule in [
        "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP",
        "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DROP",
    ] {
        let all = commands(&raw(rule));
        let expected = "iptables -t raw -I PREROUTING -d 172.17.0.0/16 -i w-one -m comment \
                        --comment \"weapon w-one: from peers to containers of 172.17.0.0/16\" -j \
                        ACCEPT";
        assert_eq!(all[2..], [expected], "{rule}");
    }
}
