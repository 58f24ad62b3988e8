//! The port as attackers and people of little rights meet it: the built coordinator over TLS, spoken to byte by byte.

mod credentials;
mod heads;
mod nodes;
mod protocols;
mod roles;
mod slow;
mod wire;
