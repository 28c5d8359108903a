//! What the web servers serve, and how it is mirrored.

use super::{Field, Form, Head, Invalid};
use model::{Edit, Settings, Site};

/// The form of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteForm {
    pub(crate) head: Head,
    base: Option<Site>,
    pub(crate) name: Field,
    pub(crate) hosts: Field,
    pub(crate) port: Field,
    pub(crate) index: Field,
    pub(crate) mirror: Field,
    pub(crate) origin: Field,
    pub(crate) exclude: Field,
    pub(crate) full_compare: Field,
}

impl Form for SiteForm {
    type Part = Site;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("name", &mut self.name),
            ("hosts", &mut self.hosts),
            ("port", &mut self.port),
            ("index", &mut self.index),
            ("mirror.enabled", &mut self.mirror),
            ("mirror.origin", &mut self.origin),
            ("mirror.exclude", &mut self.exclude),
            ("mirror.full_compare", &mut self.full_compare),
        ]
    }

    fn fill(&mut self, site: &Site) {
        self.name.set(&site.name);
        self.hosts.set_list(&site.hosts);
        self.port.set(site.port);
        self.index.set_list(&site.index);
        self.mirror.set_on(site.mirror.enabled);
        self.origin.set_option(site.mirror.origin.as_ref());
        self.exclude.set_list(&site.mirror.exclude);
        self.full_compare.set(site.mirror.full_compare);
    }

    fn part(&self, settings: &Settings) -> Option<Site> {
        settings.completed().sites.into_iter().find(|s| s.name.as_str() == self.name.value)
    }

    fn place(&self, settings: &Settings) -> String {
        let known = settings.sites.iter().position(|s| s.name.as_str() == self.name.value);
        format!("sites[{}]", known.unwrap_or(settings.sites.len()))
    }

    fn start_from(&mut self, part: Option<Site>) {
        self.base = part;
    }
}

impl TryFrom<&mut SiteForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut SiteForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.name.refuse("there is a site with this name already; choose another");
        }
        let mut site = form.base.clone().unwrap_or_default();
        let name = form.name.read();
        let hosts = form.hosts.words();
        let port = form.port.read();
        let index = form.index.words();
        let origin = form.origin.optional();
        let exclude = form.exclude.lines();
        let full_compare = form.full_compare.read();
        site.mirror.enabled = form.mirror.on();
        site.name = name.ok_or(Invalid)?;
        site.hosts = hosts.ok_or(Invalid)?;
        site.port = port.ok_or(Invalid)?;
        site.index = index.ok_or(Invalid)?;
        site.mirror.origin = origin.ok_or(Invalid)?;
        site.mirror.exclude = exclude.ok_or(Invalid)?;
        site.mirror.full_compare = full_compare.ok_or(Invalid)?;
        if form.name.error.is_some() {
            return Err(Invalid);
        }
        Ok(Self::PutSite(site))
    }
}
