//! The agent: turns assignments into running pods and keeps them so, with or without a coordinator.
