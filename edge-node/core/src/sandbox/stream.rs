//! Streams between agent and sandbox: a command that runs in a container, or a caller who is attached to it.
//!
//! Each is a connection of its own to the socket [`SOCKET`] beside the sandbox's own one, so that flow control is the connection's and
//! the end of the connection is the end of the caller. The agent begins with a frame of [`ExecStart`] or [`AttachStart`], or of [`UsageStart`]; the sandbox
//! answers with `dunlin_link`'s `StreamAnswer`, and then both sides speak as on the link (`dunlin_link::exec`). The agent does not
//! shut down its side before it has given the caller up: the end of input is a frame.

use dunlin_link::{
    ContainerId,
    exec::{AttachRequest, ExecRequest},
    frame::{Kind, Message},
};
use serde::{Deserialize, Serialize};

/// Name of the socket, in the folder of the sandbox's own one. No longer than that one's, since the kernel bounds their paths.
pub const SOCKET: &str = "exec.sock";

/// Largest body of a connection's first frame: a request of the largest size, and what the agent adds.
pub const START_BYTES_MAX: usize = 72 << 10;

/// Runs a command in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// Which container, as it runs now.
    pub id: ContainerId,
    /// As the coordinator asked.
    pub request: ExecRequest,
}

/// Attaches to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachStart {
    /// Which container, as it runs now.
    pub id: ContainerId,
    /// As the coordinator asked.
    pub request: AttachRequest,
}

/// Asks what the containers that run use; answered by the frames of `dunlin_link::usage::frames` until the stream ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageStart;

/// Asks for which namespaces buckets are kept in a file; answered by [`BucketNamespaces`]. Then the agent says by [`BucketVerdicts`] what
/// the coordinator knows of them, and shuts its side down; the sandbox does so when it has acted on all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketsStart {
    /// The node's file of buckets.
    pub file: String,
}

/// Namespaces that have buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketNamespaces {
    /// Their names.
    pub names: Vec<String>,
}

/// What the coordinator says of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketVerdicts {
    /// Of which cluster it is so.
    pub cluster: String,
    /// In which restore generation it is so.
    pub restore_generation: u64,
    /// Each with its uid, or `None` where there is none of this name.
    pub namespaces: Vec<(String, Option<String>)>,
}

/// Sent by a sandbox that has nothing else to say for a while: only writing tells it that the agent is gone, when it does not read
/// because the guest does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillHere;

impl Message for ExecStart {
    const KIND: Kind = Kind(0x0501);
}

impl Message for AttachStart {
    const KIND: Kind = Kind(0x0502);
}

impl Message for UsageStart {
    const KIND: Kind = Kind(0x0504);
}

impl Message for BucketsStart {
    const KIND: Kind = Kind(0x0505);
}

impl Message for BucketNamespaces {
    const KIND: Kind = Kind(0x0506);
}

impl Message for BucketVerdicts {
    const KIND: Kind = Kind(0x0507);
}

impl Message for StillHere {
    const KIND: Kind = Kind(0x0503);
}

#[cfg(test)]
mod tests {
    use dunlin_link::{PodUid, exec::AttachStdin, frame::encode, limits::HEAD_FRAME_BYTES_MAX};

    use super::*;

    /// An agent and a sandbox may be of different versions: the bytes are fixed.
    #[test]
    fn the_bytes_of_every_kind_are_fixed() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (id, uid) = (ContainerId::new("i"), PodUid::new("u"));
        let request = ExecRequest {
            uid: uid.clone(),
            container: "c".into(),
            command: vec!["a".into()],
            stdin: true,
            stdout: true,
            stderr: false,
            tty: false,
        };
        assert_eq!(
            hex(encode(&ExecStart { id: id.clone(), request })),
            "0d0000000105016901750163010161010100 00".replace(' ', "")
        );
        let request = AttachRequest {
            uid,
            container: "c".into(),
            stdin: AttachStdin::Once,
            stdout: true,
            stderr: true,
            tty: true,
        };
        assert_eq!(
            hex(encode(&AttachStart { id, request })),
            "0a00000002050169017501630201 0101".replace(' ', "")
        );
        assert_eq!(hex(encode(&StillHere)), "000000000305");
        assert_eq!(hex(encode(&UsageStart)), "000000000405");
        assert_eq!(hex(encode(&BucketsStart { file: "f".into() })), "0200000005050166");
        assert_eq!(hex(encode(&BucketNamespaces { names: vec!["n".into()] })), "03000000060501016e");
        let namespaces = vec![("n".into(), Some("u".into())), ("m".into(), None)];
        assert_eq!(
            hex(encode(&BucketVerdicts { cluster: "c".into(), restore_generation: 1, namespaces })),
            "0c000000070501630102016e010175016d00"
        );
        const { assert!(START_BYTES_MAX > HEAD_FRAME_BYTES_MAX) };
    }
}
