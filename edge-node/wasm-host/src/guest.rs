//! What one run of a program is given.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::stdio::Output;

/// Arguments, environment, limits and streams of one run.
#[derive(Clone)]
pub struct Guest {
    /// `argv`, the program's name included.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Initial working directory, where the guest's interface has one.
    pub working_dir: Option<String>,
    /// Where standard output and standard error go.
    pub output: Arc<dyn Output>,
    /// Limit on all linear memories and tables together; `None` is half of the machine's memory.
    pub memory_bytes_max: Option<u64>,
    /// CPU limit in thousandths of a core; `None` is none.
    pub cpu_milli_max: Option<u64>,
    /// The only addresses the guest may listen on; an HTTP handler is served on the first.
    pub listen: Vec<SocketAddr>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold secrets.
        f.debug_struct("Guest")
            .field("args", &self.args)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
