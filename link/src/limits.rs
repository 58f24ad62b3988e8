//! Every bound that a message, an upload or a queue of the link has. A length is compared with its bound before memory is allocated.

/// Largest body of one control frame: two ConfigMaps of the largest size with room for their names.
pub const CONTROL_FRAME_BYTES_MAX: usize = 4 << 20;

/// Largest head frame of a stream (requests and answers of the API, log, artifact and join streams).
pub const HEAD_FRAME_BYTES_MAX: usize = 64 << 10;

/// Largest body of an API request that carries an object; Kubernetes' own bound.
pub const REQUEST_BODY_BYTES_MAX: usize = 3 << 20;

/// Largest module that can be pushed.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;
