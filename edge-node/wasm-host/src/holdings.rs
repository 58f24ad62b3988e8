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
    p2::{DynInputStream, DynOutputStream, ReaddirIterator, TcpSocket, UdpSocket},
    sockets,
};
use wasmtime_wasi_http::{
    FieldMap,
    p2::{
        bindings::http::types::{Method, Scheme},
        body::{HostIncomingBody, HostOutgoingBody},
        types::{HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse},
    },
    p3,
};

use crate::{keyvalue, network::BODY_CHUNK_BYTES};

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
        } else if entry.is::<ReaddirIterator>() {
            self.bytes += FOLDER_BYTES;
        } else if let Some(headers) = headers(entry) {
            self.bytes += bytes_of(headers) + bytes_of_request_line(entry);
        } else if let Some(bytes) = keyvalue::bytes_of(entry) {
            self.bytes += bytes;
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

/// What a request says before its headers; 0 for what is none.
fn bytes_of_request_line(entry: &dyn Any) -> u64 {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let bytes = if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let method = if let Method::Other(method) = &request.method { method.len() } else { 0 };
        let scheme = if let Some(Scheme::Other(scheme)) = &request.scheme { scheme.len() } else { 0 };
        method + scheme + length(&request.authority) + length(&request.path_with_query)
    } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
        request.method.as_str().len()
            + request.scheme.as_ref().map_or(0, |scheme| scheme.as_str().len())
            + request.authority.as_ref().map_or(0, |authority| authority.as_str().len())
            + request.path_with_query.as_ref().map_or(0, |path| path.as_str().len())
    } else {
        0
    };
    bytes as u64
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

/// A folder that is being read, whose names are all in memory: how many is not to be seen, so that it is as much as some ten thousand.
const FOLDER_BYTES: u64 = 1 << 20;

/// A tenth of the time.
const LOOK_EVERY: u32 = 10;

/// However long a look took, what a guest makes meanwhile is bounded.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(entry: impl Send + 'static) -> u64 {
        let mut table = ResourceTable::new();
        table.push(entry).unwrap();
        Holdings::of(&mut table).bytes
    }

    #[test]
    fn texts_of_requests_count() {
        let request = |path: &str| HostOutgoingRequest {
            method: Method::Other("m".repeat(1000)),
            scheme: Some(Scheme::Other("s".repeat(100))),
            authority: Some("a".repeat(10)),
            path_with_query: Some(path.to_owned()),
            headers: FieldMap::default(),
            body: None,
        };
        assert_eq!(bytes(request("/")), ENTRY_BYTES + 1111);
        assert_eq!(bytes(request(&"p".repeat(5000))), ENTRY_BYTES + 6110);
    }
}
