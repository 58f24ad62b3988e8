//! Every bound that a message, an upload or a queue of the link has. A length is compared with its bound before memory is allocated.

/// Largest body of one control frame: two ConfigMaps of the largest size with room for their names.
pub const CONTROL_FRAME_BYTES_MAX: usize = 4 << 20;

/// Largest body of one control frame towards the coordinator, which has many senders that it trusts less than they trust it. The
/// largest single report, of a pod with every message at Kubernetes' bound, is far below.
pub const REPORT_FRAME_BYTES_MAX: usize = 256 << 10;

/// Largest head frame of a stream (requests and answers of the API, log, artifact and join streams).
pub const HEAD_FRAME_BYTES_MAX: usize = 64 << 10;

/// Largest body of a frame on a stream of a command or an attachment once it is open: the largest piece of data, and room for later kinds.
pub const EXEC_FRAME_BYTES_MAX: usize = 64 << 10;

/// Largest core dump that is told: as much memory as a guest may have for one to be made, and 1 MiB for all else in it.
pub const CORE_DUMP_BYTES_MAX: u64 = 33 << 20;

/// Most namespaces that a node asks about at a time.
pub const NAMESPACES_ASKED_MAX: usize = 256;

/// Largest piece of a process's data in one frame, so that others get their turn on the connection.
pub const EXEC_DATA_BYTES_MAX: usize = 32 << 10;

/// Largest command that can be run, its arguments together: it has to fit into a head frame with the rest.
pub const EXEC_COMMAND_BYTES_MAX: usize = 48 << 10;

/// How many times its bytes a decoded body can take at most: the smallest elements of lists are a few bytes that become a struct, and
/// a list grows by doubling. With the limits above it bounds what a frame can make its receiver allocate.
pub const DECODED_FACTOR_MAX: usize = 80;

/// Size at which a sender closes a batch and starts the next, so that one frame never holds up the stream for long.
pub const BATCH_BYTES_SOFT: usize = 64 << 10;

/// Largest sum of the frames that make one assignment change; a node buffers a change before it commits it.
pub const ASSIGNMENT_BYTES_MAX: usize = 128 << 20;

/// Most extensions that a Hello or Welcome may carry.
pub const EXTENSIONS_MAX: usize = 64;

/// Most pods whose statuses a session holds while they wait to be recorded; ten times what a node admits.
pub const STATUS_PODS_MAX: usize = 65_536;

/// Size of waiting reports at which the coordinator stops reading a session until some are recorded: a small site's worth.
pub const STATUS_BYTES_MAX: usize = 4 << 20;

/// Most events that wait in a node's outbox; the oldest go first, and are counted.
pub const EVENT_OUTBOX_MAX: usize = 256;

/// Most static pods that a node states: twice what its folder may hold, because those that went are there until they have stopped. With
/// the longest names they fit into a frame.
pub const STATIC_PODS_MAX: usize = 512;

/// Longest name of a static pod that is stated: what the API takes.
pub const STATIC_NAME_BYTES_MAX: usize = 253;

/// Longest namespace of a static pod that is stated: what the API takes.
pub const STATIC_NAMESPACE_BYTES_MAX: usize = 63;

/// Largest object of a static pod that is told: it has to fit into a frame with its uid, and no real manifest comes near.
pub const STATIC_POD_BYTES_MAX: usize = 192 << 10;

/// Most static pods that the coordinator asks a node about at a time, so that answers take little memory.
pub const STATIC_PODS_ASKED_MAX: usize = 8;

/// Most modules that a node tells of: as many images as a kubelet does.
pub const NODE_IMAGES_MAX: usize = 50;

/// Most names of a module that a node tells: as many as a kubelet does.
pub const NODE_IMAGE_NAMES_MAX: usize = 5;

/// Longest name of a module that a node tells, in bytes.
pub const NODE_IMAGE_NAME_BYTES_MAX: usize = 512;

/// Most received frames whose content the coordinator has not taken yet, and most answers that the node has not taken; beyond it the
/// session stops reading. A node ends a session whose coordinator leaves so many answers unread.
pub const SESSION_QUEUE_MAX: usize = 64;

/// Largest body of an API request that carries an object; Kubernetes' own bound.
pub const REQUEST_BODY_BYTES_MAX: usize = 3 << 20;

/// Largest object that clients can make by creating, updating and patching it, in JSON: what could be sent at once, so that an
/// assignment of it always fits into a frame.
pub const OBJECT_BYTES_MAX: usize = REQUEST_BODY_BYTES_MAX;

/// Largest module that can be pushed.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;

/// Largest code of a module: several times a module, and no larger than the process that makes it may become.
pub const COMPILED_BYTES_MAX: u64 = 2 << 30;

/// Largest record of code with its signature, as a file: far above two digests, a key, a certificate of a few hundred bytes and a
/// signature.
pub const SIGNED_COMPILED_BYTES_MAX: usize = 4096;

/// Longest key of a kind of machine: it is the value of a label.
pub const TARGET_BYTES_MAX: usize = 63;
