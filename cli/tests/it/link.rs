//! The link over a real port: the coordinator's endpoint and sessions against the node's, with the rest of either side played by
//! this test at its seam.

mod client;
mod cluster;
mod ending;
mod hostile;
mod node;
mod refusals;
mod session;
mod tunnel;
