//! Tokens of service accounts that the node's pods hold: when each is asked for, and which one counts.
//!
//! As the kubelet has it, the next one is asked for at 80 % of a token's life, after a day at the latest. Otherwise than there a token
//! goes on counting until there is another, and the last one outlives the agent: a pod that ran here starts without a coordinator. What is kept is
//! sealed as Secrets are, and written at most once a day for each pod: the first time before its containers start.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::Arc,
};

use dunlin_link::{
    Digest, PodUid,
    pod::{ConfigKind, ConfigObject, PodAssignment},
    sealed::Content,
    tokens::{IssuedToken, TokenClaim},
};

use super::{Change, Desk, Entry, NodeCore, Output};
use crate::{
    clock::{Mono, Now},
    content::{Contents, Seal},
    volumes::MountError,
};

/// A token that is to be asked for; it is given back with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOrder {
    /// Whose.
    pub uid: PodUid,
    /// What for.
    pub claim: TokenClaim,
}

/// What is known of the tokens of all pods.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pods: BTreeMap<PodUid, BTreeMap<TokenClaim, Held>>,
    /// Pods whose tokens are to be written.
    to_keep: BTreeSet<PodUid>,
    /// Pods whose tokens are being written.
    being_kept: BTreeSet<PodUid>,
}

/// One token over its successors.
#[derive(Default)]
struct Held {
    token: Option<Arc<[u8]>>,
    asking: Asking,
    /// How often in a row there was none.
    failures: u32,
    /// Of the last failure, in words.
    why: String,
    /// When one was last given to the disk.
    kept_at: Option<Mono>,
    /// Whether one is on the disk, or could not be brought there.
    is_kept: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    /// At once.
    #[default]
    Now,
    /// It is under way.
    Asked,
    /// Then.
    At(Mono),
}

impl NodeCore {
    /// A token was issued, or not, in words.
    pub fn handle_token(&mut self, order: &TokenOrder, answer: Result<IssuedToken, String>, now: Now) {
        let TokenOrder { uid, claim } = order;
        let Some(held) = self.desk.tokens.held(uid, claim) else { return };
        match answer {
            Ok(issued) => {
                held.issued(&issued, uid, now.mono);
                let is_kept = held.is_kept;
                if held.kept_at.is_none_or(|kept| kept.plus_millis(KEPT_MS) <= now.mono) {
                    held.kept_at = Some(now.mono);
                    self.desk.tokens.to_keep.insert(uid.clone());
                    if is_kept {
                        self.desk.to_remember.write_soon(now.mono);
                    } else {
                        // The pod waits for it.
                        self.desk.to_remember.set_due();
                    }
                }
                if is_kept {
                    self.handle_token_there(uid, now);
                } else {
                    self.with_pod(uid, now, |_, _| ());
                }
            }
            Err(why) => {
                held.failed(why, now.mono);
                self.with_pod(uid, now, |_, _| ());
            }
        }
    }

    /// What was being written is on the disk, or could not be brought there: then it costs a pod no more than a wait after the next boot.
    pub(super) fn handle_tokens_kept(&mut self, now: Now) {
        for uid in self.desk.tokens.take_kept() {
            self.handle_token_there(&uid, now);
        }
    }

    fn handle_token_there(&mut self, uid: &PodUid, now: Now) {
        self.with_pod(uid, now, |pod, now| pod.handle_mountable(now));
        self.project_anew(uid);
    }
}

impl Desk {
    /// Asks for the tokens of a pod that are due.
    pub(super) fn see_to_tokens(&mut self, entry: &Entry, now: Now) {
        let pod = &entry.pod;
        if pod.is_over() {
            self.tokens.forget(pod.uid());
        } else if !pod.assignment().tokens.is_default() {
            let orders = self.tokens.take_due(pod.assignment(), now.mono);
            self.outputs.extend(orders.into_iter().map(|order| Output::AskToken(Box::new(order))));
        }
    }
}

impl Tokens {
    /// What was stored. What cannot be opened is asked for anew, as if it had never been.
    pub(super) fn restored(stored: BTreeMap<PodUid, Content>, seal: &Arc<Seal>) -> Self {
        let ids = stored.into_iter().map(|(uid, content)| (uid.clone(), (record_id(&uid), content)));
        let mut pods = BTreeMap::new();
        for (uid, (id, content)) in ids {
            let contents = Contents::new(Arc::clone(seal), [(id, content)]);
            let Ok(object) = contents.open(&id) else { continue };
            let tokens = object.data.iter().filter_map(|(key, token)| {
                let token = Some(token.as_slice().into());
                Some((parse_claim(key)?, Held { token, is_kept: true, ..Held::default() }))
            });
            pods.insert(uid, tokens.collect());
        }
        Self { pods, ..Self::default() }
    }

    /// The token that counts.
    pub(super) fn get(&self, uid: &PodUid, claim: &TokenClaim) -> Option<Arc<[u8]>> {
        self.pods.get(uid)?.get(claim)?.token.clone()
    }

    /// Why a volume of the pod cannot be put in place for want of a token.
    pub(super) fn lacking(&self, pod: &PodAssignment) -> Option<MountError> {
        let held = |claim: &TokenClaim| self.pods.get(&pod.uid)?.get(claim);
        let lacks = |claim: &TokenClaim| held(claim).is_none_or(|held| held.token.is_none() || !held.is_kept);
        let missing = pod.tokens.projections.iter().find(|projection| lacks(&projection.claim))?;
        let held = held(&missing.claim);
        let why = held.map(|held| held.why.as_str()).filter(|why| !why.is_empty());
        let why = why.unwrap_or("waiting for the coordinator, which has not answered yet");
        Some(MountError { volume: missing.volume.clone(), why: format!("failed to fetch token: {why}") })
    }

    /// When one of the pod's tokens is to be asked for.
    pub(super) fn due(&self, uid: &PodUid) -> Option<Mono> {
        let tokens = self.pods.get(uid)?.values();
        let times = tokens.filter_map(|held| match held.asking {
            Asking::At(at) => Some(at),
            Asking::Now | Asking::Asked => None,
        });
        times.min()
    }

    /// Drops all that is known of a pod's tokens, but for what is on the disk.
    pub(super) fn forget(&mut self, uid: &PodUid) {
        self.pods.remove(uid);
        self.to_keep.remove(uid);
        self.being_kept.remove(uid);
    }

    /// What is to be written.
    pub(super) fn take_records(&mut self) -> Vec<(PodUid, Change<Content>)> {
        self.being_kept.extend(self.to_keep.iter().cloned());
        let records = mem::take(&mut self.to_keep).into_iter().filter_map(|uid| {
            let tokens = self.pods.get(&uid)?.iter();
            let data = tokens
                .filter_map(|(claim, held)| Some((claim_key(claim), held.token.as_ref()?.to_vec())))
                .collect();
            let object = ConfigObject { kind: ConfigKind::Secret, data };
            Some((uid, Change::Put(Content::Clear(Arc::new(object)))))
        });
        records.collect()
    }

    /// The pods whose tokens were being written, but for those that have got another one meanwhile.
    fn take_kept(&mut self) -> Vec<PodUid> {
        let Self { pods, to_keep, being_kept } = self;
        let kept: Vec<_> = mem::take(being_kept).into_iter().filter(|uid| !to_keep.contains(uid)).collect();
        for uid in &kept {
            for held in pods.get_mut(uid).into_iter().flat_map(BTreeMap::values_mut) {
                held.is_kept = held.token.is_some();
            }
        }
        kept
    }

    fn take_due(&mut self, pod: &PodAssignment, now: Mono) -> Vec<TokenOrder> {
        let tokens = self.pods.entry(pod.uid.clone()).or_default();
        let mut orders = Vec::new();
        for projection in &pod.tokens.projections {
            let held = tokens.entry(projection.claim.clone()).or_default();
            let is_due = match held.asking {
                Asking::Now => true,
                Asking::Asked => false,
                Asking::At(at) => at <= now,
            };
            if is_due {
                held.asking = Asking::Asked;
                orders.push(TokenOrder { uid: pod.uid.clone(), claim: projection.claim.clone() });
            }
        }
        orders
    }

    fn held(&mut self, uid: &PodUid, claim: &TokenClaim) -> Option<&mut Held> {
        self.pods.get_mut(uid)?.get_mut(claim)
    }
}

impl Held {
    fn issued(&mut self, issued: &IssuedToken, uid: &PodUid, now: Mono) {
        let life_ms = issued.lifetime_seconds.saturating_mul(1000);
        let spent_ms = (life_ms / 10 * 8).clamp(ASKED_AGAIN_MS, LIFE_MS_MAX);
        // Pods that came together do not ask together.
        let of_pod = Digest::of(uid.as_str().as_bytes());
        let [first, second, ..] = of_pod.as_bytes();
        let apart_ms = (u64::from(u16::from_le_bytes([*first, *second])) * APART_MS_MAX) >> 16;
        self.token = Some(issued.token.as_bytes().into());
        self.asking = Asking::At(now.plus_millis(spent_ms - apart_ms.min(spent_ms / 10)));
        self.failures = 0;
        self.why.clear();
    }

    fn failed(&mut self, why: String, now: Mono) {
        let delay_ms = (ASKED_AGAIN_MS << self.failures.min(DOUBLINGS_MAX)).min(ASKED_AGAIN_MS_MAX);
        self.failures += 1;
        self.why = why;
        self.asking = Asking::At(now.plus_millis(delay_ms));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_here = self.token.is_some();
        f.debug_struct("Held")
            .field("is_here", &is_here)
            .field("asking", &self.asking)
            .finish_non_exhaustive()
    }
}

/// Under which id the tokens of a pod are sealed for the node's own disk.
pub fn record_id(uid: &PodUid) -> Digest {
    Digest::of(format!("tokens of pod {uid}").as_bytes())
}

fn claim_key(claim: &TokenClaim) -> String {
    format!("{} {}", claim.expiration_seconds, claim.audience)
}

fn parse_claim(key: &str) -> Option<TokenClaim> {
    let (seconds, audience) = key.split_once(' ')?;
    Some(TokenClaim { audience: audience.to_owned(), expiration_seconds: seconds.parse().ok()? })
}

/// However long a token lives, the next one is asked for after a day.
const LIFE_MS_MAX: u64 = 24 * 3600 * 1000;

/// How much earlier at most.
const APART_MS_MAX: u64 = 10_000;

/// How long after a refusal a token is asked for again; doubles.
const ASKED_AGAIN_MS: u64 = 1000;

/// After so many doublings the delay is beyond its bound.
const DOUBLINGS_MAX: u32 = 7;

/// The longest such delay.
const ASKED_AGAIN_MS_MAX: u64 = 120_000;

/// How long what is on the disk is good enough to begin with.
const KEPT_MS: u64 = 24 * 3600 * 1000;
