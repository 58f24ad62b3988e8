//! WASM modules that were pushed: content-addressed files, and the names `dunlin.local/NAME:TAG` that point to them.
