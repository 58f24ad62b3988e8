//! What a guest writes for one caller: a bounded buffer between the two.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use dunlin_link::{exec, limits::EXEC_DATA_BYTES_MAX};
use dunlin_wasm_host::{Output, Stream};

/// Which streams a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// The caller is a terminal, which has one stream: standard error comes as standard output.
    pub(crate) tty: bool,
}

/// The buffer. A guest waits while it is full.
pub(crate) struct Tap {
    wanted: Wanted,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
    end: End,
    /// Guests that wait for room.
    guests: Vec<Waker>,
    /// The caller, when it waits for more.
    caller: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// Nothing more will be written.
    Closed,
    /// Nobody reads any more.
    Left,
}

impl Tap {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, state: Mutex::default() }
    }

    /// The guest has ended: what is there is read, and then the end.
    pub(crate) fn close(&self) {
        self.end(End::Closed);
    }

    /// The caller has left: what the guest writes goes nowhere.
    pub(crate) fn leave(&self) {
        self.end(End::Left);
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&self) -> Option<exec::Output> {
        let (stream, bytes) = poll_fn(|cx| self.poll_next(cx)).await?;
        Some(match stream {
            Stream::Stdout => exec::Output::Stdout(bytes),
            Stream::Stderr => exec::Output::Stderr(bytes),
        })
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Vec<u8>)>> {
        let mut state = self.state();
        if let Some(piece) = state.pieces.pop_front() {
            state.bytes -= piece.1.len();
            state.wake_guests();
            return Poll::Ready(Some(piece));
        }
        if state.end != End::Open {
            return Poll::Ready(None);
        }
        state.caller = Some(cx.waker().clone());
        Poll::Pending
    }

    fn end(&self, end: End) {
        let mut state = self.state();
        state.end = end;
        if end == End::Left {
            (state.pieces, state.bytes) = (VecDeque::new(), 0);
        }
        state.wake_guests();
        state.wake_caller();
    }

    /// The stream that something is passed on as, if it is wanted.
    fn passed_on(&self, stream: Stream) -> Option<Stream> {
        let Wanted { stdout, stderr, tty } = self.wanted;
        match stream {
            Stream::Stderr if tty => stdout.then_some(Stream::Stdout),
            Stream::Stdout => stdout.then_some(stream),
            Stream::Stderr => stderr.then_some(stream),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Tap {
    fn room(&self) -> usize {
        self.state().room()
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        let Some(stream) = self.passed_on(stream).filter(|_| !bytes.is_empty()) else { return };
        let mut state = self.state();
        if state.end != End::Open {
            return;
        }
        state.bytes += bytes.len();
        // Many small writes travel as one frame when the caller is slower than the guest.
        match state.pieces.back_mut() {
            Some((last, piece)) if *last == stream && piece.len() + bytes.len() <= EXEC_DATA_BYTES_MAX => {
                piece.extend_from_slice(bytes);
            }
            _ => {
                let pieces = bytes.chunks(EXEC_DATA_BYTES_MAX).map(|piece| (stream, piece.to_vec()));
                state.pieces.extend(pieces);
            }
        }
        state.wake_caller();
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.room() > 0 {
            return Poll::Ready(());
        }
        if !state.guests.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.guests.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl State {
    fn room(&self) -> usize {
        match self.end {
            // What is written goes nowhere.
            End::Left | End::Closed => BUFFERED_BYTES_MAX,
            End::Open => BUFFERED_BYTES_MAX.saturating_sub(self.bytes),
        }
    }

    fn wake_guests(&mut self) {
        std::mem::take(&mut self.guests).into_iter().for_each(Waker::wake);
    }

    fn wake_caller(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.wake();
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// What a guest may be ahead of its caller.
const BUFFERED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Wanted = Wanted { stdout: true, stderr: true, tty: false };

    async fn all(tap: &Tap) -> Vec<exec::Output> {
        let mut pieces = Vec::new();
        while let Some(piece) = tap.next().await {
            pieces.push(piece);
        }
        pieces
    }

    #[tokio::test]
    async fn streams_stay_in_order_and_only_those_wanted_are_kept() {
        let check = async |wanted: Wanted, expected: Vec<exec::Output>| {
            let tap = Tap::new(wanted);
            tap.push(Stream::Stdout, b"a");
            tap.push(Stream::Stdout, b"b");
            tap.push(Stream::Stderr, b"c");
            tap.push(Stream::Stdout, b"d");
            tap.close();
            assert_eq!(all(&tap).await, expected, "{wanted:?}");
        };
        let out = |text: &str| exec::Output::Stdout(text.into());
        let err = |text: &str| exec::Output::Stderr(text.into());
        check(BOTH, vec![out("ab"), err("c"), out("d")]).await;
        check(Wanted { tty: true, ..BOTH }, vec![out("abcd")]).await;
        check(Wanted { stdout: false, ..BOTH }, vec![err("c")]).await;
        check(Wanted { stderr: false, ..BOTH }, vec![out("abd")]).await;
        check(Wanted { stdout: false, stderr: true, tty: true }, vec![]).await;
    }

    #[tokio::test]
    async fn a_guest_waits_for_its_caller_but_not_for_one_who_left() {
        let tap = Tap::new(BOTH);
        tap.push(Stream::Stdout, &[0; BUFFERED_BYTES_MAX]);
        assert_eq!(tap.room(), 0);
        let full = poll_fn(|cx| Poll::Ready(tap.poll_room(cx).is_pending())).await;
        assert!(full);
        let Some(exec::Output::Stdout(piece)) = tap.next().await else { panic!("data") };
        assert_eq!((piece.len(), tap.room()), (EXEC_DATA_BYTES_MAX, EXEC_DATA_BYTES_MAX));
        tap.leave();
        tap.push(Stream::Stdout, b"more");
        assert_eq!((tap.room(), all(&tap).await), (BUFFERED_BYTES_MAX, vec![]));
    }
}
