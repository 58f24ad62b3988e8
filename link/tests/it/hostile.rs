//! Bytes that nobody honest sends: no decoder and no machine may panic on them, or take more memory than the limits say.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    BootId, Digest, NodeName, Revision, UnixMillis,
    assignment::{AssignedPod, Desired},
    frame::{self, Decoder, Frame, Kind},
    limits::{DECODED_FACTOR_MAX, REPORT_FRAME_BYTES_MAX, SESSION_QUEUE_MAX},
    message::{Epoch, StatusBatch, Tunables},
    moment::Moment,
    session::{
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession, Recorded},
        node::{Applied, NodeConfig, NodeSession},
    },
};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

use crate::{every_kind::reencode, golden, memory, samples};

/// Decodes all frames in `bytes`, whatever they are.
fn decode_all(mut bytes: &[u8]) {
    let mut decoder = Decoder::new(REPORT_FRAME_BYTES_MAX);
    while !bytes.is_empty() {
        match decoder.feed(&mut bytes) {
            Ok(Some(frame)) => drop(reencode(&frame)),
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

/// Feeds `bytes` to both machines, before and after the greeting.
fn feed_machines(bytes: &[u8]) {
    let now = Moment(Duration::ZERO);
    let mut fresh = CoordinatorSession::new(config(), now);
    let _ = fresh.handle_bytes(now, UnixMillis(0), bytes);
    let mut open = open_session(now);
    let _ = open.handle_bytes(now, UnixMillis(0), bytes);
    while let Some(output) = open.poll_output() {
        if let CoordinatorOutput::Statuses(reports) = output {
            assert!(!reports.is_empty());
        }
    }
    for prefix in [Vec::new(), golden::frames()[1].1.clone()] {
        let config = NodeConfig {
            node: NodeName::new("n1"),
            boot_id: BootId([0; 16]),
            agent: 1,
            cluster_id: "c".into(),
            sealing_key: None,
        };
        let mut node = NodeSession::new(config, samples::facts(), now);
        let applied = Applied {
            revision: Revision(1),
            restore_generation: 4,
            protocol: 6,
            state_digest: Digest::from_bytes([0; 32]),
        };
        node.handle_connected(now, UnixMillis(0), applied, Vec::new());
        node.handle_bytes(now, &prefix).unwrap();
        let _ = node.handle_bytes(now, bytes);
        while node.poll_output().is_some() {}
    }
}

fn config() -> CoordinatorConfig {
    CoordinatorConfig {
        node: NodeName::new("n1"),
        cluster_id: "c".into(),
        restore_generation: 4,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [7; 32],
    }
}

/// A session of the coordinator after the greeting.
fn open_session(now: Moment) -> CoordinatorSession {
    let mut open = CoordinatorSession::new(config(), now);
    let (_, hello) = &golden::frames()[0];
    open.handle_bytes(now, UnixMillis(0), hello).unwrap();
    open.welcome(Epoch::default(), Desired::default(), now, UnixMillis(0)).unwrap();
    open
}

/// One frame of the corpus with a few changes.
fn mutate(index: usize, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let frames = golden::frames();
    let mut bytes = frames[index % frames.len()].1.clone();
    for (at, change, value) in changes {
        let at = at % bytes.len().max(1);
        match change % 4 {
            0 => bytes[at] = *value,
            1 => bytes.insert(at, *value),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => bytes.truncate(at.max(1)),
        }
    }
    // Half of the time the length is right again, so that the change reaches the body.
    if changes.len().is_multiple_of(2) && bytes.len() >= 6 {
        let length = u32::try_from(bytes.len() - 6).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        decode_all(&bytes);
        feed_machines(&bytes);
    }

    #[test]
    fn changed_frames_are_survived(
        index in any::<usize>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6),
    ) {
        let bytes = mutate(index, &changes);
        decode_all(&bytes);
        feed_machines(&bytes);
    }

    #[test]
    fn a_decoder_keeps_at_most_one_frame(length in 0..200_u32, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new(100);
        let header = [&length.to_le_bytes()[..], &[1, 1], &bytes].concat();
        let mut input = header.as_slice();
        let result = decoder.feed(&mut input);
        prop_assert!(result.is_err() == (length > 100));
    }
}

#[test]
fn a_decoded_frame_takes_a_bounded_multiple_of_its_bytes() {
    const BODY: usize = 64 << 10;
    let mut worst = 0;
    for (name, bytes) in golden::frames() {
        let kind = Kind(u16::from_le_bytes([bytes[4], bytes[5]]));
        // A list of as many of the smallest elements as there is room for, in the place of each of the first fields.
        for fields_before in 0..40 {
            for element in [0, 1] {
                let mut body = vec![0; fields_before];
                body.extend([0x80, 0x80, 0x03]);
                body.resize(BODY, element);
                let frame = Frame { kind, body };
                let taken = memory::peak(|| drop(reencode(&frame)));
                assert!(
                    taken <= DECODED_FACTOR_MAX * BODY,
                    "{name} with {fields_before} fields before: {taken} bytes for {BODY}"
                );
                worst = worst.max(taken);
            }
        }
    }
    assert!(worst > BODY, "the measure measures nothing");
}

#[test]
fn a_claimed_list_allocates_nothing_near_its_claim() {
    for (name, bytes) in golden::frames() {
        let kind = Kind(u16::from_le_bytes([bytes[4], bytes[5]]));
        for fields_before in 0..40 {
            let mut body = vec![0; fields_before];
            body.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
            let frame = Frame { kind, body };
            let taken = memory::peak(|| drop(reencode(&frame)));
            assert!(taken <= 2 << 20, "{name} with {fields_before} fields before: {taken} bytes");
        }
    }
}

#[test]
fn a_node_that_does_not_listen_is_not_listened_to() {
    let now = Moment(Duration::ZERO);
    let mut session = open_session(now);
    while session.poll_output().is_some() || session.poll_transmit().is_some() {}
    // Frames of a kind that only a later version has; each is answered.
    let unknown = [0, 0, 0, 0, 0xff, 0x7f];
    let mut fed = 0;
    while !session.is_congested() {
        session.handle_bytes(now, UnixMillis(0), &unknown).unwrap();
        fed += 1;
    }
    assert_eq!(fed, SESSION_QUEUE_MAX);
    assert!(session.poll_transmit().is_some() && !session.is_congested());
}

#[test]
fn reports_that_wait_are_bounded_by_their_size() {
    let now = Moment(Duration::ZERO);
    let mut session = open_session(now);
    while session.poll_output().is_some() {}
    let mut fed = 0;
    for number in 1.. {
        let mut report = samples::report(&samples::uid(number), 1);
        report.message = "x".repeat(100 << 10);
        let batch = StatusBatch { sent_at: UnixMillis(0), reports: vec![report] };
        session.handle_bytes(now, UnixMillis(0), &frame::encode(&batch)).unwrap();
        if session.is_congested() {
            break;
        }
        fed += 1;
    }
    assert!(fed < 50, "{fed}");
    let Some(CoordinatorOutput::Statuses(reports)) = session.poll_output() else { panic!() };
    let done: Vec<_> = reports.into_iter().map(|report| (report.uid, Recorded::Done)).collect();
    session.recorded(&done, now).unwrap();
    assert!(!session.is_congested());
}

#[test]
fn a_large_change_is_waited_for_as_long_as_a_slow_line_takes() {
    let start = Moment(Duration::ZERO);
    let mut session = open_session(start);
    while session.poll_transmit().is_some() {}
    let id = Digest::from_bytes([1; 32]);
    let pod = samples::pod(&samples::uid(1), 1, Some(id));
    let pod = AssignedPod { revision: Revision(5_000), assignment: Arc::new(pod) };
    let text = "x".repeat(500 << 10);
    let desired = Desired {
        revision: Revision(5_000),
        pods: Arc::new([(samples::uid(1), pod)].into()),
        objects: Arc::new([(id, Arc::new(samples::config(&text)))].into()),
        ..Desired::default()
    };
    session.set_desired(desired, start).unwrap();
    // Two minutes for the disk, and a second for each KiB.
    let due = session.poll_timeout().unwrap();
    assert!((620..640).contains(&due.since(start).as_secs()), "{due:?}");
    session.handle_timeout(start + Duration::from_secs(600)).unwrap();
    let error = session.handle_timeout(due).unwrap_err().to_string();
    assert!(error.starts_with("revision 5000, of 51"), "{error}");
}
