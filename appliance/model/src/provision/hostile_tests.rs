//! Files that nobody means well with, and those that a bad card makes.

use super::tests::{GOOD, start};
use super::text_of;
use crate::{Settings, check};
use noise::Noise;

#[test]
fn depth_is_no_danger() {
    let deep =
        |prefix: &str, part: &str, end: &str| format!("{prefix}{}{end}", part.repeat(11_000));
    let texts = [
        deep("cluster", ".a", " = 1\n"),
        deep("x", ".a", " = 1\n"),
        deep("[vrrp", ".a", "]\n"),
        deep("[[sites", ".a", "]]\n"),
        deep("roles = ", "[", "\n"),
        deep("roles = [", "[],", "]\n"),
        deep("cluster = ", "{a=", "\n"),
        deep("", "a.b={", "\n"),
        deep("roles = ", "[\n", "\n"),
    ];
    for text in texts {
        let small = std::thread::Builder::new().stack_size(512 * 1024);
        small
            .spawn(move || survives(&format!("{text}host_name = \"x\"\n")))
            .unwrap()
            .join()
            .unwrap();
    }
}

fn survives(text: &str) {
    let (settings, after, digest, wrong) = start(text, &Settings::default(), "");
    assert_eq!(check(&settings), [], "{text:?}");
    let lines = u32::try_from(text.matches(['\n', '\r']).count()).unwrap() + 1;
    assert!(wrong.iter().all(|m| m.line <= lines && !m.text.is_empty()), "{text:?}: {wrong:?}");
    // A second start finds nothing to do, whatever the file is.
    let (again, same, ..) = start(&after, &settings, &digest);
    assert_eq!(again, settings, "{text:?}");
    assert_eq!(same, after, "{text:?}");
}

#[test]
fn random_bytes_are_survived() {
    let mut noise = Noise::new(0x1936_1936_1936);
    for _ in 0..600 {
        let length = noise.below(60);
        let bytes = noise.bytes(length);
        survives(&text_of(&bytes));
    }
    let tokens = [
        "[",
        "]",
        "[[",
        "wifi",
        ".",
        "=",
        "\"",
        "'",
        "\n",
        "\r",
        "\r\n",
        "#",
        "#|",
        "ssid",
        "x",
        " ",
        "\"\"\"",
        "{",
        "}",
        ",",
        "eth0",
        "address",
        "password",
        "\"correct horse battery\"",
        "1",
        "\u{feff}",
        "\u{fffd}",
        "\t",
        "cluster",
        "key",
        "networks",
    ];
    for _ in 0..600 {
        let length = noise.below(25);
        let text: String = (0..length).map(|_| *noise.pick(&tokens)).collect();
        survives(&text);
    }
}

#[test]
fn a_good_file_with_a_few_bytes_changed_is_survived() {
    let mut noise = Noise::new(0x36_1936);
    for _ in 0..600 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=noise.below(4) {
            let at = noise.below(bytes.len());
            match noise.below(3) {
                0 => bytes[at] = noise.byte(),
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, *noise.pick(b"\"'[]=\n#\\{},")),
            }
        }
        survives(&text_of(&bytes));
    }
}
