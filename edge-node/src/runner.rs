//! The runner process: hosts all WASM containers of a node, outlives the agent, and speaks sandbox messages over a unix socket.
