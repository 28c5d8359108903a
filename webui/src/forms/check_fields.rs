//! The finer points of a backend's checks, limits and retries: part of its form.

use super::field::whole;
use super::{Field, Invalid};
use model::{Backend, Check, RetryOn};

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
        check.agent_port = agent_port.ok_or(Invalid)?;
        check.agent_inter = agent_inter.ok_or(Invalid)?.unwrap_or(plain.agent_inter);
        check.error_limit = error_limit.ok_or(Invalid)?;
        check.on_error = on_error.ok_or(Invalid)?.unwrap_or_default();
        backend.retry_on = retry_on.ok_or(Invalid)?;
        backend.timeout_queue = timeout_queue.ok_or(Invalid)?;
        let tunnel = Backend::default().timeout_tunnel;
        backend.timeout_tunnel = timeout_tunnel.ok_or(Invalid)?.unwrap_or(tunnel);
        Ok(())
    }
}
