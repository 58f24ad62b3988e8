//! Tokens whose signature was checked, so that a client that asks often costs little. Only that they are signed is kept: whether
//! they count is looked at each time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_coordinator_core::account::token::Claims;
use dunlin_link::Digest;

/// The newest checked tokens, by digest: what is in memory opens nothing.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<VecDeque<(Digest, Arc<Claims>)>>);

impl Verified {
    /// What a token says, if its signature was checked lately.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Claims>> {
        let digest = Digest::of(token.as_bytes());
        let known = self.lock();
        known.iter().find(|(known, _)| *known == digest).map(|(_, claims)| Arc::clone(claims))
    }

    /// Keeps a token whose signature is good.
    pub(super) fn keep(&self, token: &str, claims: Arc<Claims>) {
        let mut known = self.lock();
        if known.len() == TOKENS_MAX {
            known.pop_back();
        }
        known.push_front((Digest::of(token.as_bytes()), claims));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Digest, Arc<Claims>)>> {
        // The queue is whole after each of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tokens that are kept: a few hundred bytes each.
const TOKENS_MAX: usize = 256;
