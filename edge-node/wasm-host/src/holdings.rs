//! What the host holds for one guest besides its memories: handles, headers, buffers of streams, open files and sockets.
//!
//! It is counted where a guest cannot get around it, at the ticks that interrupt whatever computes, from the table in which the
//! implementations of WASI keep everything that a guest has a handle of. So a guest may be over its limit by what it makes in a tick.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use wasmtime_wasi::{
    ResourceTable,
    filesystem::Descriptor,
    p2::{DynInputStream, DynOutputStream, TcpSocket, UdpSocket},
    sockets,
};
use wasmtime_wasi_http::{
    FieldMap,
    p2::{
        body::{HostIncomingBody, HostOutgoingBody},
        types::{HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse},
    },
    p3,
};

use crate::network::BODY_CHUNK_BYTES;

/// What is held for one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Memory, estimated.
    pub(crate) bytes: u64,
    /// Open files and sockets, and streams that keep one open.
    pub(crate) descriptors: u64,
}

impl Holdings {
    /// Counts what a guest has handles of.
    pub(crate) fn of(table: &mut ResourceTable) -> Self {
        let mut sum = Self::default();
        for entry in table.iter_mut() {
            sum.add(&*entry);
        }
        sum
    }

    fn add(&mut self, entry: &dyn Any) {
        self.bytes += ENTRY_BYTES;
        if entry.is::<DynInputStream>() {
            self.descriptors += 1;
        } else if entry.is::<DynOutputStream>() {
            // What was written and has not left yet.
            self.bytes += PENDING_BYTES;
            self.descriptors += 1;
        } else if is_descriptor(entry) {
            self.descriptors += 1;
        } else if entry.is::<HostOutgoingBody>() || entry.is::<HostIncomingBody>() {
            self.bytes += PENDING_BYTES;
        } else if let Some(headers) = headers(entry) {
            self.bytes += bytes_of(headers);
        }
    }
}

fn is_descriptor(entry: &dyn Any) -> bool {
    entry.is::<Descriptor>()
        || entry.is::<TcpSocket>()
        || entry.is::<UdpSocket>()
        || entry.is::<sockets::TcpSocket>()
        || entry.is::<sockets::UdpSocket>()
}

fn headers(entry: &dyn Any) -> Option<&FieldMap> {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        return Some(fields);
    }
    if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        return Some(&request.headers);
    }
    if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        return Some(&response.headers);
    }
    if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        return Some(&response.headers);
    }
    if let Some(request) = entry.downcast_ref::<p3::Request>() {
        return Some(&request.headers);
    }
    entry.downcast_ref::<p3::Response>().map(|response| &response.headers)
}

fn bytes_of(headers: &FieldMap) -> u64 {
    let texts: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    texts as u64 + headers.len() as u64 * FIELD_BYTES
}

/// When to look again: a guest with much to look at is looked at less often, so that looking never takes more than a tenth of its time.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    next: Option<Instant>,
}

impl Looks {
    /// Looks if it is time to.
    pub(crate) fn look<T>(&mut self, look: impl FnOnce() -> T) -> Option<T> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let seen = look();
        let took = now.elapsed();
        self.next = Some(now + (took * LOOK_EVERY).min(LOOK_PAUSE_MAX));
        Some(seen)
    }
}

/// An entry of the table, its box, and the usual size of what is in it.
const ENTRY_BYTES: u64 = 256;

/// A header in a map, besides its text.
const FIELD_BYTES: u64 = 128;

/// What a stream or body may hold of bytes on their way: one chunk that waits and one that is being sent.
const PENDING_BYTES: u64 = 2 * BODY_CHUNK_BYTES as u64;

/// A tenth of the time.
const LOOK_EVERY: u32 = 10;

/// However long a look took, what a guest makes meanwhile is bounded.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(100);
