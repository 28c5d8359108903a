//! A certificate with its chain and its key.

use super::{Field, Form, Head, Invalid};
use model::{Certificate, Edit, Pem, Settings, other_pem};

/// The form of one certificate. Its boxes are empty for one that is there: what is pasted
/// replaces it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateForm {
    pub(crate) head: Head,
    base: Option<Certificate>,
    pub(crate) name: Field,
    /// PEM; what belongs into the other box is found here as well.
    pub(crate) chain: Field,
    pub(crate) key: Field,
}

impl CertificateForm {
    /// Adds what an uploaded file says.
    pub(crate) fn add(&mut self, file: &str) {
        if !file.trim().is_empty() {
            self.chain.value.push('\n');
            self.chain.value.push_str(file);
        }
    }

    /// Says what an uploaded file is that is no PEM text.
    pub(crate) fn refuse_file(&mut self, for_key: bool, why: &str) {
        if for_key { self.key.refuse(why) } else { self.chain.refuse(why) }
    }

    /// What is shown again has no key in it: it would stand in the page for anybody to read.
    pub(crate) fn hide_key(&mut self) {
        let typed = [self.chain.value.as_str(), self.key.value.as_str()].join("\n");
        let pem = Pem::read(&typed);
        if pem.keys > 0 {
            self.chain.value = pem.chain;
            self.key.value = String::new();
            self.key.refuse("the key is not shown again; give it once more");
        }
    }
}

impl Form for CertificateForm {
    type Part = Certificate;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![("name", &mut self.name), ("chain", &mut self.chain), ("key", &mut self.key)]
    }

    fn fill(&mut self, certificate: &Certificate) {
        self.name.set(&certificate.name);
    }

    fn part(&self, settings: &Settings) -> Option<Certificate> {
        settings.certificates.iter().find(|c| c.name.as_str() == self.name.value).cloned()
    }

    fn place(&self, settings: &Settings) -> String {
        let mut all = settings.certificates.iter();
        let known = all.position(|c| c.name.as_str() == self.name.value);
        format!("certificates[{}]", known.unwrap_or(settings.certificates.len()))
    }

    fn compare(&mut self, current: Option<&Certificate>) {
        let text = match current {
            Some(_) => "Somebody else replaced this certificate meanwhile. Saving replaces theirs.",
            None => "Somebody else removed this certificate meanwhile. Saving brings it back.",
        };
        self.head.top.push(text.to_owned());
    }

    fn start_from(&mut self, part: Option<Certificate>) {
        self.base = part;
    }
}

impl TryFrom<&mut CertificateForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut CertificateForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.name.refuse("there is a certificate with this name already; choose another");
        }
        let name = form.name.read();
        let pem = Pem::read(&[form.chain.value.as_str(), form.key.value.as_str()].join("\n"));
        let old = form.base.as_ref();
        let other = other_pem(&[form.chain.value.as_str(), form.key.value.as_str()].join("\n"));
        // What is known already of a file is not said again in other words.
        let said = form.chain.error.is_some() || form.key.error.is_some();
        if !said && pem.chain.is_empty() && (old.is_none() || pem.keys == 0) {
            let plain =
                "paste the certificate: a text that begins with -----BEGIN CERTIFICATE-----";
            form.chain.refuse(other.unwrap_or(plain));
        }
        match (pem.keys, old) {
            (0, None) if !said => {
                let text =
                    "paste its private key: a text that begins with -----BEGIN PRIVATE KEY-----";
                form.key.refuse(text);
            }
            (0 | 1, _) => {}
            _ => form.key.refuse("there is more than one private key; give the certificate's own"),
        }
        if [&form.name, &form.chain, &form.key].iter().any(|f| f.error.is_some()) {
            return Err(Invalid);
        }
        let kept = old.cloned().unwrap_or_default();
        Ok(Self::PutCertificate(Certificate {
            name: name.ok_or(Invalid)?,
            // A renewal may keep the key, and a key may be put right alone.
            chain: if pem.chain.is_empty() { kept.chain } else { pem.in_order() },
            key: if pem.keys == 0 { kept.key } else { pem.key },
        }))
    }
}
