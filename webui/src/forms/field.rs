//! One field of a form.

use crate::words::sentence;
use std::fmt::Display;
use std::str::FromStr;

/// What was typed, what is wrong with it, and what the settings say where that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) value: String,
    pub(crate) error: Option<String>,
    pub(crate) now: Option<String>,
}

/// Longest value a field takes.
const LONGEST: usize = 16 * 1024;

impl Field {
    pub(crate) fn set(&mut self, value: impl Display) {
        self.value = value.to_string();
    }

    pub(crate) fn set_option(&mut self, value: Option<impl Display>) {
        self.value = value.map(|v| v.to_string()).unwrap_or_default();
    }

    pub(crate) fn set_list<T: Display>(&mut self, values: impl IntoIterator<Item = T>) {
        let lines: Vec<_> = values.into_iter().map(|v| v.to_string()).collect();
        self.value = lines.join("\n");
    }

    pub(crate) fn set_on(&mut self, on: bool) {
        self.value = if on { "on".to_owned() } else { String::new() };
    }

    /// A ticked box.
    pub(crate) fn on(&self) -> bool {
        !self.value.is_empty()
    }

    /// Is this one of the chosen values?
    pub(crate) fn has(&self, choice: &str) -> bool {
        self.value.lines().any(|l| l == choice)
    }

    /// Puts an error here, after those that are here already.
    pub(crate) fn refuse(&mut self, problem: &str) {
        let problem = sentence(problem);
        match &mut self.error {
            Some(error) if !error.contains(&problem) => error.extend([" ", &problem]),
            Some(_) => {}
            None => self.error = Some(problem),
        }
    }

    /// A value that must be there.
    pub(crate) fn read<T: FromStr<Err: Display>>(&mut self) -> Option<T> {
        if self.value.trim().is_empty() {
            self.refuse("this is needed");
            return None;
        }
        let text = self.value.trim().to_owned();
        self.parse(&text)
    }

    /// A value that must be there, in which spaces at the ends count.
    pub(crate) fn read_as_typed<T: FromStr<Err: Display>>(&mut self) -> Option<T> {
        if self.value.is_empty() {
            self.refuse("this is needed");
            return None;
        }
        let text = self.value.clone();
        self.parse(&text)
    }

    /// A value that may be left out. The outer None is an error.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&mut self) -> Option<Option<T>> {
        if self.value.trim().is_empty() {
            return Some(None);
        }
        let text = self.value.trim().to_owned();
        self.parse(&text).map(Some)
    }

    /// Values one a line.
    pub(crate) fn lines<T: FromStr<Err: Display>>(&mut self) -> Option<Vec<T>> {
        self.many(|text| text.lines().map(str::to_owned).collect())
    }

    /// Values with commas or lines between them.
    pub(crate) fn entries<T: FromStr<Err: Display>>(&mut self) -> Option<Vec<T>> {
        self.many(|text| text.split(['\n', ',']).map(str::to_owned).collect())
    }

    /// Values with spaces, commas or lines between them.
    pub(crate) fn words<T: FromStr<Err: Display>>(&mut self) -> Option<Vec<T>> {
        self.many(|text| {
            text.split(|c: char| c.is_whitespace() || c == ',').map(str::to_owned).collect()
        })
    }

    fn many<T: FromStr<Err: Display>>(
        &mut self,
        split: impl Fn(&str) -> Vec<String>,
    ) -> Option<Vec<T>> {
        let texts = split(&self.value);
        let texts = texts.iter().map(|t| t.trim()).filter(|t| !t.is_empty());
        let read: Vec<Option<T>> = texts.map(|t| self.parse(t)).collect();
        read.into_iter().collect()
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, text: &str) -> Option<T> {
        if text.len() > LONGEST {
            self.refuse("this is far too long");
            return None;
        }
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(&T::Err::to_string(&error));
                None
            }
        }
    }
}

/// A whole number of a type that has no message of its own for the operator.
pub(crate) fn whole<T: TryFrom<u64>>(field: &mut Field) -> Option<T> {
    let text = field.value.trim().to_owned();
    let number = text.parse::<u64>().ok().and_then(|n| T::try_from(n).ok());
    if number.is_none() {
        field.refuse(&format!("{text:?} is no whole number that fits here"));
    }
    number
}
