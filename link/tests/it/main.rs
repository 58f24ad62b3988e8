//! Tests of the link through its public interface: the two machines over a bad pipe, golden bytes, and hostile bytes.

mod pipe;
mod samples;
