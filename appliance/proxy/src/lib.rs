//! The load balancer: frontends, backends, servers and their health.
