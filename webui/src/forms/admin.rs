//! The admin page's own settings.

use super::{Field, Form, Head, Invalid};
use model::{Admin, Edit, Settings};

/// The form of the `admin` section.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdminForm {
    pub(crate) head: Head,
    base: Option<Admin>,
    pub(crate) session_idle: Field,
    pub(crate) session_max: Field,
    pub(crate) hosts: Field,
    pub(crate) stats_uri: Field,
    pub(crate) stats_refresh: Field,
}

impl Form for AdminForm {
    type Part = Admin;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("session_idle", &mut self.session_idle),
            ("session_max", &mut self.session_max),
            ("hosts", &mut self.hosts),
            ("stats_uri", &mut self.stats_uri),
            ("stats_refresh", &mut self.stats_refresh),
        ]
    }

    fn fill(&mut self, admin: &Admin) {
        self.session_idle.set(admin.session_idle);
        self.session_max.set(admin.session_max);
        self.hosts.set_list(&admin.hosts);
        self.stats_uri.set_option(admin.stats_uri.as_ref());
        self.stats_refresh.set_option(admin.stats_refresh);
    }

    fn part(&self, settings: &Settings) -> Option<Admin> {
        Some(settings.admin.clone())
    }

    fn place(&self, _: &Settings) -> String {
        "admin".to_owned()
    }

    fn start_from(&mut self, part: Option<Admin>) {
        self.base = part;
    }
}

impl TryFrom<&mut AdminForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut AdminForm) -> Result<Self, Invalid> {
        let mut admin = form.base.clone().unwrap_or_default();
        let idle = form.session_idle.read();
        let max = form.session_max.read();
        let hosts = form.hosts.words();
        let uri = form.stats_uri.optional();
        let refresh = form.stats_refresh.optional();
        admin.session_idle = idle.ok_or(Invalid)?;
        admin.session_max = max.ok_or(Invalid)?;
        admin.hosts = hosts.ok_or(Invalid)?;
        admin.stats_uri = uri.ok_or(Invalid)?;
        admin.stats_refresh = refresh.ok_or(Invalid)?;
        Ok(Self::PutAdmin(admin))
    }
}
