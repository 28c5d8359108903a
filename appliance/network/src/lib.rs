//! Host name, addresses, routes and name servers of this node, over netlink.
