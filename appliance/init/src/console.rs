//! Where process 1 speaks: the kernel's console, the kernel's log, and the screen.

use crate::screen::{Screen, plain};
use crate::system;
use nix::libc;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// A screen that does not tell its size.
const SMALLEST: (usize, usize) = (80, 25);

/// The places, each of which may be missing. None of them is waited for: a serial line of 11 KB
/// a second must not hold up process 1, so what does not fit is lost there.
#[derive(Debug, Default)]
pub(crate) struct Console {
    console: Option<File>,
    log: Option<File>,
    screen: Option<File>,
    /// The kernel's console is the screen: once it is drawn, lines would only disturb it.
    shared: bool,
    drawn: Vec<String>,
    brief: Vec<String>,
}

impl Console {
    /// Opens what there is.
    pub(crate) fn open() -> Self {
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let shared = active.split_ascii_whitespace().next_back() == Some("tty1");
        Self {
            console: terminal("/dev/console").ok(),
            log: File::options().write(true).open("/dev/kmsg").ok(),
            screen: terminal("/dev/tty1").ok(),
            shared,
            ..Self::default()
        }
    }

    /// A console that is a plain file, for running without a board.
    pub(crate) fn over(file: File) -> Self {
        Self { console: Some(file), ..Self::default() }
    }

    /// A line of process 1's own: to the console and into the kernel's log, where the page's
    /// journal and the record of a crash find it.
    pub(crate) fn say(&mut self, line: &str) {
        let line = plain(line);
        if let Some(log) = &mut self.log {
            // In one piece: every write is a record.
            let _ = log.write_all(format!("<6>bramble: {line}\n").as_bytes());
        }
        self.write(&format!("bramble: {line}\r\n"));
    }

    /// A line of a process that is watched: to the console only, it keeps a log of its own.
    pub(crate) fn pass_on(&mut self, line: &str) {
        self.write(&format!("{}\r\n", plain(line)));
    }

    fn write(&mut self, text: &str) {
        if self.shared && !self.drawn.is_empty() {
            return;
        }
        if let Some(console) = &mut self.console {
            let _ = console.write_all(text.as_bytes());
        }
    }

    /// Draws the screen if it has changed.
    pub(crate) fn show(&mut self, screen: &Screen) {
        let brief = screen.brief();
        if brief != self.brief {
            for line in &brief {
                self.pass_on(&format!("bramble: {line}"));
            }
            self.brief = brief;
        }
        let Some(terminal) = &mut self.screen else { return };
        let (columns, rows) = system::window_size(terminal).unwrap_or(SMALLEST);
        // The last line stays empty: a character in its last column would scroll the screen.
        let lines = screen.render(columns, rows.saturating_sub(1));
        if lines != self.drawn {
            let _ = terminal.write_all(drawing(&lines).as_bytes());
            self.drawn = lines;
        }
    }
}

/// UTF-8, no cursor, no blanking, then every line over the old one: no flicker.
fn drawing(lines: &[String]) -> String {
    let mut text = String::from("\x1b%G\x1b[?25l\x1b[9;0]\x1b[14;0]\x1b[H");
    for line in lines {
        text.push_str(line);
        text.push_str("\x1b[K\r\n");
    }
    text.push_str("\x1b[J");
    text
}

fn terminal(path: &str) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn lines_are_said_once_and_carry_no_controls() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = Console::over(file.try_clone().unwrap());
        console.say("a\x1b[2Jb");
        let screen = Screen::default();
        console.show(&screen);
        console.show(&screen);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bramble: a?[2Jb\r\nbramble: No address yet.\r\n");
    }

    #[test]
    fn a_drawing_covers_the_one_before() {
        let text = drawing(&["one".into(), String::new()]);
        assert!(text.contains("\x1b[Hone\x1b[K\r\n\x1b[K\r\n\x1b[J"));
    }
}
