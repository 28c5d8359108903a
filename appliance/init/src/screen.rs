//! What stands on the screen of a board that has one: how to reach it, and what is wrong.

use crate::channel::Setup;
use qrcode::{Color, EcLevel, QrCode};
use std::net::IpAddr;

/// The admin page's port.
const PORT: u16 = 1936;
/// Light modules around a code, for readers that need them. Two do where four are asked for: the
/// screen around is dark, but phones were read with less.
const QUIET: usize = 2;

/// Everything that is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The board's model.
    pub board: String,
    /// Version of the firmware.
    pub version: String,
    /// The host name.
    pub host_name: String,
    /// Addresses with their interface.
    pub addresses: Vec<(String, IpAddr)>,
    /// The setup access point while it is up.
    pub setup: Option<Setup>,
    /// What the appliance process adds.
    pub lines: Vec<String>,
    /// Whatever is wrong.
    pub problems: Vec<String>,
}

impl Screen {
    /// The lines of a text screen of this size; at most `rows` of at most `columns` characters.
    #[must_use]
    pub fn render(&self, columns: usize, rows: usize) -> Vec<String> {
        let code = self.setup.as_ref().map_or_else(Vec::new, wifi_code);
        let code_width = code.first().map_or(0, |line| line.chars().count());
        let beside = columns.saturating_sub(code_width + 2);
        // A code that leaves no room for words, or is cut off, helps nobody.
        let code = if beside < 30 || code.len() > rows { Vec::new() } else { code };
        let mut lines = Vec::new();
        for paragraph in self.paragraphs() {
            let width = if lines.len() < code.len() { beside } else { columns };
            wrap(&plain(&paragraph), width.saturating_sub(1), &mut lines);
        }
        if lines.len() > rows {
            lines.truncate(rows.saturating_sub(1));
            lines.push("(more on the admin page)".into());
        }
        let tall = lines.len().max(code.len());
        (0..tall)
            .map(|row| {
                let text = lines.get(row).map_or("", String::as_str);
                match code.get(row) {
                    Some(code) => {
                        format!(" {text:<width$} {code}", width = beside.saturating_sub(1))
                    }
                    None if text.is_empty() => String::new(),
                    None => format!(" {text}"),
                }
            })
            .map(|line| line.chars().take(columns).collect())
            .collect()
    }

    /// The same in a few lines, for the serial console.
    #[must_use]
    pub fn brief(&self) -> Vec<String> {
        let mut lines = self.reach();
        if let Some(setup) = &self.setup {
            lines.push(format!(
                "setup: Wi-Fi {}, passphrase {}, {}",
                setup.ssid, setup.passphrase, setup.url
            ));
        }
        lines.iter().map(|line| plain(line)).collect()
    }

    fn paragraphs(&self) -> Vec<String> {
        let mut all = vec![format!("Bramble {} on {}", self.version, self.host_name)];
        all.push(self.board.clone());
        all.push(String::new());
        all.extend(self.reach());
        if let Some(setup) = &self.setup {
            all.push(String::new());
            all.push("Without a cable: join this Wi-Fi network with a phone".into());
            all.push(format!("  network     {}", setup.ssid));
            all.push(format!("  passphrase  {}", setup.passphrase));
            all.push(format!("  page        {}", setup.url));
        }
        if !self.lines.is_empty() {
            all.push(String::new());
            all.extend(self.lines.iter().cloned());
        }
        if !self.problems.is_empty() {
            all.push(String::new());
            all.extend(self.problems.iter().map(|problem| format!("! {problem}")));
        }
        all
    }

    fn reach(&self) -> Vec<String> {
        let pages: Vec<_> = self
            .addresses
            .iter()
            .map(|(interface, address)| match address {
                IpAddr::V4(v4) => format!("Admin page: http://{v4}:{PORT}/ ({interface})"),
                IpAddr::V6(v6) => format!("Admin page: http://[{v6}]:{PORT}/ ({interface})"),
            })
            .collect();
        if pages.is_empty() { vec!["No address yet.".into()] } else { pages }
    }
}

/// Letters, digits and signs that every console has; the rest, above all what steers a terminal,
/// becomes a question mark.
pub(crate) fn plain(text: &str) -> String {
    let known = |c: char| {
        matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}')
            || "\u{2580}\u{2584}\u{2588}".contains(c)
    };
    text.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// Breaks at blanks where there are any.
fn wrap(text: &str, width: usize, lines: &mut Vec<String>) {
    let width = width.max(10);
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let blank =
            rest.iter().take(width + 1).rposition(|c| *c == ' ').filter(|at| *at > width / 2);
        let cut = blank.unwrap_or(width);
        lines.push(rest.drain(..cut).collect());
        if blank.is_some() {
            rest.remove(0);
        }
    }
    lines.push(rest.into_iter().collect());
}

/// The code by which a phone joins the network, in half blocks: two modules a character, light on
/// the dark of the console.
fn wifi_code(setup: &Setup) -> Vec<String> {
    let text = format!("WIFI:T:WPA;S:{};P:{};;", escaped(&setup.ssid), escaped(&setup.passphrase));
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        return Vec::new();
    };
    let (width, colors) = (code.width(), code.to_colors());
    let light = |row: usize, column: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => {
                colors.get(row * width + column).is_none_or(|color| *color == Color::Light)
            }
            _ => true,
        }
    };
    let side = width + 2 * QUIET;
    (0..side)
        .step_by(2)
        .map(|row| {
            (0..side)
                .map(|column| {
                    match (light(row, column), row + 1 < side && light(row + 1, column)) {
                        (true, true) => '\u{2588}',
                        (true, false) => '\u{2580}',
                        (false, true) => '\u{2584}',
                        (false, false) => ' ',
                    }
                })
                .collect()
        })
        .collect()
}

/// As the readers of these codes want it: `\`, `;`, `,`, `:` and `"` with a backslash before.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | ';' | ',' | ':' | '"') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen {
            board: "Raspberry Pi 3 Model B Plus Rev 1.3".into(),
            version: "0.1.0".into(),
            host_name: "web01".into(),
            addresses: vec![("eth0".into(), "192.168.1.11".parse().unwrap())],
            setup: Some(Setup {
                ssid: "Bramble-1A2B".into(),
                passphrase: "korn-blau-7714".into(),
                url: "http://192.168.19.36:1936/".into(),
            }),
            lines: vec!["Role: web server".into()],
            problems: vec![
                "The data partition could not be read. Settings live in memory and are \
                            lost when the power goes. Put in another card."
                    .into(),
            ],
        }
    }

    #[test]
    fn everything_fits_on_the_smallest_screen() {
        let lines = screen().render(80, 25);
        assert!(lines.len() <= 25, "{}", lines.join("\n"));
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
        let all = lines.join("\n");
        for part in [
            "Bramble 0.1.0 on web01",
            "http://192.168.1.11:1936/",
            "Bramble-1A2B",
            "korn-blau-7714",
            "Role: web server",
            "! The data partition",
            "\u{2588}\u{2588}",
        ] {
            assert!(all.contains(part), "{part}:\n{all}");
        }
    }

    #[test]
    fn too_many_problems_are_counted_on_the_page_only() {
        let mut screen = screen();
        screen.problems = (0..40).map(|n| format!("Problem {n}")).collect();
        let lines = screen.render(80, 25);
        assert_eq!(lines.len(), 25);
        assert!(lines[24].contains("more on the admin page"));
        assert!(screen.render(20, 5).len() <= 5);
        assert!(screen.render(0, 0).len() <= 1);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let mut screen = screen();
        screen.host_name = "a\x1b[2Jb\u{9b}c\nd\te\u{202e}".into();
        screen.lines = vec!["\x07\x7f\u{0}".into()];
        screen.setup.as_mut().unwrap().ssid = "x\x1b]0;y".into();
        for line in screen.render(120, 40).iter().chain(&screen.brief()) {
            assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        }
        assert_eq!(plain("G\u{fc}nter \u{1f980}"), "G\u{fc}nter ?");
    }

    #[test]
    fn without_an_address_it_says_so() {
        let empty = Screen::default();
        assert!(empty.brief() == ["No address yet."]);
        assert!(empty.render(80, 25).iter().any(|line| line.contains("No address yet.")));
        let six = Screen {
            addresses: vec![("eth0".into(), "fd00::1".parse().unwrap())],
            ..Screen::default()
        };
        assert_eq!(six.brief(), ["Admin page: http://[fd00::1]:1936/ (eth0)"]);
    }

    #[test]
    fn the_code_is_square_and_its_corners_are_finders() {
        let code = wifi_code(screen().setup.as_ref().unwrap());
        let width = code[0].chars().count();
        assert!(code.iter().all(|line| line.chars().count() == width));
        assert_eq!(code.len(), width.div_ceil(2));
        // Two quiet rows are one row of full blocks; then the finder's dark upper edge, seven
        // modules wide, above its light ring.
        assert!(code[0].chars().all(|c| c == '\u{2588}'));
        let row: String = code[1].chars().skip(2).take(7).collect();
        assert_eq!(row, " \u{2584}\u{2584}\u{2584}\u{2584}\u{2584} ");
        assert_eq!(escaped(r#"a;b\c:d"e,f"#), r#"a\;b\\c\:d\"e\,f"#);
    }

    #[test]
    fn words_are_kept_whole() {
        let mut lines = Vec::new();
        wrap("one two three four five", 12, &mut lines);
        assert_eq!(lines, ["one two", "three four", "five"]);
        lines.clear();
        wrap("abcdefghijklmnopqrstuvwxyz", 10, &mut lines);
        assert_eq!(lines, ["abcdefghij", "klmnopqrst", "uvwxyz"]);
    }
}
