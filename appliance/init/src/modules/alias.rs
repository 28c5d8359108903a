//! Which modules a device asks for: its `MODALIAS` against the patterns of `modules.alias`.

/// The names of all modules whose pattern fits, each once, in the order of the file.
pub(crate) fn wanted<'a>(aliases: &'a str, modalias: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for line in aliases.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some("alias"), Some(pattern), Some(name)) =
            (words.next(), words.next(), words.next())
        {
            if !names.contains(&name) && fits(pattern.as_bytes(), modalias.as_bytes()) {
                names.push(name);
            }
        }
    }
    names
}

/// A shell pattern of `*`, `?` and `[...]`. `-` and `_` are the same to the module tools.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: one byte further for the star.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(_), Some(byte)) => one(&pattern[p..], *byte),
            (_, None) => return false,
            (None, Some(_)) => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                t = from + 1;
                retry = Some((after, t));
            }
            (None, None) => return false,
        }
    }
}

/// The length of the pattern's first element if the byte fits it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    let close = pattern.iter().position(|c| *c == b']');
    match (pattern.first()?, close) {
        (b'?', _) => Some(1),
        (b'[', Some(close)) => class(&pattern[1..close], byte).then_some(close + 1),
        (plain, _) => same(*plain, byte).then_some(1),
    }
}

fn class(mut set: &[u8], byte: u8) -> bool {
    while let Some(first) = set.first() {
        if let (Some(b'-'), Some(last)) = (set.get(1), set.get(2)) {
            if (*first..=*last).contains(&byte) {
                return true;
            }
            set = &set[3..];
        } else {
            if *first == byte {
                return true;
            }
            set = &set[1..];
        }
    }
    false
}

fn same(a: u8, b: u8) -> bool {
    let plain = |c: u8| if c == b'-' { b'_' } else { c };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: &str = "# Aliases extracted from modules themselves.
alias usb:v0BDAp8176d*dc*dsc*dp*icFFiscFFipFFin* rtl8192cu
alias usb:v0BDAp8176d*dc*dsc*dp*icFFiscFFipFFin* rtl8xxxu
alias usb:v0BDAp8176d*dc*dsc*dp*ic*isc*ip*in* rtl8192cu
alias sdio:c*v02D0dA9A6* brcmfmac
alias of:N*T*Cbrcm,bcm4329-fmacC* brcmfmac
alias usb:v0421p0510d0[0-8]* ranged
alias net-pf-38 af_alg
alias
alias lonely
";

    #[test]
    fn a_dongle_finds_every_driver_once() {
        let device = "usb:v0BDAp8176d0200dc00dsc00dp00icFFiscFFipFFin00";
        assert_eq!(wanted(ALIASES, device), ["rtl8192cu", "rtl8xxxu"]);
    }

    #[test]
    fn an_unknown_device_finds_none() {
        assert!(wanted(ALIASES, "usb:v1D6Bp0002d0612dc09dsc00dp01ic09isc00ip00in00").is_empty());
        assert!(wanted(ALIASES, "").is_empty());
        assert!(wanted("", "usb:v1").is_empty());
    }

    #[test]
    fn built_in_radio_by_bus_and_by_device_tree() {
        assert_eq!(wanted(ALIASES, "sdio:c00v02D0dA9A6"), ["brcmfmac"]);
        assert_eq!(wanted(ALIASES, "of:NwifiT(null)Cbrcm,bcm4329-fmacCx"), ["brcmfmac"]);
        assert_eq!(wanted(ALIASES, "net_pf_38"), ["af_alg"]);
    }

    #[test]
    fn classes() {
        for (version, fits) in [("00", true), ("08", true), ("09", false), ("18", false)] {
            let device = format!("usb:v0421p0510d{version}00dc");
            assert_eq!(!wanted(ALIASES, &device).is_empty(), fits, "{version}");
        }
        assert!(fits(b"[ab]x", b"bx"));
        assert!(!fits(b"[ab]x", b"cx"));
        assert!(fits(b"[open", b"[open"));
    }

    #[test]
    fn stars_step_back_but_not_for_ever() {
        assert!(fits(b"a*b*c", b"abxbyc"));
        assert!(!fits(b"a*b*c", b"abxbyd"));
        assert!(fits(b"*", b""));
        assert!(fits(b"**a", b"aa"));
        // A star steps over a byte at most once: this ends at once, not in 2^30 steps.
        let many = [b"*a".repeat(30), b"b".to_vec()].concat();
        assert!(!fits(&many, &b"a".repeat(3000)));
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut noise = noise::Noise::new(0x1234_5678);
        for _ in 0..20_000 {
            let mut bytes = [0_u8; 12];
            for byte in &mut bytes {
                *byte = *noise.pick(b"*?[]-ab_");
            }
            let _ = fits(&bytes[..8], &bytes[8..]);
        }
    }
}
