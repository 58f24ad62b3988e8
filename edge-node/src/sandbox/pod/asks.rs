//! What is asked of a pod's sandbox, and how it waits.

use std::sync::Arc;

use dunlin_edge_node_core::{node::SandboxOrder, sandbox::Request};
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{Notify, mpsc};

/// How a pod's sandbox comes to its task.
#[derive(Debug)]
pub(in crate::sandbox) enum Beginning {
    /// It will be asked for.
    Asked,
    /// An earlier agent made it; what it is to be, if that is known. The network is in order when the future ends.
    Inherited(Option<Box<SandboxOrder>>, Shared<BoxFuture<'static, ()>>),
}

/// What the agent asks.
#[derive(Debug)]
pub(in crate::sandbox) enum Asked {
    /// Make the sandbox with this number.
    Open(u64, Box<SandboxOrder>),
    /// Tell the sandbox with this number.
    Request(u64, Box<Request>),
    /// End it, and leave nothing.
    Close,
}

/// Where that comes from.
#[derive(Debug)]
pub(in crate::sandbox) struct Asks {
    pub(in crate::sandbox) queue: mpsc::Receiver<Asked>,
    /// Rung when the queue had no room for a request.
    pub(in crate::sandbox) missed: Arc<Notify>,
}

/// What was asked of a sandbox beside requests.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// The latest sandbox that is to be made.
    pub(super) open: Option<(u64, Box<SandboxOrder>)>,
    /// Whether it is to end.
    pub(super) closes: bool,
}

impl Asks {
    /// Drops the requests that wait; answers what else was asked, up to an order to end.
    pub(super) fn forget_requests(&mut self) -> Orders {
        let mut orders = Orders::default();
        while let Ok(asked) = self.queue.try_recv() {
            match asked {
                Asked::Request(..) => {}
                Asked::Open(number, order) => orders.open = Some((number, order)),
                Asked::Close => {
                    orders.closes = true;
                    break;
                }
            }
        }
        orders
    }
}
