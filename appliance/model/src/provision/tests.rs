use super::*;
use crate::{MASK, NodeId, Role, Settings, check};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

pub(super) const GOOD: &str = r#"# my board
host_name = "web01"   # as on its label
roles = ["web", "balancer"]
password = "correct horse battery"
join_token = "T0KEN"

[eth0]
address = "192.168.1.10/24"
gateway = "192.168.1.1"
dns = ["192.168.1.1", "9.9.9.9"]

[wifi]
country = "GB"
ssid = "Home # sweet"
passphrase = 'pass\word'

[[wifi.networks]]
ssid = "Open"

[setup]
ssid = "Bramble-Desk"
passphrase = "under the desk"

[cluster]
floating_ip = "192.168.1.15/24"
key = "0123456789abcdef0123456789abcdef"

[[vrrp]]
name = "VI_1"
version = 2
auth_pass = "s3cret"
"#;

fn id() -> NodeId {
    "n-1".parse().unwrap()
}

/// Reads a file without mistakes.
fn good(text: &str) -> Provision {
    let (provision, mistakes) = read(text);
    assert_eq!(mistakes, []);
    provision
}

/// One start of the board: the new settings, the new file, what is remembered, what is wrong.
pub(super) fn start(
    text: &str,
    settings: &Settings,
    remembered: &str,
) -> (Settings, String, String, Vec<Mistake>) {
    let (file, mut mistakes) = read(text);
    let merged = file.fresh(remembered).edits(settings, &id());
    mistakes.extend(merged.mistakes);
    let done = Wipe {
        settings: &merged.settings,
        password_hash: Some(HASH),
        token_kept: true,
        mistakes: &mistakes,
    };
    let text = wiped(text, &done);
    let digest = read(&text).0.digest(&merged.refused);
    (merged.settings, text, digest, mistakes)
}

/// Every mistake as `line: text`.
fn mistakes(text: &str) -> Vec<String> {
    read(text).1.iter().map(|m| format!("{}: {}", m.line, m.text)).collect()
}

#[test]
fn a_good_file_says_everything() {
    let file = good(GOOD);
    assert_eq!(file.host_name().unwrap().as_str(), "web01");
    assert_eq!(file.password().unwrap().reveal(), "correct horse battery");
    assert_eq!(file.join_token().unwrap().reveal(), "T0KEN");
    assert_eq!(file.setup_ssid().unwrap().as_str(), "Bramble-Desk");
    assert_eq!(file.setup_passphrase().unwrap().reveal(), "under the desk");
    let merged = file.edits(&Settings::default(), &id());
    assert_eq!(merged.mistakes, []);
    let settings = merged.settings;
    assert_eq!(check(&settings), []);
    let node = settings.node(&id()).unwrap();
    assert_eq!(node.name.as_str(), "web01");
    assert!(node.is(Role::Web) && node.is(Role::Balancer));
    assert_eq!(node.eth0.address.unwrap().to_string(), "192.168.1.10/24");
    assert_eq!(node.eth0.gateway.unwrap().to_string(), "192.168.1.1");
    assert_eq!(settings.cluster.dns.len(), 2);
    assert_eq!(settings.cluster.floating_ip.unwrap().to_string(), "192.168.1.15/24");
    assert_eq!(settings.wifi.country.as_ref().unwrap().as_str(), "GB");
    let names: Vec<&str> = settings.wifi.networks.iter().map(|n| n.ssid.as_str()).collect();
    assert_eq!(names, ["Home # sweet", "Open"]);
    assert_eq!(settings.wifi.networks[0].passphrase.reveal(), r"pass\word");
    assert!(settings.wifi.networks[1].passphrase.is_empty());
    assert_eq!(settings.vrrp[0].auth_pass.reveal(), "s3cret");
}

#[test]
fn no_secret_shows_when_it_is_printed() {
    let file = good(GOOD);
    let merged = file.edits(&Settings::default(), &id());
    let printed = format!("{file:?}{merged:?}");
    for secret in ["horse", "T0KEN", r"pass\\word", "under the desk", "0123456789abcdef", "s3cret"]
    {
        assert!(!printed.contains(secret), "{secret}");
    }
}

#[test]
fn the_template_says_nothing_and_every_line_of_it_works() {
    assert!(good(template()).is_empty());
    assert_eq!(
        wiped(
            template(),
            &Wipe {
                settings: &Settings::default(),
                password_hash: None,
                token_kept: false,
                mistakes: &[],
            }
        ),
        template()
    );
    for line in template().lines() {
        assert!(line.is_empty() || line.starts_with('#'), "{line}");
        assert!(line.len() <= 98, "{line}");
    }
    // Without the # in front of what is no prose, the file is right but for its empty values.
    let is_setting = |l: &str| {
        let l = l.trim_start_matches("# ");
        l.starts_with('[')
            || l.split_once(" = ").is_some_and(|(k, _)| {
                k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            })
    };
    let filled: String = template()
        .lines()
        .filter(|l| is_setting(l))
        .map(|l| {
            let value = if l.contains("key =") {
                "\"0123456789abcdef0123456789abcdef\""
            } else {
                "\"long enough\""
            };
            l.trim_start_matches("# ").replace("\"\"", value) + "\n"
        })
        .collect();
    let filled = filled.replacen("ssid = \"long enough\"", "ssid = \"first\"", 1);
    let file = good(&filled);
    let merged = file.edits(&Settings::default(), &id());
    assert_eq!(merged.mistakes, []);
    assert_eq!(merged.settings.wifi.networks.len(), 2);
    assert_eq!(filled.lines().count(), 27, "{filled}");
}

#[test]
fn what_was_used_is_taken_out_and_nothing_else_changes() {
    let (settings, text, _, wrong) = start(GOOD, &Settings::default(), "");
    assert_eq!(wrong, []);
    for secret in ["horse", "T0KEN", "pass", "0123456789abcdef", "s3cret"] {
        let gone = text
            .lines()
            .filter(|l| !l.starts_with("passphrase =") && !l.starts_with("password_hash"));
        assert!(
            !gone.clone().any(|l| l.contains(secret) && !l.contains("auth_pass")),
            "{secret}: {text}"
        );
    }
    assert!(text.contains(&format!("password_hash = \"{HASH}\"\n")));
    assert!(text.contains(&format!("join_token = \"{MASK}\"\n")));
    assert!(text.contains(&format!("\npassphrase = \"{MASK}\"\n\n[[wifi.networks]]")));
    assert!(text.contains(&format!("\nkey = \"{MASK}\"\n")));
    assert!(text.contains(&format!("\nauth_pass = \"{MASK}\"\n")));
    // The setup network's own stays readable for its owner.
    assert!(text.contains("passphrase = \"under the desk\""));
    assert!(text.contains("host_name = \"web01\"   # as on its label\n"));
    let untouched = |t: &str| -> Vec<String> {
        let secret = ["password", "join_token", "passphrase", "key", "auth_pass", "#|"];
        t.lines().filter(|l| !secret.iter().any(|s| l.starts_with(s))).map(str::to_owned).collect()
    };
    assert_eq!(untouched(GOOD), untouched(&text));
    assert!(
        text.starts_with("#| Bramble has read this file.\n#| Everything in it was taken over.\n")
    );
    // The settings keep what the file no longer says.
    let (again, same, _, wrong) = start(&text, &settings, "");
    assert_eq!((again, same, wrong), (settings, text, Vec::new()));
}

#[test]
fn an_unchanged_file_changes_nothing_and_does_not_undo_the_page() {
    let (mut settings, text, digest, _) = start(GOOD, &Settings::default(), "");
    settings.cluster.dns.clear();
    settings.wifi.networks.remove(0);
    settings.nodes[0].name = "renamed".parse().unwrap();
    let (after, same, same_digest, wrong) = start(&text, &settings, &digest);
    assert_eq!(after, settings);
    assert_eq!((same.as_str(), same_digest.as_str()), (text.as_str(), digest.as_str()));
    assert_eq!(wrong, []);
    // Only what is changed in the file counts again.
    let edited = text.replace("roles = [\"web\", \"balancer\"]", "roles = [\"web\"]");
    let (after, ..) = start(&edited, &settings, &digest);
    assert!(!after.nodes[0].is(Role::Balancer));
    assert_eq!(after.nodes[0].name.as_str(), "renamed");
    assert!(after.cluster.dns.is_empty());
}

#[test]
fn a_new_secret_over_the_stand_in_is_new() {
    let (settings, text, digest, _) = start(GOOD, &Settings::default(), "");
    let nothing = read(&text).0.fresh(&digest);
    assert!(nothing.is_empty(), "{nothing:?}");
    let network =
        text.replacen(&format!("passphrase = \"{MASK}\""), "passphrase = \"new passphrase\"", 1);
    let (after, wiped, ..) = start(&network, &settings, &digest);
    assert_eq!(after.wifi.networks[0].passphrase.reveal(), "new passphrase");
    assert_eq!(wiped, text);
    // Forgotten passwords: the same one may be written again, too.
    let password = format!(
        "password = \"correct horse battery\"\n{}",
        text.split_once("[wifi]").unwrap().1.split_once("\n\n").unwrap().1
    );
    assert!(read(&password).0.fresh(&digest).password().is_some());
    let both = text.replace("password_hash", "password = \"another good one\"\npassword_hash");
    let (_, text_after, ..) = start(&both, &settings, &digest);
    assert!(
        !text_after.contains("another") && text_after.contains("# password = \"\"\n"),
        "{text_after}"
    );
    assert_eq!(text_after.matches("password_hash = ").count(), 1);
    assert!(good(&text_after).password_hash().is_some());
}

#[test]
fn the_hash_that_took_the_passwords_place_does_not_undo_the_page() {
    let text = "password = \"correct horse battery\"\n";
    let before = good(text).digest(&Provision::default());
    let (_, after, digest, _) = start(text, &Settings::default(), "");
    // Whether the board remembers the file as it was or as it is now.
    for remembered in [before.as_str(), digest.as_str()] {
        assert!(good(&after).fresh(remembered).password_hash().is_none());
        // The way back in for somebody who forgot the one chosen on the page.
        let again = format!("{text}{after}");
        assert!(read(&again).0.fresh(remembered).password().is_some());
    }
    // A board that was emptied takes it again.
    assert_eq!(good(&after).fresh("").password_hash(), Some(HASH));
    let other = after.replace("c2FsdHNhbHQ", "b3RoZXJzYWx0");
    assert!(good(&other).fresh(&digest).password_hash().is_some());
}

#[test]
fn nothing_of_a_secret_is_remembered() {
    let other = GOOD
        .replace("correct horse", "another horse")
        .replace("T0KEN", "N3KOT")
        .replace("pass\\word", "word\\pass")
        .replace("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210")
        .replace("s3cret", "t3rces");
    assert_ne!(good(GOOD), good(&other));
    let none = Provision::default();
    assert_eq!(good(GOOD).digest(&none), good(&other).digest(&none));
}

#[test]
fn a_secret_is_not_taken_out_before_it_is_kept() {
    let (file, _) = read(GOOD);
    assert!(file.password().is_some());
    let none = Wipe {
        settings: &Settings::default(),
        password_hash: None,
        token_kept: false,
        mistakes: &[],
    };
    let text = wiped(GOOD, &none);
    assert_eq!(
        text.lines().filter(|l| !l.starts_with("#|")).collect::<Vec<_>>(),
        GOOD.lines().collect::<Vec<_>>()
    );
    // Until they can be, they count at every start; everything else is known.
    let fresh = file.fresh(&file.digest(&Provision::default()));
    assert!(fresh.password().is_some() && fresh.host_name().is_none());
}

#[test]
fn the_stand_in_without_anything_kept_is_a_mistake() {
    let text = format!("[wifi]\nssid = \"Home\"\npassphrase = \"{MASK}\"\n");
    let (settings, after, digest, wrong) = start(&text, &Settings::default(), "");
    assert!(settings.wifi.networks.is_empty());
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].line, 2);
    assert!(wrong[0].text.contains("type it"), "{}", wrong[0]);
    assert!(after.contains("#|   line 8: "), "{after}");
    assert_eq!(after.lines().nth(7), Some("ssid = \"Home\""));
    // It is complained about at every start, in the same words.
    let (_, again, _, wrong) = start(&after, &settings, &digest);
    assert_eq!(again, after);
    assert_eq!(wrong[0].line, 8);
}

#[test]
fn each_mistake_has_its_line_and_a_sentence() {
    let cases: &[(&str, &str)] = &[
        ("host_name = web01", "between quotation marks"),
        ("host_name = \"web 01\"", "a host name is"),
        ("host_name = 5", "host_name is a text"),
        ("host_name = ", "no value behind ="),
        ("host_name = \"web01", "not closed"),
        ("host_name = 'web01", "not closed"),
        ("host_name: \"web01\"", "write = between"),
        ("host name = \"web01\"", "name in front of ="),
        ("hostname = \"web01\"", "did you mean host_name?"),
        ("Host-Name = \"web01\"", "did you mean host_name?"),
        ("colour = \"red\"", "there is no setting \"colour\""),
        ("host_name = \u{201c}web01\u{201d}", "plain quotation marks"),
        ("this is a sentence", "neither a comment"),
        ("host_name = \"a\\c\"", "backslash"),
        ("roles = [\"web\", \"cook\"]", "\"web\" or \"balancer\""),
        ("roles = 3", "roles is a list"),
        ("roles = [\"web\"", "list cannot be read"),
        ("password = \"short\"", "at least 10"),
        ("password = \"aaaaaaaaaaaaa\"", "repeated"),
        ("password = 1234567890", "password is a text"),
        ("password_hash = \"5f4dcc3b5aa765d61d8327deb882cf99\"", "no hash of a password"),
        ("password_hash = \"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\"", "no hash"),
        ("password_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ\"", "no hash"),
        ("join_token = \"a\\tb\"", "no join token"),
        ("eth0 = \"192.168.1.10/24\"", "write [eth0] on a line of its own"),
        ("eth0.address = \"192.168.1.10\"", "address with a prefix"),
        ("eth0.address = \"192.168.1.10/33\"", "/1 to /32"),
        ("eth0.gateway = \"router\"", "no address"),
        ("eth0.dns = [\"1.1.1.1\", \"x\"]", "no address"),
        ("eth0.dns = [\"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"1.1.1.4\"]", "at most 3"),
        ("eth0 = { address = \"dhcp\", gateway = \"192.168.1.1\" }", "leave the gateway out"),
        ("wlan0.dns = [\"1.1.1.1\"]", "write dns under [eth0]"),
        ("eth0.netmask = \"255.255.255.0\"", "there is no setting \"netmask\""),
        ("wifi.country = \"uk\"", "two capital letters"),
        ("wifi.networks = { ssid = \"Home\" }", "two brackets"),
        ("wifi.networks = [\"Home\"]", "[[wifi.networks]]"),
        ("wifi.passphrase = \"12345678\"", "needs its name"),
        ("wifi = { ssid = \"Home\", passphrase = \"1234567\" }", "8 to 63"),
        ("wifi = { ssid = \"Home\", hidden = \"yes\" }", "true or false"),
        ("wifi.ssid = \"\"", "1 to 32 bytes"),
        ("wifi.networks = [{ ssid = \"Home\", psk = \"x\" }]", "there is no setting \"psk\""),
        ("setup.passphrase = \"\"", "never open"),
        ("setup.passphrase = \"short\"", "8 to 63"),
        ("setup.password = \"x\"", "there is no setting \"password\""),
        ("cluster.floating_ip = \"192.168.1.15\"", "cluster.floating_ip: "),
        ("cluster.colour = \"red\"", "colour"),
        ("cluster = 5", "cluster"),
        ("sites = [{ port = 80 }]", "name = "),
        ("vrrp = [{ name = \"VI_1\", virtual_router_id = 300 }]", "vrrp[0].virtual_router_id"),
        ("host_name = \"caf\u{fffd}\"", "UTF-8"),
        ("host_name = \"a\"\u{a0}", "something stands behind it"),
        ("[eth0", "heading cannot be read"),
        ("roles = [[[[[[[[[[[[[[[[[[[[[[[[[[[", "too deep"),
        ("[eth0]]", "heading cannot be read"),
    ];
    for (line, words) in cases {
        // Right lines stand before and behind; they are used all the same.
        let text = "[setup]\nssid = \"Before\"\n[cluster]\nname = \"x\"\n";
        let text = format!("# 1\n\n{line}\n{text}");
        let (file, found) = read(&text);
        let here: Vec<&Mistake> = found.iter().filter(|m| m.line == 3).collect();
        assert!(here.iter().any(|m| m.text.contains(words)), "{line}: {found:?}");
        if !line.starts_with("setup") && !line.starts_with("cluster") {
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert_eq!(file.setup_ssid().map(|s| s.as_str()), Some("Before"), "{line}");
            let settings = file.edits(&Settings::default(), &id()).settings;
            assert!(settings.cluster.name.is_some(), "{line}");
        }
    }
}

#[test]
fn mistakes_name_no_secret() {
    let lines = [
        "password = hunter2hunter2",
        "password = \"hunter2",
        "password \"hunter2hunter2\"",
        "wifi = { ssid = \"x\", passphrase = \"hunter2\" }",
        "join_token = hunter2",
        "cluster.key = \"hunter2\"",
        "cluster.key = hunter2",
    ];
    for line in lines {
        let (file, found) = read(line);
        let merged = file.edits(&Settings::default(), &id());
        assert!(found.len() + merged.mistakes.len() >= 1, "{line}");
        for mistake in found.iter().chain(&merged.mistakes) {
            assert!(!mistake.text.contains("hunter2"), "{mistake}");
        }
    }
}

#[test]
fn many_mistakes_are_all_listed() {
    let text = "host_name = web01\npassword = \"short\"\n\n[eth0]\naddress = \"192.168.1.10/24\"\ngateway = 192.168.1.1\n[wlan0\naddress = \"10.0.0.1/8\"\n[eth0]\naddress = \"1.2.3.4/8\"\n[wifi]\nssid = \"Home\"\nssid = \"Other\"\npassphrase = \"long enough\n";
    let lines: Vec<u32> = read(text).1.iter().map(|m| m.line).collect();
    assert_eq!(lines, [1, 2, 6, 7, 9, 13, 14], "{:?}", mistakes(text));
    let settings = read(text).0.edits(&Settings::default(), &id()).settings;
    let node = settings.node(&id()).unwrap();
    assert_eq!(node.eth0.address.unwrap().to_string(), "192.168.1.10/24");
    assert_eq!(node.wlan0.address, None, "nothing under a broken heading counts");
    assert_eq!(settings.wifi.networks[0].ssid.as_str(), "Home");
}

#[test]
fn an_open_list_or_text_does_not_swallow_the_rest() {
    for open in ["roles = [\"web\",", "host_name = \"\"\"web", "host_name = '''web"] {
        let text = format!("{open}\n[setup]\nssid = \"Here\"\n");
        let (file, found) = read(&text);
        assert_eq!(file.setup_ssid().map(|s| s.as_str()), Some("Here"), "{open}: {found:?}");
        assert_eq!(found.iter().map(|m| m.line).collect::<Vec<_>>(), [1], "{found:?}");
    }
    let list = "roles = [\n  \"web\",\n  balancer,\n]\n[setup]\nssid = \"Here\"\n";
    let (file, found) = read(list);
    assert!(file.setup_ssid().is_some());
    assert_eq!(found.iter().map(|m| m.line).collect::<Vec<_>>(), [3], "{found:?}");
}

#[test]
fn windows_files_are_read_and_stay_what_they_are() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    let (settings, after, digest, wrong) = start(&text, &Settings::default(), "");
    assert_eq!(wrong, []);
    assert_eq!(settings, start(GOOD, &Settings::default(), "").0);
    assert!(after.starts_with("\u{feff}#| Bramble"), "{after}");
    assert!(
        after.lines().count() > 20 && after.matches('\n').count() == after.matches("\r\n").count()
    );
    assert!(!after.contains("horse"));
    let (_, again, ..) = start(&after, &settings, &digest);
    assert_eq!(again, after);
}

#[test]
fn utf_16_is_read_and_other_encodings_are_told() {
    let wide = |mark: [u8; 2], order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain("host_name = \"w\"\r\n".encode_utf16().flat_map(order)).collect()
    };
    for bytes in [wide([0xff, 0xfe], u16::to_le_bytes), wide([0xfe, 0xff], u16::to_be_bytes)] {
        assert_eq!(good(&text_of(&bytes)).host_name().unwrap().as_str(), "w");
    }
    let latin = b"# caf\xe9\nhost_name = \"w\" # \xfc\n[wifi]\nssid = \"caf\xe9\"\n";
    let (file, found) = read(&text_of(latin));
    assert!(file.host_name().is_some());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, 4);
    let (file, found) = read(&text_of(b"h\0o\0s\0t\0"));
    assert!(file.is_empty() && found[0].text.contains("save it again as UTF-8"), "{found:?}");
}

#[test]
fn a_huge_file_is_told_and_left_alone() {
    let text = "#\n".repeat(MAX_FILE);
    let (file, found) = read(&text);
    assert!(file.is_empty());
    assert!(found[0].text.contains("at most"), "{found:?}");
    assert_eq!(start(&text, &Settings::default(), "").1, text);
    let many = "nonsense\n".repeat(1000);
    let (_, found) = read(&many);
    assert!(found.len() < 50 && found.last().unwrap().text.contains("too much"), "{found:?}");
}

#[test]
fn what_the_settings_cannot_take_is_left_out_alone() {
    let mut settings = Settings::default();
    let other = read("host_name = \"web01\"\n[eth0]\naddress = \"192.168.1.10/24\"\n").0;
    settings = other.edits(&settings, &"n-0".parse().unwrap()).settings;
    let (mine, _) = GOOD.split_once("[cluster]").unwrap();
    let (after, text, _, wrong) = start(mine, &settings, "");
    assert_eq!(check(&after), []);
    let lines: Vec<u32> = wrong.iter().map(|m| m.line).collect();
    assert!(lines.contains(&2) && lines.contains(&8), "{wrong:?}");
    let node = after.node(&id()).unwrap();
    assert!(node.is(Role::Web));
    assert_eq!(node.eth0.address, None);
    assert_eq!(after.wifi.networks.len(), 2);
    assert!(text.contains("#| Not in use until it is mended:"));
    // Line numbers of the report are those of the file it stands in.
    for line in text.lines().filter_map(|l| l.strip_prefix("#|   line ")) {
        let (number, _) = line.split_once(':').unwrap();
        let told = text.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
        assert!(["host_name", "address"].iter().any(|k| told.starts_with(k)), "{told}");
    }
}

#[test]
fn whole_sections_are_merged_key_by_key() {
    let base = read(GOOD).0.edits(&Settings::default(), &id()).settings;
    let text = "[cluster]\nname = \"office\"\n[[sites]]\nname = \"default\"\nport = 8080\n[[vrrp]]\nname = \"VI_1\"\nvirtual_router_id = 77\n";
    let merged = good(text).edits(&base, &id());
    assert_eq!(merged.mistakes, []);
    let after = merged.settings;
    assert_eq!(after.cluster.name.as_ref().unwrap().as_str(), "office");
    assert_eq!(after.cluster.floating_ip, base.cluster.floating_ip);
    assert_eq!(after.cluster.key, base.cluster.key);
    assert_eq!(after.sites[0].port.get(), 8080);
    assert_eq!(after.vrrp.len(), 1);
    assert_eq!(after.vrrp[0].auth_pass.reveal(), "s3cret");
    assert_eq!(good(text).edits(&after, &id()).settings, after);
}

#[test]
fn a_whole_export_can_stand_in_the_file() {
    let settings = read(GOOD).0.edits(&Settings::default(), &id()).settings;
    let text = crate::to_toml(&settings);
    let merged = good(&text).edits(&Settings::default(), &id());
    assert_eq!(merged.mistakes, []);
    assert_eq!(merged.settings, settings);
}

#[test]
fn dhcp_takes_a_static_address_away() {
    let (own_address, _) = GOOD.split_once("[cluster]").unwrap();
    let base = good(own_address).edits(&Settings::default(), &id()).settings;
    let merged = good("[eth0]\naddress = \"dhcp\"\n").edits(&base, &id());
    let node = merged.settings.node(&id()).unwrap().clone();
    assert_eq!((node.eth0.address, node.eth0.gateway), (None, None));
    let moved = good("[eth0]\naddress = \"10.0.0.2/8\"\n").edits(&base, &id());
    assert_eq!(moved.mistakes, []);
    assert_eq!(moved.settings.node(&id()).unwrap().eth0.gateway, None);
}
