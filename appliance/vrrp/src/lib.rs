//! VRRP: which balancer holds the floating IP.
