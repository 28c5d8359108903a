//! The finer points of a backend's checks, limits and retries: part of its form.

use super::field::whole;
use super::{Field, Invalid};
use model::{Backend, Check, RetryOn};
use std::net::IpAddr;

/// The fields. What is left empty goes back to its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckFields {
    pub(crate) fastinter: Field,
    pub(crate) downinter: Field,
    pub(crate) timeout: Field,
    pub(crate) port: Field,
    pub(crate) http_method: Field,
    pub(crate) http_host: Field,
    pub(crate) expect_status: Field,
    pub(crate) expect_string: Field,
    pub(crate) dns_name: Field,
    pub(crate) dns_type: Field,
    pub(crate) dns_codes: Field,
    pub(crate) dns_address: Field,
    pub(crate) disable_on_404: Field,
    pub(crate) agent_port: Field,
    pub(crate) agent_inter: Field,
    pub(crate) shutdown_sessions: Field,
    pub(crate) observe: Field,
    pub(crate) error_limit: Field,
    pub(crate) on_error: Field,
    pub(crate) redispatch: Field,
    pub(crate) retry_on: Field,
    pub(crate) timeout_queue: Field,
    pub(crate) timeout_tunnel: Field,
    pub(crate) timeout_server_fin: Field,
    pub(crate) fullconn: Field,
    pub(crate) udp_responses: Field,
    pub(crate) udp_requests: Field,
}

impl CheckFields {
    pub(crate) fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("check.fastinter", &mut self.fastinter),
            ("check.downinter", &mut self.downinter),
            ("check.timeout", &mut self.timeout),
            ("check.port", &mut self.port),
            ("check.http_method", &mut self.http_method),
            ("check.http_host", &mut self.http_host),
            ("check.expect_status", &mut self.expect_status),
            ("check.expect_string", &mut self.expect_string),
            ("check.dns_name", &mut self.dns_name),
            ("check.dns_type", &mut self.dns_type),
            ("check.dns_codes", &mut self.dns_codes),
            ("check.dns_address", &mut self.dns_address),
            ("check.disable_on_404", &mut self.disable_on_404),
            ("check.agent_port", &mut self.agent_port),
            ("check.agent_inter", &mut self.agent_inter),
            ("check.shutdown_sessions", &mut self.shutdown_sessions),
            ("check.observe", &mut self.observe),
            ("check.error_limit", &mut self.error_limit),
            ("check.on_error", &mut self.on_error),
            ("redispatch", &mut self.redispatch),
            ("retry_on", &mut self.retry_on),
            ("timeout_queue", &mut self.timeout_queue),
            ("timeout_tunnel", &mut self.timeout_tunnel),
            ("timeout_server_fin", &mut self.timeout_server_fin),
            ("fullconn", &mut self.fullconn),
            ("udp_responses", &mut self.udp_responses),
            ("udp_requests", &mut self.udp_requests),
        ]
    }

    pub(crate) fn fill(&mut self, backend: &Backend) {
        let check = &backend.check;
        self.fastinter.set_option(check.fastinter);
        self.downinter.set_option(check.downinter);
        self.timeout.set_option(check.timeout);
        self.port.set_option(check.port);
        self.http_method.set(check.http_method);
        self.http_host.set_option(check.http_host.as_ref());
        self.expect_status.set_option(check.expect_status.as_ref());
        self.expect_string.set_option(check.expect_string.as_ref());
        self.dns_name.set_option(check.dns_name.as_ref());
        self.dns_type.set(check.dns_type);
        self.dns_codes.set_option(check.dns_codes.as_ref());
        self.dns_address.set_option(check.dns_address);
        self.disable_on_404.set_on(check.disable_on_404);
        self.agent_port.set_option(check.agent_port);
        self.agent_inter.set(check.agent_inter);
        self.shutdown_sessions.set_on(check.shutdown_sessions);
        self.observe.set_on(check.observe);
        self.error_limit.set(check.error_limit);
        self.on_error.set(check.on_error);
        self.redispatch.set_on(backend.redispatch);
        self.retry_on.value =
            backend.retry_on.iter().map(|r| r.keyword()).collect::<Vec<_>>().join(" ");
        self.timeout_queue.set_option(backend.timeout_queue);
        self.timeout_tunnel.set(backend.timeout_tunnel);
        self.timeout_server_fin.set_option(backend.timeout_server_fin);
        self.fullconn.set_option(backend.fullconn);
        self.udp_responses.set_option(backend.udp_responses);
        self.udp_requests.set(backend.udp_requests);
    }

    /// Has something gone wrong here?
    pub(crate) fn has_errors(&self) -> bool {
        let mut copy = self.clone();
        copy.fields().iter().any(|(_, f)| f.error.is_some() || f.now.is_some())
    }

    /// Reads everything, so that every fault is named.
    pub(crate) fn read(&mut self, backend: &mut Backend) -> Result<(), Invalid> {
        let plain = Check::default();
        let fastinter = self.fastinter.optional();
        let downinter = self.downinter.optional();
        let timeout = self.timeout.optional();
        let port = self.port.optional();
        let http_method = self.http_method.optional();
        let http_host = self.http_host.optional();
        let expect_status = self.expect_status.optional();
        let expect_string = self.expect_string.optional();
        let dns_name = self.dns_name.optional();
        let dns_type = self.dns_type.optional();
        let dns_codes = self.dns_codes.optional();
        let dns_address = read_address(&mut self.dns_address);
        let agent_port = self.agent_port.optional();
        let agent_inter = self.agent_inter.optional();
        let error_limit = match self.error_limit.value.trim() {
            "" => Some(plain.error_limit),
            _ => whole(&mut self.error_limit),
        };
        let on_error = self.on_error.optional();
        let retry_on = self.retry_on.words::<RetryOn>();
        let timeout_queue = self.timeout_queue.optional();
        let timeout_tunnel = self.timeout_tunnel.optional();
        let timeout_server_fin = self.timeout_server_fin.optional();
        let fullconn = match self.fullconn.value.trim() {
            "" => Some(None),
            _ => whole(&mut self.fullconn).map(Some),
        };
        let udp_responses = match self.udp_responses.value.trim() {
            "" => Some(None),
            _ => whole(&mut self.udp_responses).map(Some),
        };
        let udp_requests = match self.udp_requests.value.trim() {
            "" => Some(0),
            _ => whole(&mut self.udp_requests),
        };
        let check = &mut backend.check;
        check.disable_on_404 = self.disable_on_404.on();
        check.shutdown_sessions = self.shutdown_sessions.on();
        check.observe = self.observe.on();
        backend.redispatch = self.redispatch.on();
        check.fastinter = fastinter.ok_or(Invalid)?;
        check.downinter = downinter.ok_or(Invalid)?;
        check.timeout = timeout.ok_or(Invalid)?;
        check.port = port.ok_or(Invalid)?;
        check.http_method = http_method.ok_or(Invalid)?.unwrap_or_default();
        check.http_host = http_host.ok_or(Invalid)?;
        check.expect_status = expect_status.ok_or(Invalid)?;
        check.expect_string = expect_string.ok_or(Invalid)?;
        check.dns_name = dns_name.ok_or(Invalid)?;
        check.dns_type = dns_type.ok_or(Invalid)?.unwrap_or_default();
        check.dns_codes = dns_codes.ok_or(Invalid)?;
        check.dns_address = dns_address.ok_or(Invalid)?;
        check.agent_port = agent_port.ok_or(Invalid)?;
        check.agent_inter = agent_inter.ok_or(Invalid)?.unwrap_or(plain.agent_inter);
        check.error_limit = error_limit.ok_or(Invalid)?;
        check.on_error = on_error.ok_or(Invalid)?.unwrap_or_default();
        backend.retry_on = retry_on.ok_or(Invalid)?;
        backend.timeout_queue = timeout_queue.ok_or(Invalid)?;
        let tunnel = Backend::default().timeout_tunnel;
        backend.timeout_tunnel = timeout_tunnel.ok_or(Invalid)?.unwrap_or(tunnel);
        backend.timeout_server_fin = timeout_server_fin.ok_or(Invalid)?;
        backend.fullconn = fullconn.ok_or(Invalid)?;
        backend.udp_responses = udp_responses.ok_or(Invalid)?;
        backend.udp_requests = udp_requests.ok_or(Invalid)?;
        Ok(())
    }
}

/// An address or nothing.
fn read_address(field: &mut Field) -> Option<Option<IpAddr>> {
    match field.value.trim() {
        "" => Some(None),
        text => {
            let address = text.parse().ok();
            if address.is_none() {
                field.refuse("this is no address; write for example 192.168.1.53");
            }
            address.map(Some)
        }
    }
}
