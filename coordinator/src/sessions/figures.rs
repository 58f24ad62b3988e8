//! Figures about nodes' sessions.

use super::Sessions;
use crate::metrics::{Collect, Text};

impl Collect for Sessions {
    fn collect(&self, text: &mut Text) {
        text.gauge("dunlin_node_sessions", "Nodes that are connected.", self.count());
    }
}
