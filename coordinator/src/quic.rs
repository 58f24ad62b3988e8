//! The one module of the coordinator that names quinn: the endpoint, and which protocol each connection speaks.
