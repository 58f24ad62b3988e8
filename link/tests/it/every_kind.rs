//! Every kind of frame, decoded as its struct. The fuzz targets include this file too.

use dunlin_link::{
    compiled::{CompiledAnswer, CompiledOpen, Compiling},
    ephemeral::AssignmentEphemeral,
    exec::{ExecEnd, Resize, StderrData, StdinData, StdinEnd, StdoutData},
    frame::{Frame, FrameError, Message},
    health::Health,
    join::{JoinRequest, Joined},
    message::{
        AssignmentAck, AssignmentBegin, AssignmentCare, AssignmentEnd, AssignmentForget, AssignmentLinux,
        AssignmentObjects, AssignmentPods, AssignmentSealed, AssignmentTombstones, AssignmentVolumes, Busy,
        Events, Facts, Hello, Probe, Refused, Renew, Renewed, Resync, StatusAck, StatusBatch, Unsupported,
        Welcome,
    },
    namespaces::{NamespacesAnswer, NamespacesOpen},
    node_network::NodeNetwork,
    node_state::NodeState,
    resources::AssignmentResources,
    rpc::{Impersonation, RequestHead, ResponseHead},
    statics::{StaticPod, StaticPods, StaticPodsWanted},
    stream::{
        ArtifactAnswer, ArtifactOpen, AttachOpen, ConnectOpen, ContentAnswer, ContentOpen, CoreDumpOpen,
        ExecOpen, ForwardOpen, LogAnswer, LogOpen, LogStreamsOpen, StreamAnswer,
    },
    tokens::{AssignmentTokens, TokenAnswer, TokenOpen},
    usage::{ContainerThrottles, ContainerUsages, MachineUsage, UsageOpen},
    volume_images::AssignmentVolumeImages,
};

/// Decodes a frame as its kind says and encodes it again; `None` for a kind that does not exist.
pub(crate) fn reencode(frame: &Frame) -> Option<Result<Vec<u8>, FrameError>> {
    of_sessions(frame).or_else(|| of_streams(frame))
}

macro_rules! try_kinds {
    ($frame:ident: $($message:ty),* $(,)?) => {
        $(if $frame.kind == <$message>::KIND {
            return Some($frame.decode::<$message>().map(|message| dunlin_link::frame::encode(&message)));
        })*
    };
}

fn of_sessions(frame: &Frame) -> Option<Result<Vec<u8>, FrameError>> {
    try_kinds!(
        frame:
        Hello,
        Welcome,
        Busy,
        Refused,
        Unsupported,
        Probe,
        AssignmentBegin,
        AssignmentPods,
        AssignmentTombstones,
        AssignmentForget,
        AssignmentObjects,
        AssignmentSealed,
        AssignmentCare,
        AssignmentVolumes,
        AssignmentLinux,
        AssignmentTokens,
        AssignmentVolumeImages,
        AssignmentEphemeral,
        AssignmentResources,
        AssignmentEnd,
        AssignmentAck,
        Resync,
        StatusBatch,
        StatusAck,
        Events,
        Facts,
        Health,
        NodeState,
        NodeNetwork,
        StaticPods,
        StaticPod,
        StaticPodsWanted,
        Renew,
        Renewed,
        JoinRequest,
        Joined,
    );
    None
}

fn of_streams(frame: &Frame) -> Option<Result<Vec<u8>, FrameError>> {
    try_kinds!(
        frame:
        LogOpen,
        LogStreamsOpen,
        LogAnswer,
        CoreDumpOpen,
        ArtifactOpen,
        ArtifactAnswer,
        ContentOpen,
        ContentAnswer,
        ExecOpen,
        AttachOpen,
        ConnectOpen,
        ForwardOpen,
        UsageOpen,
        MachineUsage,
        ContainerUsages,
        ContainerThrottles,
        StreamAnswer,
        CompiledOpen,
        Compiling,
        CompiledAnswer,
        TokenOpen,
        TokenAnswer,
        NamespacesOpen,
        NamespacesAnswer,
        StdinData,
        StdinEnd,
        Resize,
        StdoutData,
        StderrData,
        ExecEnd,
        RequestHead,
        ResponseHead,
        Impersonation,
    );
    None
}
