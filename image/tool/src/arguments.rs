//! Words of a command line: options with a value each, and the rest.

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug)]
pub(crate) struct Arguments {
    options: Vec<(String, String)>,
    rest: Vec<String>,
}

impl Arguments {
    pub(crate) fn read(words: Vec<String>, known: &[&str]) -> Result<Self> {
        let (mut options, mut rest) = (Vec::new(), Vec::new());
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if known.contains(&word.as_str()) {
                let value = words.next().with_context(|| format!("{word} needs a value"))?;
                options.push((word, value));
            } else if word.starts_with("--") {
                bail!("there is no option {word} here");
            } else {
                rest.push(word);
            }
        }
        Ok(Self { options, rest })
    }

    /// Every value of an option, in order.
    pub(crate) fn all(&mut self, option: &str) -> Vec<String> {
        let (found, others) =
            std::mem::take(&mut self.options).into_iter().partition(|(name, _)| name == option);
        self.options = others;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    pub(crate) fn optional(&mut self, option: &str) -> Result<Option<String>> {
        let mut values = self.all(option);
        ensure!(values.len() < 2, "{option} is there twice");
        Ok(values.pop())
    }

    pub(crate) fn one(&mut self, option: &str) -> Result<String> {
        self.optional(option)?.with_context(|| format!("{option} is missing"))
    }

    pub(crate) fn optional_number(&mut self, option: &str) -> Result<Option<u64>> {
        let Some(text) = self.optional(option)? else { return Ok(None) };
        Ok(Some(number(&text).with_context(|| format!("{option} {text} is no number"))?))
    }

    pub(crate) fn number(&mut self, option: &str) -> Result<u64> {
        self.optional_number(option)?.with_context(|| format!("{option} is missing"))
    }

    pub(crate) fn any(self) -> Vec<String> {
        self.rest
    }

    /// Exactly so many words that are no option.
    pub(crate) fn positional<const N: usize>(self) -> Result<[String; N]> {
        let found = self.rest.len();
        self.rest
            .try_into()
            .map_err(|_| anyhow::anyhow!("{N} file names are needed, {found} are there"))
    }
}

/// Decimal, or hexadecimal after `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
