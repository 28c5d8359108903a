//! As much of X.509 (RFC 5280 4.1) as is needed to say for which names and until when a
//! certificate is good. Whoever relies on a certificate's signature reads it with other means.

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The host names it is for, in lower case; `*.` stands for any one label.
    pub names: Vec<String>,
    /// Good from this second of 1970 on.
    pub not_before: i64,
    /// Good until this second of 1970.
    pub not_after: i64,
    /// Its issuer's common name or organisation, where it names one.
    pub issuer: Option<String>,
}

impl CertificateFacts {
    /// Whole days it is good for after `now` (seconds of 1970), negative when it is over. None
    /// where the clock was never set, as on boards without a clock chip.
    pub fn days_left(&self, now: i64) -> Option<i64> {
        const SET: i64 = 1_600_000_000;
        (now >= SET).then(|| (self.not_after - now).div_euclid(86_400))
    }

    /// It is over, or will be before somebody may look again.
    pub fn ends_soon(&self, now: i64) -> bool {
        const SOON: i64 = 14;
        self.days_left(now).is_some_and(|left| left < SOON)
    }
}

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OID: u8 = 0x06;
pub(super) const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the version, and `[3]`, the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];

/// Who a certificate is of and who has signed it, as the names stand in it; None for anything else.
pub(super) fn names(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut body = Reader(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    if body.peek() == Some(VERSION) {
        body.next()?;
    }
    let (_serial, _algorithm) = (body.next()?, body.next()?);
    let (_, issuer) = body.next()?;
    let _validity = body.next()?;
    let (_, subject) = body.next()?;
    Some((subject, issuer))
}

/// The common name, or else the organisation, in a name of [`names`].
pub(super) fn spoken(name: &[u8]) -> Option<String> {
    let name = Reader(name);
    attribute(name, COMMON_NAME).or_else(|| attribute(name, ORGANISATION))
}

/// Reads a certificate in DER; None for anything else.
pub(super) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let mut outside = Reader(der);
    let mut certificate = outside.inside(SEQUENCE)?;
    let mut body = certificate.inside(SEQUENCE)?;
    if body.peek() == Some(VERSION) {
        body.next()?;
    }
    let (_serial, _algorithm) = (body.next()?, body.next()?);
    let issuer = body.inside(SEQUENCE)?;
    let mut validity = body.inside(SEQUENCE)?;
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let subject = body.inside(SEQUENCE)?;
    let _key = body.next()?;
    let mut names = Vec::new();
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            names = alt_names(Reader(content).inside(SEQUENCE)?)?;
        }
    }
    if names.is_empty() {
        // RFC 9525 has browsers ignore it; older clients and devices of the house do not.
        names.extend(attribute(subject, COMMON_NAME).map(|n| n.to_ascii_lowercase()));
    }
    let issuer = spoken(issuer.0);
    Some(CertificateFacts { names, not_before, not_after, issuer })
}

fn alt_names(mut extensions: Reader<'_>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while let Some((tag, content)) = extensions.next() {
        let mut extension = Reader(content);
        if tag != SEQUENCE || extension.next()? != (OID, SUBJECT_ALT_NAME) {
            continue;
        }
        while let Some((tag, content)) = extension.next() {
            if tag != OCTETS {
                continue;
            }
            let mut all = Reader(content).inside(SEQUENCE)?;
            while let Some((tag, name)) = all.next() {
                if tag == DNS_NAME && name.is_ascii() {
                    names.push(std::str::from_utf8(name).ok()?.to_ascii_lowercase());
                }
            }
        }
    }
    Some(names)
}

/// The first value of an attribute in a distinguished name.
fn attribute(mut name: Reader<'_>, wanted: &[u8]) -> Option<String> {
    while let Some((tag, content)) = name.next() {
        let mut set = Reader(content);
        while let (SET, Some((_, pair))) = (tag, set.next()) {
            let mut pair = Reader(pair);
            if pair.next()? == (OID, wanted) {
                return Some(std::str::from_utf8(pair.next()?.1).ok()?.to_owned());
            }
        }
    }
    None
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and its content. Nothing where its length is a lie.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first & 0x7f);
        if first >= 0x80 {
            let (digits, behind) = rest.split_at_checked(length).filter(|_| length <= 3)?;
            length = digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            rest = behind;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    pub(super) fn inside(&mut self, wanted: u8) -> Option<Self> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| Self(content))
    }

    /// RFC 5280 4.1.2.5: always with seconds and in UTC.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |from: usize, len: usize| text.get(from..from + len)?.parse::<i64>().ok();
        let (year, at) = match (tag, text.len()) {
            (UTC_TIME, 12) => (number(0, 2).map(|y| if y < 50 { 2000 + y } else { 1900 + y })?, 2),
            (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
            _ => return None,
        };
        let of_day = number(at + 4, 2)? * 3600 + number(at + 6, 2)? * 60 + number(at + 8, 2)?;
        Some(days(year, number(at, 2)?, number(at + 2, 2)?) * 86_400 + of_day)
    }
}

/// Days from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29), 11_016);
        assert_eq!(days(2026, 11, 29), 20_786);
        let time = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend_from_slice(text.as_bytes());
            Reader(&der).time()
        };
        assert_eq!(time(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for bad in ["700101000001", "7001010000Z", "+00101000001Z", "", "Z"] {
            assert_eq!(time(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn days_that_are_left() {
        let facts = CertificateFacts { not_after: 1_800_000_000, ..CertificateFacts::default() };
        assert_eq!(facts.days_left(0), None);
        assert!(!facts.ends_soon(0));
        assert_eq!(facts.days_left(1_800_000_000 - 86_400 * 14), Some(14));
        assert!(!facts.ends_soon(1_800_000_000 - 86_400 * 14));
        assert!(facts.ends_soon(1_800_000_001 - 86_400 * 14));
        assert_eq!(facts.days_left(1_800_000_001), Some(-1));
    }

    #[test]
    fn whatever_is_cut_off_or_turned_over_is_read_without_a_fault() {
        let pem = include_str!("test.pem");
        let der = crate::certificate::Pem::read(pem).certificates().remove(0);
        let whole = facts(&der).unwrap();
        assert_eq!(whole.names, ["example.org", "*.example.org"]);
        assert_eq!(whole.issuer.as_deref(), Some("Bramble test"));
        assert_eq!(whole.not_after - whole.not_before, 3650 * 86_400);
        for end in 0..der.len() {
            assert_eq!(facts(&der[..end]), None);
        }
        for at in 0..der.len() {
            let mut bent = der.clone();
            bent[at] ^= 0xff;
            let _ = facts(&bent);
        }
    }
}
