//! What all nodes have in common.

use super::field::whole;
use super::{Field, Form, Head, Invalid};
use model::{Cluster, Edit, Secret, Settings};

/// The form of the `cluster` section.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterForm {
    pub(crate) head: Head,
    base: Option<Cluster>,
    pub(crate) name: Field,
    pub(crate) floating_ip: Field,
    pub(crate) gateway: Field,
    pub(crate) dns: Field,
    pub(crate) ntp: Field,
    pub(crate) maxconn: Field,
    pub(crate) key: Field,
}

impl Form for ClusterForm {
    type Part = Cluster;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("name", &mut self.name),
            ("floating_ip", &mut self.floating_ip),
            ("gateway", &mut self.gateway),
            ("dns", &mut self.dns),
            ("ntp", &mut self.ntp),
            ("maxconn", &mut self.maxconn),
            ("key", &mut self.key),
        ]
    }

    fn fill(&mut self, cluster: &Cluster) {
        self.name.set_option(cluster.name.as_ref());
        self.floating_ip.set_option(cluster.floating_ip);
        self.gateway.set_option(cluster.gateway);
        self.dns.set_list(&cluster.dns);
        self.ntp.set_list(&cluster.ntp);
        self.maxconn.set_option(cluster.maxconn);
        self.key.set(cluster.key.masked().reveal());
    }

    fn part(&self, settings: &Settings) -> Option<Cluster> {
        Some(settings.cluster.clone())
    }

    fn place(&self, _: &Settings) -> String {
        "cluster".to_owned()
    }

    fn start_from(&mut self, part: Option<Cluster>) {
        self.base = part;
    }
}

impl TryFrom<&mut ClusterForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut ClusterForm) -> Result<Self, Invalid> {
        let mut cluster = form.base.clone().unwrap_or_default();
        let name = form.name.optional();
        let floating_ip = form.floating_ip.optional();
        let gateway = form.gateway.optional();
        let (dns, ntp) = (form.dns.words(), form.ntp.words());
        let maxconn = match form.maxconn.value.trim() {
            "" => Some(None),
            _ => whole(&mut form.maxconn).map(Some),
        };
        cluster.key = Secret::new(form.key.value.trim());
        cluster.name = name.ok_or(Invalid)?;
        cluster.floating_ip = floating_ip.ok_or(Invalid)?;
        cluster.gateway = gateway.ok_or(Invalid)?;
        cluster.dns = dns.ok_or(Invalid)?;
        cluster.ntp = ntp.ok_or(Invalid)?;
        cluster.maxconn = maxconn.ok_or(Invalid)?;
        Ok(Self::PutCluster(cluster))
    }
}
