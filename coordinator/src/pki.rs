//! The cluster's certificate authority: creates and keeps it, issues certificates for nodes, users and the coordinator.
